package l4proxy

import (
	"slices"
	"strings"
	"sync/atomic"
)

// Refusal is why a connection was not carried.
type Refusal uint8

// The refusals.
const (
	RefusedFull      Refusal = iota // Limits.Connections
	RefusedClient                   // not among those that are let in
	RefusedPerClient                // Limits.PerClient
	RefusedArrival                  // no PROXY header or no TLS that is one
	RefusedHello                    // no ClientHello that is one
	RefusedRoute                    // no pool for it
	RefusedMember                   // nobody could be reached
	refusals
)

var refusalNames = [refusals]string{"full", "client", "per_client", "arrival", "hello", "route", "member"}

// String returns the word of metrics.
func (r Refusal) String() string { return refusalNames[r] }

// Counters are what a stream has carried. They outlive reloads.
type Counters struct {
	Taken     atomic.Uint64 // connections that were let in, or clients of UDP
	Active    atomic.Int64  // that are carried now
	Refused   [refusals]atomic.Uint64
	Retries   atomic.Uint64 // members that were asked after another one
	Unreached atomic.Uint64 // connects that failed
	Broken    atomic.Uint64 // connections that members ended without an answer
	Received  atomic.Uint64 // octets from clients
	Sent      atomic.Uint64 // octets to clients
	Dropped   atomic.Uint64 // datagrams that found no session and no room for one
	Displaced atomic.Uint64 // sessions that gave way to newer ones
}

// Stat is a stream and its counters.
type Stat struct {
	Stream *Stream
	*Counters
	Problems []string // of its listeners
	Addrs    []string // at which it lets clients in
}

// Stats returns all streams in the order of their names.
func (p *Proxy) Stats() (all []Stat) {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.streams {
		s := Stat{Stream: r.stream.Load(), Counters: &r.Counters}
		for _, d := range p.doors {
			switch {
			case d.to.Load() != r:
			case d.trouble != "":
				s.Problems = append(s.Problems, d.trouble)
			case d.isOpen():
				s.Addrs = append(s.Addrs, d.bound.String())
			}
		}
		slices.Sort(s.Addrs)
		slices.Sort(s.Problems)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stat) int { return strings.Compare(a.Stream.Name, b.Stream.Name) })
	return all
}
