package steer

import (
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// Client is for whom an answer is.
type Client struct {
	Addr  netip.Addr // of the socket, mostly a resolver's, or of the network that it asks for
	Place *Located   // nil: not known, or nobody looks at it
}

// Input is all that a decision depends on: with the same Input it is the same, always.
// That is what makes a decision replayable.
type Input struct {
	Spec     *Spec
	Type     rdata.Type // one of Spec.Kind.Types, or A and AAAA for hints
	View     *pool.View
	Fallback *pool.View // of Spec.Fallback, nil without one
	Client   Client
	Trips    []time.Duration // round trips to the client's network, by member of View; 0: not measured. nil: nothing was
	Shed     []uint8         // of how many answers in Shares a member is left out, by member of View. nil: of none
	Variant  uint8           // which of the Shares answers this is one of
	Changing bool            // the pool is
}

// Shares is how finely load is shed: a member near its capacity is left out of so many
// answers in 16.
const Shares = 16

// decision is one in the making.
type decision struct {
	*Input
	view     *pool.View
	kept     []int32 // members of view
	allDown  bool
	fallback bool      // view is that of the fallback
	set      bool      // the addresses of the fallback are answered
	tier     pool.Tier // that filter up found
	trace    *Trace    // may be nil
}

// Decide runs the chain of filters over the members of in.View. trace may be nil. The
// result has no records if the answer is NODATA (RFC 2308 §2.2): the name is there, this
// type of it is not.
func Decide(in Input, trace *Trace) *Prepared {
	d := &decision{Input: &in, view: in.View, trace: trace}
	trace.begin(&in)
	d.choose()
	if d.set {
		return d.prepareSet()
	}
	weights := d.merge()
	p := d.prepare(weights)
	trace.finish(d, p)
	return p
}

// choose runs the filters that leave members out.
func (d *decision) choose() {
	d.family()
	for i := range d.Spec.Filters {
		f := &d.Spec.Filters[i]
		if len(d.kept) == 0 && !d.isEmptyByHealth(f) {
			break
		}
		switch f.Kind {
		case Up:
			if d.up(f) {
				return // the fallback has gone through the chain
			}
		case Tiers:
			d.tiers(f)
		case Near:
			d.near(f)
		case Measured:
			d.latency(f)
		case Shed:
			if !d.fallback {
				d.shed(f)
			}
		}
	}
}

// isEmptyByHealth reports whether f is to look at an empty list: filter up does, for what
// there is to do when nobody can serve.
func (d *decision) isEmptyByHealth(f *Filter) bool { return f.Kind == Up }

// family keeps those that have an answer of the type.
func (d *decision) family() {
	d.kept = make([]int32, len(d.view.Members))
	for i := range d.kept {
		d.kept[i] = int32(i)
	}
	d.narrow("family", "", func(m *pool.Member) string {
		switch d.Type {
		case rdata.TypeA, rdata.TypeAAAA:
			if m.Address.Addr().Is4() != (d.Type == rdata.TypeA) {
				return "address of the other family"
			}
		default:
			if m.Host == "" {
				return "no host: " + d.Type.String() + " answers with names"
			}
		}
		if m.State == health.Draining && !d.hasUp() {
			return "draining"
		}
		return ""
	})
}

func (d *decision) hasUp() bool {
	return len(d.Spec.Filters) > 0 && d.Spec.Filters[0].Kind == Up
}

// narrow keeps the members that excludes has nothing against, as one step.
func (d *decision) narrow(name, note string, excludes func(*pool.Member) string) {
	step := d.trace.step(name, len(d.kept), note)
	kept := d.kept[:0:0]
	for _, i := range d.kept {
		m := &d.view.Members[i]
		why := excludes(m)
		if why == "" {
			kept = append(kept, i)
		}
		step.verdict(m, why)
	}
	step.end(len(kept))
	d.kept = kept
}

// pass keeps all, as a step that says why.
func (d *decision) pass(name, note string) { d.trace.step(name, len(d.kept), note).end(len(d.kept)) }

// has reports whether some kept member is as is says.
func (d *decision) has(is func(*pool.Member) bool) bool {
	for _, i := range d.kept {
		if is(&d.view.Members[i]) {
			return true
		}
	}
	return false
}

// up keeps the members that can serve: those that are Up, else those that were not probed
// yet. If all are down, or drained while there is a fallback, or the pool has no members
// now (it may scale from zero), it does what the Spec says; it reports whether that was to
// run the whole chain over the fallback.
func (d *decision) up(f *Filter) (other bool) {
	wanted := make(map[int32]bool, len(d.kept))
	for _, i := range d.kept {
		wanted[i] = true
	}
	d.tier = pool.TierOf(d.view.Members, func(i int) bool { return wanted[int32(i)] })
	some := len(d.kept) > 0 || len(d.view.Members) == 0
	d.narrow(f.String(), "served: "+d.tier.String(), func(m *pool.Member) string { return d.tier.Excludes(m.State) })
	d.allDown = d.tier == pool.Everybody
	if !some || d.tier == pool.UpOnly || d.tier == pool.UnknownOnly || d.fallback {
		return false
	}
	switch d.Spec.WhenDown {
	case ServeNothing:
		d.pass("whenDown", "nodata: nobody can serve, and this name is then answered with nothing")
		d.kept = nil
		return true
	case ServeFallback:
		return d.fallBack()
	}
	return false
}

// fallBack goes on with the fallback, unless that cannot serve either.
func (d *decision) fallBack() bool {
	if d.Fallback == nil {
		d.set = d.Spec.addressesOf(d.Type) > 0
		note := "fallback: the set addresses"
		if !d.set {
			note = "fallback: it has no address of this family"
		}
		d.pass("whenDown", note)
		d.kept, d.allDown = nil, !d.set // nobody checks the set addresses
		return true
	}
	all, view := d.kept, d.view
	d.pass("whenDown", "fallback: pool "+d.Fallback.Name+", which goes through the same filters")
	d.view, d.fallback, d.allDown = d.Fallback, true, false
	d.choose()
	if len(d.kept) > 0 && !d.allDown {
		return true
	}
	d.view, d.fallback, d.kept, d.allDown = view, false, all, len(all) > 0
	d.pass("whenDown", "nobody of the fallback can serve either: all of pool "+view.Name+" that are not drained")
	return true
}

// addressesOf returns how many addresses of a fallback answer type t.
func (s *Spec) addressesOf(t rdata.Type) (count int) {
	for _, a := range s.Addresses {
		if t == rdata.TypeA && a.Unmap().Is4() || t == rdata.TypeAAAA && a.Unmap().Is6() {
			count++
		}
	}
	return count
}

// tiers keeps the lowest tier.
func (d *decision) tiers(f *Filter) {
	low := d.view.Members[d.kept[0]].Tier
	for _, i := range d.kept {
		low = min(low, d.view.Members[i].Tier)
	}
	d.narrow(f.String(), fmt.Sprintf("tier %d", low), func(m *pool.Member) string {
		if m.Tier != low {
			return fmt.Sprintf("tier %d, and somebody of tier %d is left", m.Tier, low)
		}
		return ""
	})
}

// shed leaves out members near their capacity, of as many answers as they have to lose.
func (d *decision) shed(f *Filter) {
	if d.Shed == nil {
		d.pass(f.String(), "nobody is near its capacity")
		return
	}
	least := uint8(Shares)
	any := false
	for _, i := range d.kept {
		least = min(least, d.Shed[i])
		any = any || !isShed(i, d.Shed[i], d.Variant)
	}
	note := fmt.Sprintf("answer %d of %d", d.Variant+1, Shares)
	if !any {
		note += "; everybody is to be left out of it, so those with the least load stay"
	}
	at := 0
	d.narrow(f.String(), note, func(m *pool.Member) string {
		i := d.kept[at]
		at++
		level := d.Shed[i]
		if any && isShed(i, level, d.Variant) || !any && level > least {
			return fmt.Sprintf("near its capacity: left out of %d answers in %d", level, Shares)
		}
		return ""
	})
}

// isShed reports whether a member that loses level answers in Shares loses this one.
// Neighbours lose different ones: 5 and 7 have nothing in common with 16.
func isShed(member int32, level, variant uint8) bool {
	return (variant*5+uint8(member)*7)%Shares < level
}
