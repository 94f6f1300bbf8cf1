// Package warmstart keeps a resolver's cache on disk, so that a process that follows
// another, even one that was killed, answers from the first second on what the other
// had learnt.
//
//	rrcache.Cache ──AppendSaved──► segments ──► FILE         every Interval, and at Close
//	FILE ──► segments ──Restore──► rrcache.Cache             once, while queries are answered
//	flush ──► FILE.forgotten                                 at once, so that it is not undone
//
// It owns the files, when they are written, and at what pace: writing takes at most half a
// percent of one processor, but for the last time. It does not own what is in them
// (packages rrcache and cachefile), nor whether it may still be believed: the sum that
// Config.Trust returns has to be the one under which the file was written.
//
// Entry points: New; Keeper.Start, Close, Status.
//
// Concurrency: the methods may be called from any goroutine. One goroutine does the
// work; Close ends it.
package warmstart

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/resolver/cachefile"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/rrcache"
)

const (
	// segmentOctets is about the size of a segment: large enough for its head not to
	// count, small enough for the loss of one not to.
	segmentOctets = 256 << 10
	// pace is how many times as long as making a segment took is waited after it: 199,
	// half a percent.
	pace = 199
)

// Config is what a Keeper is made from. Log may be nil.
type Config struct {
	File     string // its folder must exist
	Cache    *rrcache.Cache
	Interval time.Duration // between the end of one file and the beginning of the next
	Trust    func() cachefile.Trust

	Servers        func() []iterate.KnownServer
	RestoreServers func([]iterate.KnownServer) int

	Log *slog.Logger
}

// Status is what a Keeper has done.
type Status struct {
	File       string        `json:"file"`
	Restored   int           `json:"restored"` // entries taken back when the process started
	RestoredIn time.Duration `json:"restored_in"`
	Servers    int           `json:"servers"`           // taken back
	Problem    string        `json:"problem,omitempty"` // why not everything was taken back
	Saved      time.Time     `json:"saved,omitzero"`    // when the last file was finished
	Octets     int           `json:"octets"`            // of the last file
	Busy       time.Duration `json:"busy"`              // time spent on all files
	SaveError  string        `json:"save_error,omitempty"`
}

// Keeper keeps one cache. Make it with New, end it with Close.
type Keeper struct {
	cfg       Config // constant
	forgotten *forgotten
	quit      chan struct{} // closed by Close
	running   sync.WaitGroup
	starting  sync.Once
	closing   sync.Once

	mu       sync.Mutex // guards all below
	status   Status
	restored bool
}

// New returns a Keeper that does nothing yet. It is told of flushes of the cache from
// now on.
func New(cfg Config) *Keeper {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{cfg: cfg, quit: make(chan struct{}), forgotten: openForgotten(cfg.File + ".forgotten")}
	k.status.File = cfg.File
	cfg.Cache.OnFlush(k.forget)
	return k
}

// forget notes that something was flushed. If that cannot be noted, the file must go:
// it would bring back what is not wanted.
func (k *Keeper) forget(s rrcache.Selection) {
	if err := k.forgotten.add(clock.Now(), s); err != nil {
		k.cfg.Log.Warn("a flush cannot be noted, so the saved cache is dropped", "error", err)
		os.Remove(k.cfg.File)
	}
}

// Start has the file read, and written from then on, in the background. It does nothing
// the second time.
func (k *Keeper) Start() { k.starting.Do(func() { k.running.Go(k.run) }) }

// Status returns what was done so far.
func (k *Keeper) Status() Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.status
}

// Close writes the file a last time and ends the Keeper.
func (k *Keeper) Close() {
	k.closing.Do(func() {
		close(k.quit)
		k.running.Wait()
		if k.wasRestored() { // else the file has more than the cache
			k.save(func(time.Duration) error { return nil })
		}
		k.forgotten.close()
	})
}

func (k *Keeper) wasRestored() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restored
}

// run is the Keeper's goroutine. Close ends it.
func (k *Keeper) run() {
	if !k.restore() {
		return
	}
	for k.wait(k.cfg.Interval) == nil {
		k.save(k.rest)
	}
}

// errStopping: Close was called.
var errStopping = errors.New("stopping")

// wait waits; with errStopping it has ended early.
func (k *Keeper) wait(d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-k.quit:
		return errStopping
	case <-t.C:
		return nil
	}
}

// rest follows some work with the pause that makes it cheap.
func (k *Keeper) rest(worked time.Duration) error { return k.wait(worked * pace) }

