package simnet

import (
	"net/netip"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/fairness"
	"pharos/internal/resolver/iterate"
)

// firstPort is the lowest port a Host sends from. Ports count up from here, one
// for each exchange: whether ports can be guessed is for the driver of real
// sockets to prove, not for this network.
const firstPort = 1024

// Host runs a resolver on the network: actions become packets and timers, packets
// and timers become events. It is to a Network what package outbound is to the
// operating system.
type Host struct {
	net   *Network
	addr4 netip.Addr
	addr6 netip.Addr
	core  *iterate.Resolver

	open  map[uint64]*socket // by exchange
	asked map[uint64]func(iterate.Answer)
	token uint64
	port  uint16
	stats Stats

	sockets int // exchanges open at a time; 0: any number
	line    *fairness.Queue[askedFor]
	inWork  map[uint64]*fairness.Party[askedFor] // by token
}

// askedFor is a question in line.
type askedFor struct {
	ask  iterate.Ask
	done func(iterate.Answer)
}

// Stats counts what a Host did.
type Stats struct {
	UDP, TCP int // exchanges begun
	Timeouts int // exchanges that expired
	NoRoute  int // exchanges with an address of a family that the Host has not
	NoSocket int // exchanges that found no socket (see Share)
	Strays   int // datagrams from elsewhere than the exchange's address and port, dropped
	MostOpen int // largest number of exchanges open at a time
}

// socket is one exchange: a connected UDP socket or a TCP connection, or a timer
// alone.
type socket struct {
	local  netip.AddrPort // not valid if there is no UDP socket
	stream *Exchange
	timer  Timer
}

// NewHost puts the resolver on the network under an address of each family; an
// invalid one leaves the family out.
func NewHost(n *Network, addr4, addr6 netip.Addr, core *iterate.Resolver) *Host {
	return &Host{
		net: n, addr4: addr4, addr6: addr6, core: core,
		open: map[uint64]*socket{}, asked: map[uint64]func(iterate.Answer){}, port: firstPort - 1,
	}
}

// Stats returns the counts so far.
func (h *Host) Stats() Stats { return h.stats }

// Open returns the number of exchanges and timers that are open.
func (h *Host) Open() int { return len(h.open) }

// Ask gives the resolver a question; done is called with the answer, in the run.
// The token of a is chosen by the Host.
func (h *Host) Ask(a iterate.Ask, done func(iterate.Answer)) {
	h.token++
	a.Token = h.token
	h.asked[a.Token] = done
	h.step(a)
}

// Share has questions take turns by the network of who asks, as a driver of real
// sockets has them, and bounds the exchanges open at a time.
func (h *Host) Share(c fairness.Config, sockets int) {
	h.line, h.sockets, h.inWork = fairness.New[askedFor](c), sockets, map[uint64]*fairness.Party[askedFor]{}
}

// AskFrom is Ask for a client, after Share. What is refused is answered SERVFAIL.
func (h *Host) AskFrom(client netip.Addr, a iterate.Ask, done func(iterate.Answer)) {
	if !h.line.Add(client, askedFor{a, done}) {
		done(iterate.Answer{Rcode: dnswire.RcodeServFail})
		return
	}
	h.takeTurns()
}

// takeTurns takes up whose turn it is, as long as there is room.
func (h *Host) takeTurns() {
	for {
		q, from, heavy, ok := h.line.Next()
		if !ok {
			return
		}
		q.ask.Heavy = heavy
		h.inWork[h.token+1] = from
		h.Ask(q.ask, q.done)
	}
}

// finished gives the place of a question in work to the next.
func (h *Host) finished(token uint64, a iterate.Answer) {
	from := h.inWork[token]
	if from == nil {
		return
	}
	delete(h.inWork, token)
	h.line.Done(from, a.Spent.Queries+a.Spent.Signatures)
	h.net.After(0, h.takeTurns)
}

// step gives the resolver an event and does what it wants.
func (h *Host) step(ev iterate.Event) {
	acts := h.core.Step(h.net.Now(), ev, nil)
	for _, act := range acts {
		switch a := act.(type) {
		case iterate.Send:
			h.send(a)
		case iterate.Wait:
			h.open[a.Exchange] = &socket{timer: h.expire(a.Exchange, a.Timeout)}
		case iterate.Close:
			h.close(a.Exchange)
		case iterate.Reply:
			if done := h.asked[a.Token]; done != nil {
				delete(h.asked, a.Token)
				h.finished(a.Token, a.Answer)
				done(a.Answer)
			}
		}
	}
	h.stats.MostOpen = max(h.stats.MostOpen, len(h.open))
}

func (h *Host) send(a iterate.Send) {
	from, ok := h.source(a.To.Addr())
	if !ok {
		h.stats.NoRoute++
		h.open[a.Exchange] = &socket{}
		h.net.After(0, func() { h.fail(a.Exchange, iterate.ErrNoRoute) })
		return
	}
	if h.sockets > 0 && len(h.open) >= h.sockets {
		h.stats.NoSocket++
		h.open[a.Exchange] = &socket{}
		h.net.After(0, func() { h.fail(a.Exchange, iterate.ErrLocal) })
		return
	}
	s := &socket{timer: h.expire(a.Exchange, a.Timeout)}
	h.open[a.Exchange] = s
	if a.TCP {
		h.stats.TCP++
		s.stream = h.net.Ask(from, a.To, a.Msg, func(reply []byte, err error) {
			if err != nil {
				h.fail(a.Exchange, err)
				return
			}
			h.step(iterate.Arrived{Exchange: a.Exchange, Msg: reply})
		})
		return
	}
	h.stats.UDP++
	s.local = from
	h.net.Bind(from, Socket{
		Deliver: func(_ time.Time, d Datagram) {
			if d.From != a.To {
				h.stats.Strays++ // RFC 5452 §9.1: a reply comes from where the query went
				return
			}
			h.step(iterate.Arrived{Exchange: a.Exchange, Msg: d.Payload})
		},
		Refused: func(time.Time, netip.AddrPort) { h.fail(a.Exchange, ErrRefused) },
	})
	h.net.Send(Datagram{From: from, To: a.To, Payload: a.Msg})
}

// source returns a fresh address and port of the family of to.
func (h *Host) source(to netip.Addr) (netip.AddrPort, bool) {
	addr := h.addr4
	if to.Is6() {
		addr = h.addr6
	}
	for {
		if h.port++; h.port < firstPort {
			h.port = firstPort
		}
		from := netip.AddrPortFrom(addr, h.port)
		if _, taken := h.net.sockets[from]; !taken {
			return from, addr.IsValid()
		}
	}
}

func (h *Host) expire(exchange uint64, after time.Duration) Timer {
	return h.net.After(after, func() {
		if h.close(exchange) {
			h.stats.Timeouts++
			h.step(iterate.Expired{Exchange: exchange})
		}
	})
}

func (h *Host) fail(exchange uint64, err error) {
	if h.close(exchange) {
		h.step(iterate.Failed{Exchange: exchange, Err: err})
	}
}

// close gives up what belongs to an exchange; false if it was closed before.
func (h *Host) close(exchange uint64) bool {
	s, ok := h.open[exchange]
	if !ok {
		return false
	}
	delete(h.open, exchange)
	s.timer.Stop()
	if s.stream != nil {
		s.stream.Cancel()
	}
	if s.local.IsValid() {
		h.net.Unbind(s.local)
	}
	return true
}
