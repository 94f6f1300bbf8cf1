package ledger

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
)

// room says why the commit logs must not grow, if so.
func (l *Ledger) room() error {
	l.settle()
	if l.commits.size() < commitLimit*checkpointAt {
		return nil
	}
	l.startCheckpoint()
	return fmt.Errorf("the logs of the zones cannot be written, and %d MiB of changes wait for it", l.commits.size()>>20)
}

// settle takes what checkpoints have removed out of the account of the commit logs,
// and reports whether one is under way.
func (l *Ledger) settle() (busy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits.forget(l.removed)
	l.removed = nil
	return l.checkpointing
}

// startCheckpoint begins a checkpoint if it is time for one. It is called by the
// goroutine that commits.
func (l *Ledger) startCheckpoint() {
	busy := l.settle()
	if busy || l.commits.size() < checkpointAt && l.commits.files() <= commitFiles || time.Now().Before(l.retryAt) {
		return
	}
	olds, err := l.commits.rotate()
	if err != nil {
		l.retryAt = time.Now().Add(retryAfter)
		return // the next change says so, if it cannot be written either
	}
	l.mu.Lock()
	l.checkpointing = true
	l.mu.Unlock()
	l.retryAt = time.Now().Add(retryAfter)
	l.work.Go(func() { // ends when all logs are written, or one cannot be
		err := l.checkpoint()
		if err == nil {
			err = l.commits.remove(olds)
		}
		if err != nil {
			l.config.Log.Warn("checkpoint failed; it is tried again", "error", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.checkpointing = false
		if err == nil {
			l.removed = append(l.removed, olds...)
		}
	})
}

// dirtyLocked returns the zones with entries that are in the commit logs only.
func (l *Ledger) dirtyLocked() []*entry {
	var dirty []*entry
	for _, e := range l.zones {
		if len(e.pending) > 0 {
			dirty = append(dirty, e)
		}
	}
	slices.SortFunc(dirty, func(a, b *entry) int { return a.name.Compare(b.name) })
	return dirty
}

// checkpoint brings all entries into the logs of their zones.
func (l *Ledger) checkpoint() error {
	l.mu.Lock()
	dirty := l.dirtyLocked()
	l.mu.Unlock()
	var errs []error
	for _, e := range dirty {
		if err := l.store(e, time.Now()); err != nil {
			errs = append(errs, fmt.Errorf("zone %s: %w", e.name, err))
			if len(errs) == maxErrors {
				break
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, e := range l.zones {
		if !e.isSet && len(e.pending) == 0 {
			delete(l.zones, name)
		}
	}
	if len(errs) == 0 {
		l.counts.Checkpoints++
	}
	return errors.Join(errs...)
}

// maxErrors is how many zones a failed checkpoint tells of: on a full disk all fail.
const maxErrors = 3

// Names returns the zones that are set.
func (l *Ledger) Names() []dnsname.Name {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []dnsname.Name
	for name, e := range l.zones {
		if e.isSet {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, dnsname.Name.Compare)
	return names
}