// restore reads the file. It reports false if Close has cut it short.
func (k *Keeper) restore() bool {
	start := clock.Now()
	st := Status{File: k.cfg.File}
	err := k.read(&st)
	if errors.Is(err, errStopping) {
		return false
	}
	st.RestoredIn = clock.Since(start)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, cachefile.ErrOther):
		st.Problem = err.Error()
		k.cfg.Log.Info("saved cache not used", "file", k.cfg.File, "reason", err)
	case err != nil:
		st.Problem = err.Error()
		k.cfg.Log.Warn("saved cache not used, or not all of it; what is missing is asked for again", "file", k.cfg.File, "entries", st.Restored, "error", err)
	default:
		k.cfg.Log.Info("cache restored", "entries", st.Restored, "servers", st.Servers, "took", st.RestoredIn)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status, k.restored = st, true
	return true
}

func (k *Keeper) read(st *Status) error {
	f, err := os.Open(k.cfg.File)
	if err != nil {
		return err
	}
	defer f.Close()
	flushes := k.forgotten.list()
	err = cachefile.Read(bufio.NewReaderSize(f, 64<<10), k.cfg.Trust(), func(s cachefile.Segment) error {
		select {
		case <-k.quit:
			return errStopping
		default:
		}
		switch s.Kind {
		case cachefile.Entries:
			n, err := k.cfg.Cache.Restore(clock.Now(), s.Payload, s.Made, since(flushes, s.Made))
			st.Restored += n
			return err
		case cachefile.Servers:
			var all []iterate.KnownServer
			if err := json.Unmarshal(s.Payload, &all); err != nil {
				return err
			}
			st.Servers += k.cfg.RestoreServers(all)
		}
		return nil // other kinds are of a later version
	})
	return err
}

// save writes the file, resting after each segment.
func (k *Keeper) save(rest func(time.Duration) error) {
	w := saving{k: k, rest: rest, begun: clock.Now()}
	err := diskfile.ReplaceWith(k.cfg.File, w.write)
	if errors.Is(err, errStopping) {
		return
	}
	if err == nil {
		err = k.forgotten.endBefore(w.begun)
	} else {
		k.cfg.Log.Warn("cache not saved; after a restart it would begin empty, or with what was saved before", "file", k.cfg.File, "error", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.status.Busy += w.busy
	if k.status.SaveError = ""; err != nil {
		k.status.SaveError = err.Error()
		return
	}
	k.status.Saved, k.status.Octets = clock.Now(), w.octets
}

// saving is the work on one file.
type saving struct {
	k      *Keeper
	rest   func(time.Duration) error
	begun  time.Time
	busy   time.Duration
	octets int
}

// counted counts what is written to a file.
type counted struct {
	to     *os.File
	octets *int
}

// Write is part of io.Writer.
func (c counted) Write(b []byte) (int, error) {
	n, err := c.to.Write(b)
	*c.octets += n
	return n, err
}

func (s *saving) write(f *os.File) error {
	trust := s.k.cfg.Trust()
	w, err := cachefile.NewWriter(counted{f, &s.octets}, trust, s.begun)
	if err != nil {
		return err
	}
	servers, err := json.Marshal(s.k.cfg.Servers())
	if err != nil {
		return err
	}
	if err := s.segment(w, cachefile.Servers, clock.Now(), servers); err != nil {
		return err
	}
	if err := s.entries(w); err != nil {
		return err
	}
	if s.k.cfg.Trust() != trust {
		return errors.New("the trust anchors have changed meanwhile; the next file will have the new ones")
	}
	return w.End(clock.Now())
}

// entries writes the cache. Times are those of the moment at which a segment is begun:
// what comes into it later has that much less left than the file says, and gains it, the
// fraction of a second that a segment takes, at most.
func (s *saving) entries(w *cachefile.Writer) error {
	payload := make([]byte, 0, segmentOctets+segmentOctets/4)
	var at rrcache.Cursor
	for more := true; more; {
		start := clock.Now()
		payload = payload[:0]
		for more && len(payload) < segmentOctets {
			payload, more = s.k.cfg.Cache.AppendSaved(payload, start, &at)
		}
		if err := s.segment(w, cachefile.Entries, start, payload); err != nil {
			return err
		}
	}
	return nil
}

// segment writes a segment that was begun at start, and rests.
func (s *saving) segment(w *cachefile.Writer, kind cachefile.Kind, start time.Time, payload []byte) error {
	if err := w.Segment(kind, start, payload); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	took := clock.Since(start)
	s.busy += took
	return s.rest(took)
}
