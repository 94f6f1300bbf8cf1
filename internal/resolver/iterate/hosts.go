package iterate

import (
	"time"

	"pharos/internal/dns/dnsname"
)

// Times of the exchanges with one server.
const (
	firstTimeout = 500 * time.Millisecond // of a server never heard of
	minTimeout   = 300 * time.Millisecond // of one known to be near: it may be busy
	maxTimeout   = 3 * time.Second
	tcpTimeout   = 4 * time.Second // connecting, asking and answering

	// unknownPrice: a server never heard of is taken to answer in a random time up
	// to this, so it is tried before all but near ones.
	unknownPrice = 50 * time.Millisecond

	silentAfter = 2                // timeouts in a row: one may be a lost packet
	deadAfter   = 4                // timeouts in a row after which a server counts as dead
	deadFirst   = time.Second      // for how long; twice that with every further timeout
	deadMost    = 60 * time.Second // but no longer
	lameTime    = 5 * time.Minute  // how long a server that does not serve a zone is asked for it last
	bogusTime   = time.Minute      // how long a server that gave what is bogus for a zone is asked for it late
	plainTime   = time.Hour        // how long a server that does not understand EDNS gets none

	maxLame = 8 // zones remembered as lame for one server; the oldest is forgotten first

	hostOctets = 240 // of a server without marked zones
	markOctets = 40  // of a marked zone beside its name
)

// host is what is remembered of one server address (the infrastructure cache).
type host struct {
	srtt, rttvar time.Duration // smoothed round trip time and its deviation (RFC 6298 §2)
	timeouts     int           // in a row
	lastTimeout  time.Time
	deadUntil    time.Time
	plainUntil   time.Time
	caseUntil    time.Time
	lame         []lameZone
	suspect      []lameZone // zones for which it gave what is bogus
}

type lameZone struct {
	zone  dnsname.Name
	until time.Time
}

// hosts are the servers that are remembered: some 16,000 with the default of
// Limits.Memory.
type hosts struct{ known bounded[Server, *host] }

// look returns the host at addr, nil if it was never heard of.
func (s *hosts) look(addr Server) *host { return s.known.get(addr) }

// get returns the host at addr, remembering it from now on.
func (s *hosts) get(addr Server) *host {
	if h := s.known.get(addr); h != nil {
		return h
	}
	h := &host{}
	s.known.put(addr, h, hostOctets)
	return h
}

// setLame remembers that the host at addr does not serve a zone.
func (s *hosts) setLame(addr Server, zone dnsname.Name, until time.Time) {
	h := s.get(addr)
	before := h.marksOctets()
	h.lame = mark(h.lame, zone, until)
	s.known.grow(addr, h.marksOctets()-before)
}

// setSuspect remembers that the host at addr gave what is bogus for a zone.
func (s *hosts) setSuspect(addr Server, zone dnsname.Name, until time.Time) {
	h := s.get(addr)
	before := h.marksOctets()
	h.suspect = mark(h.suspect, zone, until)
	s.known.grow(addr, h.marksOctets()-before)
}

func (h *host) marksOctets() (n int) {
	for _, list := range [...][]lameZone{h.lame, h.suspect} {
		for _, l := range list {
			n += markOctets + l.zone.Len()
		}
	}
	return n
}

// answered takes a reply after rtt into account.
func (h *host) answered(rtt time.Duration) {
	h.timeouts, h.deadUntil = 0, time.Time{}
	if h.srtt == 0 {
		h.srtt, h.rttvar = max(rtt, 1), rtt/2
		return
	}
	h.rttvar += ((rtt - h.srtt).Abs() - h.rttvar) / 4
	h.srtt = max(h.srtt+(rtt-h.srtt)/8, 1)
}

// timedOut takes into account that a query sent at the given time got no reply.
// Queries that were under way at a time count as one.
func (h *host) timedOut(now, sent time.Time) {
	if sent.Before(h.lastTimeout) {
		return
	}
	h.lastTimeout = now
	h.timeouts++
	if over := h.timeouts - deadAfter; over >= 0 {
		h.deadUntil = now.Add(min(deadFirst<<min(over, 10), deadMost))
	}
}

// timeout returns how long to wait for a reply to the given try (from 0).
func (h *host) timeout(try int) time.Duration {
	t := firstTimeout
	if h != nil && h.srtt > 0 {
		t = h.srtt + 4*h.rttvar
	}
	return min(max(t, minTimeout)<<min(try, 4), maxTimeout)
}

// price is how long the host is expected to take.
func (h *host) price(r *Resolver) time.Duration {
	switch {
	case h == nil, h.srtt == 0 && h.timeouts == 0:
		return time.Duration(r.cfg.Rand.Int64N(int64(unknownPrice)))
	case h.srtt == 0:
		return firstTimeout << min(h.timeouts, 4)
	}
	return h.srtt + time.Duration(min(h.timeouts, 10))*minTimeout
}

func (h *host) dead(now time.Time) bool { return h != nil && now.Before(h.deadUntil) }

// isSilent reports whether the host has not answered lately, so that who has another
// choice had better not wait for it.
func (h *host) isSilent(now time.Time) bool {
	return h != nil && h.timeouts >= silentAfter && now.Sub(h.lastTimeout) < deadMost
}

func (h *host) plain(now time.Time) bool { return h != nil && now.Before(h.plainUntil) }

func (h *host) lowersCase(now time.Time) bool { return h != nil && now.Before(h.caseUntil) }

func (h *host) isLame(zone dnsname.Name, now time.Time) bool {
	return h != nil && isMarked(h.lame, zone, now)
}

func (h *host) isSuspect(zone dnsname.Name, now time.Time) bool {
	return h != nil && isMarked(h.suspect, zone, now)
}

func isMarked(list []lameZone, zone dnsname.Name, now time.Time) bool {
	for _, l := range list {
		if l.zone == zone && now.Before(l.until) {
			return true
		}
	}
	return false
}

func mark(list []lameZone, zone dnsname.Name, until time.Time) []lameZone {
	for i := range list {
		if list[i].zone == zone {
			list[i].until = until
			return list
		}
	}
	if len(list) == maxLame {
		list = append(list[:0], list[1:]...)
	}
	return append(list, lameZone{zone.Clone(), until})
}
