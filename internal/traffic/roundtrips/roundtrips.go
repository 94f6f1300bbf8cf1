// Package roundtrips keeps what was measured of round trips to networks of clients on disk,
// so that a node that is started again steers by it from its first answer.
//
//	steer.Latency ──AppendSaved──► FILE     a minute after something was measured, and at Close
//	FILE ──Restore──► steer.Latency         by Open, before the first answer
//
// It owns the file and when it is written. It does not own what is in it, nor what of that
// is still believed (package steer). A file that cannot be read costs what was measured,
// and nothing else: it is said, and clients are steered by where they are until they have
// been measured again.
//
// Entry points: Open; Keeper.Look, Close.
//
// Concurrency: the methods may be called from any goroutine. A goroutine writes the file;
// it ends when it has, and Close waits for it.
package roundtrips

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/traffic/steer"
)

// Every is how far apart writes are. A node that is killed has lost what a minute has
// brought, of an hour for which it counts.
const Every = time.Minute

// Keeper keeps one table.
type Keeper struct {
	// Constant after Open.
	file    string
	latency *steer.Latency
	log     *slog.Logger

	writing sync.WaitGroup

	mu    sync.Mutex // guards what follows; held while the file is written by Close only
	taken uint64     // round trips that the file has
	next  time.Time  // when Look may have it written
	busy  bool       // it is being written
}

// Open returns a Keeper, and gives l what the file has.
func Open(file string, l *steer.Latency, log *slog.Logger) *Keeper {
	k := &Keeper{file: file, latency: l, log: log, next: clock.Now().Add(Every)}
	saved, err := read(file)
	networks := 0
	if err == nil {
		networks, err = l.Restore(saved, clock.Now())
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		log.Warn("measured round trips not read; clients are steered by where they are until they are measured again", "file", file, "error", err)
	default:
		log.Info("measured round trips restored", "networks", networks)
	}
	return k
}

// read returns the content of a file that is not longer than any that was written.
func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	saved, err := io.ReadAll(io.LimitReader(f, int64(steer.MaxSaved)+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return saved, nil
}

// Look has the file written if something was measured since, and it was not just written.
// A nil Keeper keeps nothing.
func (k *Keeper) Look() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := clock.Now()
	if next := now.Add(Every); k.next.After(next) {
		k.next = next // the clock was put back
	}
	if k.busy || now.Before(k.next) || !k.hasMore() {
		return
	}
	k.busy = true
	k.writing.Go(func() {
		written := k.write()
		k.mu.Lock()
		defer k.mu.Unlock()
		k.busy, k.next = false, clock.Now().Add(Every)
		if !written {
			k.taken = 0 // it is tried again
		}
	})
}

// hasMore reports whether something was measured that the file does not have, and takes it
// as written. k.mu is held.
func (k *Keeper) hasMore() bool {
	taken, _ := k.latency.Stats()
	more := taken != k.taken
	k.taken = taken
	return more
}

func (k *Keeper) write() bool {
	err := os.MkdirAll(filepath.Dir(k.file), 0o700)
	if err == nil {
		err = diskfile.Replace(k.file, k.latency.AppendSaved(nil, clock.Now()))
	}
	if err != nil {
		k.log.Warn("measured round trips not saved; a start would begin without them", "file", k.file, "error", err)
	}
	return err == nil
}

// Close writes the file a last time, if there is something new.
func (k *Keeper) Close() {
	if k == nil {
		return
	}
	k.writing.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hasMore() {
		k.write()
	}
}
