package journal

import (
	"container/list"
	"sync"
)

// Budget bounds what the journals of all zones take together. At the limit the zones
// that have not changed for longest lose theirs, for their secondaries have most likely
// what there is; one that was away gets such a zone whole.
type Budget struct {
	mu      sync.Mutex // guards what follows
	held    map[string]*list.Element
	order   *list.List // of holding, the one that has changed last in front
	size    int
	dropped uint64
}

// holding is the journal of a zone.
type holding struct {
	zone    string
	journal *Journal
	size    int
}

// NewBudget returns a budget that holds nothing.
func NewBudget() *Budget {
	return &Budget{held: map[string]*list.Element{}, order: list.New()}
}

// Hold says that j is the journal of a zone now, and drops others, or at last j itself,
// if all together take more than limit octets.
func (b *Budget) Hold(zone string, j *Journal, limit int) {
	_, size := j.Stats()
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.held[zone]; e != nil {
		if e.Value.(holding).journal == j {
			return
		}
		b.forget(e)
	}
	if size == 0 {
		return
	}
	b.held[zone] = b.order.PushFront(holding{zone, j, size})
	for b.size += size; b.size > limit; b.dropped++ {
		last := b.order.Back()
		last.Value.(holding).journal.content.Store(nil)
		b.forget(last)
	}
}

// forget takes out a zone. b.mu is held.
func (b *Budget) forget(e *list.Element) {
	h := b.order.Remove(e).(holding)
	delete(b.held, h.zone)
	b.size -= h.size
}

// Keep forgets the zones that are not there any more.
func (b *Budget) Keep(isThere func(zone string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for zone, e := range b.held {
		if !isThere(zone) {
			b.forget(e)
		}
	}
}

// Stats returns the octets that all journals take, and how many were dropped.
func (b *Budget) Stats() (sizeBytes int, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.size, b.dropped
}
