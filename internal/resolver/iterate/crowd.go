package iterate

import (
	"time"

	"pharos/internal/dns/dnsname"
)

// This file is how much the servers of one zone are asked, over all questions, so
// that a flood of names in one zone neither harms its servers nor takes what the
// questions about other zones need.

// wideZones: the root and top level domains may be asked so many times more than
// other zones, 8, as everything passes through them.
const wideZones = 8

// crowds count what is under way to each zone and server, and what left for a zone
// in this second.
//
// Invariant: zones and servers hold what is under way only; the number of zones in
// rates is at most that of the queries of a second.
type crowds struct {
	zones   map[dnsname.Name]int
	servers map[Server]int
	rates   map[dnsname.Name]int // queries since second
	second  time.Time
}

func newCrowds() crowds {
	return crowds{make(map[dnsname.Name]int), make(map[Server]int), make(map[dnsname.Name]int), time.Time{}}
}

// isFull says which limit keeps l from asking the server at addr. Heavy clients may
// use half, so that others in the same zone still get through.
func (r *Resolver) isFull(l *lookup, addr Server) Limit {
	if l.route != nil {
		return NoLimit // the operator has said who is to be asked for all that
	}
	share := 1
	if l.payer != nil && l.payer.ask.Heavy {
		share = 2
	}
	wide := 1
	if l.cut.Zone.Labels() < 2 {
		wide = wideZones
	}
	switch {
	case r.crowds.rate(r.now, l.cut.Zone) >= r.limits.ZoneRate*wide/share:
		return LimitZoneRate
	case r.crowds.zones[l.cut.Zone] >= r.limits.ZoneWaiting*wide/share:
		return LimitZoneWaiting
	case r.crowds.servers[addr] >= r.limits.ServerWaiting*wide/share:
		return LimitServerWaiting
	}
	return NoLimit
}

// rate returns how many queries left for a zone in this second.
func (c *crowds) rate(now time.Time, zone dnsname.Name) int {
	if now.Sub(c.second) >= time.Second {
		clear(c.rates)
		c.second = now
	}
	return c.rates[zone]
}

func (c *crowds) enter(now time.Time, x *exchange) {
	c.rate(now, x.zone)
	c.rates[x.zone]++
	c.zones[x.zone]++
	c.servers[x.to]++
}

func (c *crowds) leave(x *exchange) {
	if c.zones[x.zone]--; c.zones[x.zone] == 0 {
		delete(c.zones, x.zone)
	}
	if c.servers[x.to]--; c.servers[x.to] == 0 {
		delete(c.servers, x.to)
	}
}
