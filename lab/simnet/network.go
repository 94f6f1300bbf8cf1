// Package simnet is a packet network in memory with a clock of its own, for
// driving state machines that speak DNS through weather no real network gives on
// demand: latency, loss, duplication, reordering, partitions and small MTUs.
//
// It owns the clock, the queue of events and the fate of every packet. It does
// not own what is said: a server is a function from a query to replies (Server),
// and the resolver is the program's own state machine, run by a Host.
//
// A network is described by a value (Config) and one seed. It is single
// threaded, starts no goroutine and reads no clock, so the same value, seed and
// program give the same events in the same order; Log is that order.
//
//	Host --Send--> [ path: cut? MTU? lost? late? twice? ] --at its time--> Server
//	Host <-Arrived-[ path the other way                 ] <------replies----+
//
// Entry points: New; Network.Serve, Network.Bind, Network.At, Network.Cut,
// Network.Heal; Network.Run, Network.RunUntil; NewHost, Zones.
//
// Concurrency: none. A Network and everything on it belong to one goroutine.
//
// Sources: RFC 768 and RFC 9293 in what a user of the transports can see; RFC
// 6298 §2 (first retransmission after one second, doubled).
package simnet

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Config describes a network. The zero value is a perfect one: no delay, no
// loss, at the Unix epoch.
type Config struct {
	// Seed decides every draw of chance.
	Seed uint64
	// Start is the time at which the clock begins.
	Start time.Time
	// Default is the path between two addresses that no rule names.
	Default Path
	// Rules name paths. The first whose prefixes hold both addresses wins.
	Rules []Rule
}

// Rule gives the packets from one prefix to another their path. The zero Prefix
// holds every address. A rule is one way; a link with two faces takes two rules.
type Rule struct {
	From, To netip.Prefix
	Path     Path
}

// Path is what happens to packets on their way from one address to another.
// Chances are in [0, 1].
type Path struct {
	Latency   time.Duration // the least time a packet takes
	Jitter    time.Duration // the width of what is added to Latency
	Shape     Shape         // how the addition is distributed
	Loss      float64       // chance that a packet is lost
	Duplicate float64       // chance that a packet arrives twice
	Reorder   float64       // chance that a packet is held back by ReorderBy
	ReorderBy time.Duration // how long a packet is held back for others to pass
	MTU       int           // octets of the largest IP packet; larger UDP is dropped; 0 is no limit
}

// Shape is the distribution of jitter.
type Shape uint8

// The shapes of jitter.
const (
	Uniform     Shape = iota // anywhere in [0, Jitter)
	Exponential              // mean Jitter, so with a long tail
)

// Datagram is one UDP datagram.
type Datagram struct {
	From, To netip.AddrPort
	Payload  []byte // not to be written to; the receiver may keep it
}

// Socket is an end of the network that receives datagrams. Either function may
// be nil.
type Socket struct {
	// Deliver is called when a datagram arrives.
	Deliver func(now time.Time, d Datagram)
	// Refused is called when a datagram from this socket reached a port on which
	// nothing listens, once the ICMP message about it is back.
	Refused func(now time.Time, to netip.AddrPort)
}

// Server answers one message: it returns the messages to send back, none for
// silence. Over TCP no reply means that the server closes the connection.
type Server func(now time.Time, query []byte, from netip.AddrPort) (replies [][]byte)

// Network is a simulated network. Make one with New.
type Network struct {
	cfg     Config
	now     time.Time
	chance  *rand.Rand
	events  queue
	cuts    []cut
	sockets map[netip.AddrPort]Socket
	streams map[netip.AddrPort]Server
	log     []Entry
}

// cut is a partition, one way.
type cut struct{ from, to netip.Prefix }

// New returns an idle network at cfg.Start.
func New(cfg Config) *Network {
	if cfg.Start.IsZero() {
		cfg.Start = time.Unix(0, 0).UTC()
	}
	return &Network{
		cfg:     cfg,
		now:     cfg.Start,
		chance:  rand.New(rand.NewPCG(cfg.Seed, 0x5be0cd19137e2179)), // the second word is arbitrary and fixed
		sockets: map[netip.AddrPort]Socket{},
		streams: map[netip.AddrPort]Server{},
	}
}

// Now returns the network's time.
func (n *Network) Now() time.Time { return n.now }

// Bind puts a socket on an address and port, in place of one already there.
func (n *Network) Bind(at netip.AddrPort, s Socket) { n.sockets[at] = s }

// Unbind takes the socket off an address and port; datagrams under way to it
// will be refused.
func (n *Network) Unbind(at netip.AddrPort) { delete(n.sockets, at) }

// Serve puts servers on an address and port, one for UDP and one for TCP; a nil
// one leaves that transport closed.
func (n *Network) Serve(at netip.AddrPort, udp, tcp Server) {
	delete(n.sockets, at)
	delete(n.streams, at)
	if udp != nil {
		n.Bind(at, Socket{Deliver: func(now time.Time, d Datagram) {
			for _, reply := range udp(now, d.Payload, d.From) {
				n.Send(Datagram{From: d.To, To: d.From, Payload: reply})
			}
		}})
	}
	if tcp != nil {
		n.streams[at] = tcp
	}
}

// Cut drops every packet from one prefix to another until Heal; the other way
// stays open. The zero Prefix holds every address.
func (n *Network) Cut(from, to netip.Prefix) { n.cuts = append(n.cuts, cut{from, to}) }

// CutBoth is Cut in both directions.
func (n *Network) CutBoth(a, b netip.Prefix) {
	n.Cut(a, b)
	n.Cut(b, a)
}

// Heal undoes every Cut.
func (n *Network) Heal() { n.cuts = nil }

// path returns the path from one address to another, and whether it is cut.
func (n *Network) path(from, to netip.Addr) (p Path, isCut bool) {
	for _, c := range n.cuts {
		if holds(c.from, from) && holds(c.to, to) {
			return Path{}, true
		}
	}
	for _, r := range n.cfg.Rules {
		if holds(r.From, from) && holds(r.To, to) {
			return r.Path, false
		}
	}
	return n.cfg.Default, false
}

func holds(p netip.Prefix, a netip.Addr) bool { return !p.IsValid() || p.Contains(a.Unmap()) }

// delay draws the time that one packet takes on a path.
func (n *Network) delay(p Path) time.Duration {
	d := p.Latency
	if p.Jitter > 0 {
		if p.Shape == Exponential {
			d += time.Duration(n.chance.ExpFloat64() * float64(p.Jitter))
		} else {
			d += time.Duration(n.chance.Int64N(int64(p.Jitter)))
		}
	}
	return d
}

// happens draws an event of the given chance. A chance of 0 draws nothing, so
// that turning a fault on does not change the draws of the others.
func (n *Network) happens(chance float64) bool {
	return chance > 0 && n.chance.Float64() < chance
}
