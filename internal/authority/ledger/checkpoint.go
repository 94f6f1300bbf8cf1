package ledger

import (
	"errors"
	"fmt"
	"slices"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// room waits for a checkpoint if the commit logs must not grow any more, and says why
// that was of no use.
func (l *Ledger) room() error {
	limit := commitLimit * l.config.limits.checkpoint
	l.settle()
	if l.commits.size() < limit {
		return nil
	}
	l.startCheckpoint()
	if running := l.settle(); running != nil {
		<-running
		l.settle()
	}
	if l.commits.size() < limit {
		return nil
	}
	return fmt.Errorf("the logs of the zones cannot be written, and %d MiB of changes wait for it", l.commits.size()>>20)
}

// settle takes what checkpoints have removed out of the account of the commit logs,
// and returns the one that is under way.
func (l *Ledger) settle() (running <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits.forget(l.removed)
	l.removed = nil
	return l.running
}

// startCheckpoint begins a checkpoint if it is time for one. It is called by the
// goroutine that commits.
func (l *Ledger) startCheckpoint() {
	limits := l.config.limits
	busy := l.settle() != nil
	if busy || l.commits.size() < limits.checkpoint && l.commits.files() <= commitFiles || clock.Now().Before(l.retryAt) {
		return
	}
	l.retryAt = clock.Now().Add(limits.retry)
	olds, err := l.commits.rotate()
	if err != nil {
		return // the next change says so, if it cannot be written either
	}
	running := make(chan struct{})
	l.mu.Lock()
	l.running = running
	l.mu.Unlock()
	l.work.Go(func() { // ends when all logs are written, or one cannot be
		defer close(running)
		err := l.checkpoint()
		if err == nil {
			err = l.commits.remove(olds)
		}
		if err != nil {
			l.config.Log.Warn("checkpoint of the ledger failed; it is tried again", "error", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.running = nil
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
		if err := l.store(e, clock.Now()); err != nil {
			errs = append(errs, fmt.Errorf("zone %s: %w", e.name, err))
			if len(errs) == maxErrors {
				break
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
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
