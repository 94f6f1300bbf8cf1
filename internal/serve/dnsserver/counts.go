package dnsserver

import (
	"sync/atomic"

	"pharos/internal/dns/dnswire"
)

// Counter is a kind of event that is counted, for each transport.
type Counter uint8

// The counters. Every message received is a query; it ends as one of Answers,
// Dropped, Ignored or SendErrors, a deferred one later than others.
const (
	Queries            Counter = iota // messages received
	Answers                           // answers handed to the kernel
	Truncated                         // answers among them with TC
	Malformed                         // queries answered with an error without asking the Handler
	Ignored                           // messages that must not be answered: responses, headless, from port 0
	Dropped                           // queries the Handler wanted no answer for
	DeferredQueries                   // queries that left their loop
	DeferralsRefused                  // queries answered SERVFAIL because too many were outstanding
	SendErrors                        // answers that could not be sent: refused by the kernel, client gone
	ReceiveErrors                     // failed attempts to receive or to accept
	Panics                            // Handler calls that panicked
	Connections                       // connections accepted
	ConnectionsRefused                // connections closed at once, because of a limit
	ConnectionsEvicted                // idle connections closed to make room
	ConnectionsSpent                  // connections closed after Limits.Queries
	SlowClients                       // connections closed because the client sent or took data too slowly
	HandshakesFailed                  // connections closed because TLS could not be agreed on, or not in time
	HandshakesRefused                 // connections closed before TLS, because of too many handshakes
	ProxyRefused                      // datagrams and connections with a header of a proxy that is not trusted, or without one from one that is
	numCounters
)

var counterNames = [numCounters]string{
	"queries", "answers", "truncated", "malformed", "ignored", "dropped", "deferred", "deferrals_refused",
	"send_errors", "receive_errors", "panics", "connections", "connections_refused", "connections_evicted",
	"connections_spent", "slow_clients", "handshakes_failed", "handshakes_refused", "proxy_refused",
}

// String returns the name of c as metrics spell it.
func (c Counter) String() string { return counterNames[c] }

// Counters returns every Counter.
func Counters() []Counter {
	all := make([]Counter, numCounters)
	for c := range all {
		all[c] = Counter(c)
	}
	return all
}

// rcodeSlots is the number of response codes counted apart: those that have been
// assigned, and one slot for all others.
const rcodeSlots = 25

// Counts is a set of counters. It is a value: the sum at the time of reading.
type Counts struct {
	events [numCounters]uint64
	rcodes [rcodeSlots]uint64
}

// Of returns the number of events c.
func (c *Counts) Of(event Counter) uint64 { return c.events[event] }

// Rcode returns the number of answers with response code r. Codes from 24 on share
// one number; answers that were deferred count by the four bits of their header.
func (c *Counts) Rcode(r dnswire.Rcode) uint64 { return c.rcodes[min(int(r), rcodeSlots-1)] }

// answered counts one answer.
func (c *Counts) answered(rcode dnswire.Rcode, truncated bool) {
	c.events[Answers]++
	c.rcodes[min(int(rcode), rcodeSlots-1)]++
	if truncated {
		c.events[Truncated]++
	}
}

// sharedCounts are the counters of one loop, written by it once per batch and read
// by whoever sums up. Padding keeps each loop's on cache lines of its own.
type sharedCounts struct {
	_      [64]byte
	events [numCounters]atomic.Uint64
	rcodes [rcodeSlots]atomic.Uint64
	_      [64]byte
}

// flush adds c and clears it.
func (s *sharedCounts) flush(c *Counts) {
	for i, n := range c.events {
		if n != 0 {
			s.events[i].Add(n)
			c.events[i] = 0
		}
	}
	for i, n := range c.rcodes {
		if n != 0 {
			s.rcodes[i].Add(n)
			c.rcodes[i] = 0
		}
	}
}

func (s *sharedCounts) add(event Counter, n uint64) { s.events[event].Add(n) }

// answered counts one answer that did not come from a Builder.
func (s *sharedCounts) answered(msg []byte) {
	s.events[Answers].Add(1)
	s.rcodes[msg[3]&0x0F].Add(1)
	if isTruncated(msg) {
		s.events[Truncated].Add(1)
	}
}

func (s *sharedCounts) addTo(c *Counts) {
	for i := range s.events {
		c.events[i] += s.events[i].Load()
	}
	for i := range s.rcodes {
		c.rcodes[i] += s.rcodes[i].Load()
	}
}

// isTruncated reports whether TC is set in msg (RFC 1035 §4.1.1).
func isTruncated(msg []byte) bool { return msg[2]&0x02 != 0 }

// Counts returns the counters of transport t, summed over its loops.
func (s *Server) Counts(t Transport) Counts {
	var c Counts
	if e := s.entrances[t]; e != nil {
		e.counts.addTo(&c)
		return c
	}
	if t != UDP {
		return c
	}
	for _, w := range s.workers {
		w.shared.addTo(&c)
	}
	return c
}

// countsOf returns where deferred answers are counted; for UDP that is the first
// loop's, which is enough for what is rare beside direct answers.
func (s *Server) countsOf(t Transport) *sharedCounts {
	if t == UDP {
		return &s.workers[0].shared
	}
	return &s.entrances[t].counts
}
