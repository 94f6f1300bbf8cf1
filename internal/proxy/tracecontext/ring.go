package tracecontext

import (
	"fmt"
	"sync/atomic"
	"time"
)

// RequestOctets is about what a Request takes in memory at most, with all its texts: they are
// cut to fit (Cut).
const RequestOctets = 4 << 10

// mostText is how long one text of a Request is that is kept.
const mostText = 512

// Cut returns text, or its beginning if it is too long to be kept.
func Cut(text []byte) string {
	if len(text) > mostText {
		return string(text[:mostText]) + "..."
	}
	return string(text)
}

// PastAge is for how long requests are kept at most: for as long as somebody asks about them.
const PastAge = 24 * time.Hour

// Ring keeps requests that are over, in bounded memory: half of it those that were unusual,
// half a sample of the others, so that neither drives the other out. The nil Ring keeps none.
//
// Concurrency: it may be used from anywhere. Nobody waits for anybody.
type Ring struct {
	unusual, usual part
}

type part struct {
	next  atomic.Uint64 // number of the next one
	slots []atomic.Pointer[Request]
}

// NewRing returns a Ring of so much memory.
func NewRing(octets int) *Ring {
	each := octets / 2 / RequestOctets
	if each <= 0 {
		return nil
	}
	r := new(Ring)
	r.unusual.slots, r.usual.slots = make([]atomic.Pointer[Request], each), make([]atomic.Pointer[Request], each)
	return r
}

// Keep keeps q, which is not changed from then on.
func (r *Ring) Keep(q *Request, unusual bool) {
	p := &r.usual
	if unusual {
		p = &r.unusual
	}
	p.slots[p.next.Add(1)%uint64(len(p.slots))].Store(q)
}

// Find returns the last request with an id that is kept; nil if there is none.
func (r *Ring) Find(id string, now time.Time) (found *Request) {
	r.each(now, func(q *Request) {
		if q.ID == id && (found == nil || found.Began.Before(q.Began)) {
			found = q
		}
	})
	return found
}

func (r *Ring) each(now time.Time, f func(*Request)) {
	if r == nil {
		return
	}
	for _, p := range []*part{&r.unusual, &r.usual} {
		for i := range p.slots {
			if q := p.slots[i].Load(); q != nil && now.Sub(q.Began) <= PastAge {
				f(q)
			}
		}
	}
}

// Text says in a line what is kept.
func (r *Ring) Text(now time.Time) string {
	count, oldest := 0, now
	r.each(now, func(q *Request) {
		count++
		if q.Began.Before(oldest) {
			oldest = q.Began
		}
	})
	if count == 0 {
		return "no requests are kept"
	}
	return fmt.Sprintf("%d requests are kept since %s, of at most %d", count, oldest.UTC().Format(time.DateTime), len(r.unusual.slots)+len(r.usual.slots))
}
