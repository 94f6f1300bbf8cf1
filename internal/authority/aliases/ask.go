package aliases

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/authority/alias"
	"pharos/internal/authority/answer"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is the way of one target: when it is due, through the zones of ours, and
// from where they lead no further by the resolver.

// Names are where targets are looked up: at one moment, as the clients of the zones
// would see them.
type Names interface {
	// Find returns the zone of ours that answers for a name, and the Driver that has
	// the zone's ALIAS records; nil if none does.
	Find(name dnsname.Name) (*zone.Zone, *Driver)
	// Cut is told of a delegation in a zone of ours, below which Resolve is asked next.
	Cut(z *zone.Zone, cut zone.Node)
	// Resolve has the resolver find records of a type. The error says, for an operator,
	// why what it returns would not be good.
	Resolve(ctx context.Context, name dnsname.Name, t rdata.Type) ([]rdata.Record, error)
}

// Limits of the work with targets.
const (
	// maxAsking is how many targets are asked for at a time: the resolver is there for
	// clients first.
	maxAsking = 16
	// maxSteps is how many names of ours lead from a target to its addresses.
	maxSteps = 8
	// timeout is how long one target may take.
	timeout = 10 * time.Second
)

// families are the types that a target is asked for.
var families = [...]rdata.Type{rdata.TypeA, rdata.TypeAAAA}

// poke has run look at what is due.
func (d *Driver) poke() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// run asks for targets when they are due.
func (d *Driver) run() {
	for {
		d.mu.Lock()
		now := clock.Now()
		due := d.book.Due(now, maxAsking-d.asking)
		d.asking += len(due)
		next := d.book.Next()
		isFull := d.asking == maxAsking
		d.mu.Unlock()
		for _, target := range due {
			d.work.Go(func() { // ends with timeout, or when Close cancels it
				d.answered(target, d.resolve(target))
			})
		}
		var timer <-chan time.Time
		if !next.IsZero() && !isFull { // else one that ends wakes us
			timer = clock.NewTimer(clock.Until(next)).C
		}
		select {
		case <-d.ctx.Done():
			return
		case <-d.wake:
		case <-timer:
		}
	}
}

// answered takes over what came of asking for a target.
func (d *Driver) answered(target dnsname.Name, o alias.Outcome) {
	if d.ctx.Err() != nil {
		return
	}
	d.mu.Lock()
	wasSteered, _ := d.book.Steered(target)
	changed := d.book.Answered(clock.Now(), target, o)
	isSteered, _ := d.book.Steered(target)
	d.asking--
	var concerned []dnsname.Name
	for name, z := range d.zones {
		if slices.ContainsFunc(z.records, func(r alias.Record) bool { return r.Target == target }) {
			concerned = append(concerned, name)
			z.stale = z.stale || changed
		}
	}
	d.mu.Unlock()
	d.poke()
	if changed && wasSteered != isSteered {
		d.config.Steering()
	}
	for _, name := range concerned {
		if changed {
			d.config.Changed(name)
		}
		d.report(name)
	}
	if changed {
		d.save()
	}
}

// resolve finds the addresses of a target.
func (d *Driver) resolve(target dnsname.Name) alias.Outcome {
	ctx, cancel := context.WithTimeout(d.ctx, timeout)
	defer cancel()
	names := d.config.Names()
	if names == nil {
		return alias.Outcome{Problem: "its view is gone"}
	}
	name := target
	for range maxSteps {
		z, in := names.Find(name)
		if z == nil {
			return d.ask(ctx, names, name)
		}
		next, isAlias := in.targetAt(z.Origin(), name)
		if !isAlias {
			outcome, further, isDone := d.local(ctx, names, z, name)
			if isDone {
				return outcome
			}
			next = further
		}
		name = next
	}
	return alias.Outcome{Problem: fmt.Sprintf("it leads in a circle, or through more than %d names", maxSteps)}
}

// targetAt returns the target of the ALIAS record that a zone has at a name.
func (d *Driver) targetAt(apex, name dnsname.Name) (dnsname.Name, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	z := d.zones[apex]
	if z == nil {
		return dnsname.Name{}, false
	}
	at, ok := slices.BinarySearchFunc(z.records, name, func(r alias.Record, name dnsname.Name) int { return r.Owner.Compare(name) })
	if !ok {
		return dnsname.Name{}, false
	}
	return z.records[at].Target, true
}

// local finds the addresses of a name in a zone of ours, or the name to go on with.
func (d *Driver) local(ctx context.Context, names Names, z *zone.Zone, name dnsname.Name) (o alias.Outcome, next dnsname.Name, isDone bool) {
	var found []netip.Addr
	o.TTL = rdata.MaxTTL
	for _, t := range families {
		q := new(dnswire.Query)
		q.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: name, Type: t, Class: rdata.ClassIN}))
		var out dnswire.Builder
		out.Reset(q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
		outcome := answer.Answer(q, z, 0, &out)
		msg := out.Finish()
		switch outcome.Kind {
		case answer.Steered:
			return alias.Outcome{Steered: z.Name(outcome.Last.Exact).Clone(), TTL: rdata.TTL(d.config.Terms.Limits.Least / time.Second)}, next, true
		case answer.Referral:
			names.Cut(z, outcome.Last.Cut)
			if _, end := answer.Chain(msg); !end.IsZero() {
				name = end
			}
			return d.ask(ctx, names, name), next, true
		case answer.Partial:
			if _, next = answer.Chain(msg); next.IsZero() {
				return alias.Outcome{Problem: "its CNAME records lead in a circle"}, next, true
			}
			return o, next, false
		case answer.Positive:
			if m, err := dnswire.ParseMessage(msg); err == nil {
				found, o.TTL = pick(m.Answer, t, found, o.TTL)
			}
		case answer.NoData:
		default:
			return alias.Outcome{Problem: "the zone here answers " + outcome.Kind.String()}, next, true
		}
	}
	o.Addresses = d.take(found)
	return o, next, true
}

// pick adds the addresses of type t among records, and lowers ttl to theirs.
func pick(records []rdata.Record, t rdata.Type, found []netip.Addr, ttl rdata.TTL) ([]netip.Addr, rdata.TTL) {
	for _, r := range records {
		if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Type == t {
			found, ttl = append(found, addr), min(ttl, r.TTL)
		}
	}
	return found, ttl
}

// take puts addresses in order, without those that are refused.
func (d *Driver) take(found []netip.Addr) alias.Addresses {
	return alias.MakeAddresses(found, func(addr netip.Addr) bool {
		return slices.ContainsFunc(d.config.Terms.Refuse, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
	})
}

// ask has the resolver find the addresses of a name. Both families must be answered:
// half an answer would take the other half away.
func (d *Driver) ask(ctx context.Context, names Names, name dnsname.Name) alias.Outcome {
	var found []netip.Addr
	ttl := rdata.MaxTTL
	for _, t := range families {
		records, err := names.Resolve(ctx, name, t)
		if err != nil {
			return alias.Outcome{Problem: err.Error()}
		}
		found, ttl = pick(records, t, found, ttl)
	}
	o := alias.Outcome{Addresses: d.take(found), TTL: ttl}
	if o.Addresses.IsEmpty() && len(found) > 0 {
		o.Problem = "all of its addresses are in alias.refuse"
	}
	return o
}
