package steer

import (
	"net/netip"
	"sync/atomic"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

// Limits of what a Rule remembers.
const (
	// maxClasses is for how many classes of clients a Rule has its decisions at hand: more
	// than there are countries. Two whose places fall together take turns.
	maxClasses = 1 << 9
	// measuredFor is how long a decision by measured round trips is used.
	measuredFor = 10 * time.Second
	// shedEvery is how often load is looked at.
	shedEvery = time.Second
)

// memo is the decisions of a Rule for one state of what they are made of.
type memo struct {
	view, fallback *pool.View
	edition        *Edition
	changing       bool
	shed           []uint8
	until          time.Time // when changing and shed are to be looked at again; zero: never

	// plain is by type, for rules that look at nothing of a client and shed nothing.
	plain [slots]atomic.Pointer[Prepared]
	// classes is by the hash of a class; nil for other rules.
	classes []atomic.Pointer[remembered]
}

// remembered is the decision for a class of clients.
type remembered struct {
	class class
	until time.Time // zero: as long as the memo
	of    *Prepared
}

// class is all that a decision looks at of a client and a turn.
type class struct {
	slot    uint8
	variant uint8
	place   uint64
	network uint64 // of the client, if round trips to it are looked at
}

// slots is how many types there are records of.
const slots = 6

func slotOf(t rdata.Type) uint8 {
	switch t {
	case rdata.TypeAAAA:
		return 1
	case rdata.TypeSRV:
		return 2
	case rdata.TypeMX:
		return 3
	case rdata.TypeCNAME:
		return 4
	case rdata.TypeA:
		return 0
	}
	return slots - 1
}

// current returns the memo of what there is now.
func (r *Rule) current(now time.Time) *memo {
	view, edition := r.Pool.View(), r.Atlas.Edition()
	var fallback *pool.View
	if r.Fallback != nil {
		fallback = r.Fallback.View()
	}
	m := r.memo.Load()
	if m != nil && m.view == view && m.edition == edition && m.fallback == fallback && (m.until.IsZero() || now.Before(m.until)) {
		return m
	}
	next := &memo{view: view, fallback: fallback, edition: edition}
	next.look(r, now)
	if m != nil && m.view == view && m.edition == edition && m.fallback == fallback && next.sameLoad(m) {
		next.shed, next.classes = m.shed, m.classes
		for i := range m.plain {
			next.plain[i].Store(m.plain[i].Load())
		}
	} else if r.sees.isPersonal() || r.sees.shedding {
		next.classes = make([]atomic.Pointer[remembered], maxClasses)
	}
	r.memo.Store(next)
	return next
}

// look sets what follows from now.
func (m *memo) look(r *Rule, now time.Time) {
	if r.ShortTTL < r.TTL {
		at := changedAt(m.view)
		if calm := at.Add(r.Calm); !at.IsZero() && now.Before(calm) {
			m.changing, m.until = true, calm
		}
	}
	if r.sees.shedding {
		elapsed := time.Duration(0)
		if r.Elapsed != nil {
			elapsed = r.Elapsed()
		}
		m.shed = ShedLevels(m.view, r.Filters, elapsed)
		if next := now.Add(shedEvery); m.until.IsZero() || next.Before(m.until) {
			m.until = next
		}
	}
}

// changedAt returns when a member last came or went; zero: never, as far as is known.
func changedAt(v *pool.View) (at time.Time) {
	for i := range v.Members {
		if since := v.Members[i].Since; since.After(at) {
			at = since
		}
	}
	return at
}

func (m *memo) sameLoad(o *memo) bool {
	if m.changing != o.changing || len(m.shed) != len(o.shed) {
		return false
	}
	for i := range m.shed {
		if m.shed[i] != o.shed[i] {
			return false
		}
	}
	return true
}

// Prepare returns the decision for records of type t, for a client, at a turn; and for how
// many leading bits of the client's address it is good (RFC 7871 §7.2.1), 0: for everybody.
// What was decided before for such clients comes from memory, without allocating.
func (r *Rule) Prepare(t rdata.Type, client netip.Addr, turn uint64, now time.Time) (p *Prepared, scope int) {
	m := r.current(now)
	if m.classes == nil {
		at := &m.plain[slotOf(t)]
		if p = at.Load(); p == nil {
			p = Decide(r.input(m, t, Client{Addr: client}, turn, now), nil)
			at.Store(p)
		}
		return p, 0
	}
	c := class{slot: slotOf(t)}
	var place *Located
	if r.sees.places {
		if place, scope = m.edition.Find(client); place != nil {
			c.place = place.keys[r.sees.place]
			if r.sees.distance {
				c.place ^= place.point
			}
		}
	}
	scope = max(scope, r.networkBits(client))
	if r.sees.latency {
		c.network = hashNetwork(client, latencyBits4, latencyBits6)
	}
	if m.shed != nil {
		c.variant = r.variant(client, turn)
	}
	at := &m.classes[mix(c.place^c.network^uint64(c.slot)<<8^uint64(c.variant))%maxClasses]
	if known := at.Load(); known != nil && known.class == c && (known.until.IsZero() || now.Before(known.until)) {
		return known.of, scope
	}
	found := &remembered{class: c, of: Decide(r.input(m, t, Client{Addr: client, Place: place}, turn, now), nil)}
	if r.sees.latency {
		found.until = now.Add(measuredFor)
	}
	at.Store(found)
	return found.of, scope
}

// networkBits returns how many leading bits of a client's address the filters look at that
// go by its network.
func (r *Rule) networkBits(client netip.Addr) (bits int) {
	is4 := client.Unmap().Is4()
	if f := r.sees.sticky; f != nil {
		if bits = f.Bits6; is4 {
			bits = f.Bits4
		}
	}
	if r.sees.latency {
		if is4 {
			return max(bits, latencyBits4)
		}
		return max(bits, latencyBits6)
	}
	return bits
}

// variant returns which of the Shares answers the one at turn is. With a sticky order it is
// always the same for one network: load is shed by moving networks.
func (r *Rule) variant(client netip.Addr, turn uint64) uint8 {
	if f := r.sees.sticky; f != nil && client.IsValid() {
		return uint8(hashNetwork(client, f.Bits4, f.Bits6) % Shares)
	}
	return uint8(mix(turn) % Shares)
}

// input returns what a decision is made of.
func (r *Rule) input(m *memo, t rdata.Type, c Client, turn uint64, now time.Time) Input {
	in := Input{Spec: &r.Spec, Type: t, View: m.view, Fallback: m.fallback, Client: c, Shed: m.shed, Changing: m.changing}
	if m.shed != nil {
		in.Variant = r.variant(c.Addr, turn)
	}
	if r.sees.latency && r.Latency != nil {
		in.Trips = r.Latency.Trips(c.Addr, m.view, now)
	}
	return in
}

// Default returns the decision for who says nothing of the client, in calm times and
// without load.
func (r *Rule) Default(t rdata.Type) *Prepared {
	in := Input{Spec: &r.Spec, Type: t, View: r.Pool.View()}
	if r.Fallback != nil {
		in.Fallback = r.Fallback.View()
	}
	return Decide(in, nil)
}

// perView is what somebody has made of the views of a Rule.
type perView struct {
	view, fallback *pool.View
	made           any
}

// PerView returns what make has returned since the pool, or its fallback, last changed.
func (r *Rule) PerView(make func() any) any {
	now := perView{view: r.Pool.View()}
	if r.Fallback != nil {
		now.fallback = r.Fallback.View()
	}
	if p := r.kept.Load(); p != nil && p.view == now.view && p.fallback == now.fallback {
		return p.made
	}
	now.made = make()
	r.kept.Store(&now)
	return now.made
}

// Input returns what the decision for a client at a turn is made of, and for how many bits
// of its address it is good: for explain, with Decide.
func (r *Rule) Input(t rdata.Type, client netip.Addr, turn uint64, now time.Time) (in Input, scope int) {
	m := r.current(now)
	c := Client{Addr: client}
	if r.sees.places {
		c.Place, scope = m.edition.Find(client)
	}
	return r.input(m, t, c, turn, now), max(scope, r.networkBits(client))
}
