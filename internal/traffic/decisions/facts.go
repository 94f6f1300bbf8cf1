package decisions

import (
	"container/list"
	"slices"
	"sync"
	"time"
	"unsafe"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

// isDefault is the bit of the number of facts that says that a decision is the default one.
const isDefault = 1

// Octets that facts take, about: it is memory that nobody else may hold any more.
const (
	factOctets   = int(unsafe.Sizeof(fact{})+unsafe.Sizeof(steer.Input{})) + 200
	memberOctets = int(unsafe.Sizeof(pool.Member{})) + 400 // with its part of orders, levels and tables
)

// maxLeftOut is of how many members it is counted that a filter left them out: what a
// scrape has of them is then bounded.
const maxLeftOut = 1000

// fact is what a decision was made from.
type fact struct {
	number uint64
	at     time.Time
	input  *steer.Input
	sum    uint64
	octets int // without the views
}

// LeftOut is how often a filter has left a member out, of decisions and not of answers.
type LeftOut struct {
	Pool, Member, Filter string
	Count                uint64
}

// facts are the decisions, bounded. What is in use most recently was made most recently, as
// far as it matters: views follow each other.
type facts struct {
	limit int

	mu      sync.Mutex // guards all below; taken when a decision is new, and by who explains
	next    uint64
	known   map[uint64]*list.Element
	order   *list.List         // of *fact, oldest first
	views   map[*pool.View]int // how many facts hold each
	octets  int
	gone    uint64
	calm    map[*pool.View]*pool.View // with everybody up; some that were made lately
	leftOut map[leftOutKey]uint64
	more    uint64
}

type leftOutKey struct{ pool, member, filter string }

func (f *facts) init(limit int) {
	f.limit, f.known, f.order, f.views = limit, map[uint64]*list.Element{}, list.New(), map[*pool.View]int{}
	f.calm, f.leftOut = map[*pool.View]*pool.View{}, map[leftOutKey]uint64{}
}

// add keeps what p was decided from, and returns its number, which p bears from then on.
func (f *facts) add(p *steer.Prepared, now time.Time) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if number := p.Fact.Load(); number != 0 {
		return number // by somebody else, just now
	}
	f.next += 2
	n := &fact{number: f.next, at: now.UTC().Round(0), input: p.Input, sum: p.Sum()}
	if f.isDefault(p) {
		n.number |= isDefault
	}
	n.octets = factOctets + len(p.Input.Trips)*8 + len(p.Input.Shed)
	f.known[n.number] = f.order.PushBack(n)
	f.octets += n.octets
	f.hold(n.input, 1)
	for f.octets > f.limit && f.order.Len() > 1 {
		f.drop(f.order.Front())
	}
	f.count(p.Input)
	p.Fact.Store(n.number)
	return n.number
}

// hold notes that facts begin (1) or cease (-1) to hold the views of an input.
func (f *facts) hold(in *steer.Input, by int) {
	for _, v := range [...]*pool.View{in.View, in.Fallback} {
		if v == nil {
			continue
		}
		before := f.views[v]
		if before == 0 && by > 0 || before == 1 && by < 0 {
			f.octets += by * len(v.Members) * memberOctets
		}
		if f.views[v] = before + by; before+by == 0 {
			delete(f.views, v)
			delete(f.calm, v)
		}
	}
}

func (f *facts) drop(e *list.Element) {
	n := e.Value.(*fact)
	f.order.Remove(e)
	delete(f.known, n.number)
	f.octets -= n.octets
	f.hold(n.input, -1)
	f.gone++
}

// isDefault reports whether p is what would be decided if all members were up that nobody
// drains, with nothing known of the client, and no load; and nobody is drained. Turn and
// client's network choose among the same members then.
func (f *facts) isDefault(p *steer.Prepared) bool {
	in := *p.Input
	if p.AllDown || p.Fallback || slices.ContainsFunc(in.View.Members, func(m pool.Member) bool { return m.State == health.Draining }) {
		return false
	}
	calm := f.calm[in.View]
	if calm == nil {
		calm = in.View.SupposingUp()
		f.calm[in.View] = calm
	}
	other := steer.Decide(steer.Input{Spec: in.Spec, Type: in.Type, View: calm, Fallback: in.Fallback}, nil)
	return slices.Equal(other.Members, p.Members)
}

// count notes whom the filters of a decision left out.
func (f *facts) count(in *steer.Input) {
	var trace steer.Trace
	steer.Decide(*in, &trace)
	for _, step := range trace.Steps {
		for _, m := range step.Members {
			if m.Excluded == "" {
				continue
			}
			key := leftOutKey{in.View.Name, m.Member, step.Filter}
			if _, there := f.leftOut[key]; !there && len(f.leftOut) >= maxLeftOut {
				f.more++
				continue
			}
			f.leftOut[key]++
		}
	}
}

// get returns facts by their number, nil if they are gone.
func (f *facts) get(number uint64) *fact {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := f.known[number]; e != nil {
		return e.Value.(*fact)
	}
	return nil
}

func (f *facts) stats(st *Stats) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st.Facts, st.FactOctets, st.FactsGone, st.LeftOutMore = len(f.known), f.octets, f.gone, f.more
	for k, n := range f.leftOut {
		st.LeftOut = append(st.LeftOut, LeftOut{k.pool, k.member, k.filter, n})
	}
}
