package simnet

import (
	"errors"
	"net/netip"
)

// What can go wrong with an exchange over TCP.
var (
	ErrRefused = errors.New("connection refused")
	ErrLost    = errors.New("connection timed out")
	ErrClosed  = errors.New("connection closed by the peer without a reply")
)

// Exchange is one query and one reply over a connection of its own: what DNS
// over TCP looks like from outside. It costs two round trips; lost segments are
// sent again, so loss turns into delay.
type Exchange struct {
	net   *Network
	query Datagram // addresses and message
	done  func(reply []byte, err error)
}

// Ask begins an exchange over TCP. done is called once, unless Cancel comes
// first.
func (n *Network) Ask(from, to netip.AddrPort, query []byte, done func(reply []byte, err error)) *Exchange {
	x := &Exchange{net: n, query: Datagram{From: from, To: to, Payload: query}, done: done}
	back := Datagram{From: to, To: from}
	x.segment(Datagram{From: from, To: to}, func() { // SYN
		server, listening := n.streams[to]
		x.segment(back, func() { // SYN and ACK, or RST
			if !listening {
				n.note(Refused, true, x.query)
				x.finish(nil, ErrRefused)
				return
			}
			x.segment(x.query, func() { x.serve(server) })
		})
	})
	return x
}

// Cancel closes the connection; done will not be called.
func (x *Exchange) Cancel() { x.done = nil }

func (x *Exchange) serve(server Server) {
	reply, err := []byte(nil), ErrClosed
	if replies := server(x.net.now, x.query.Payload, x.query.From); len(replies) > 0 {
		reply, err = replies[0], nil
	}
	x.segment(Datagram{From: x.query.To, To: x.query.From, Payload: reply}, func() { x.finish(reply, err) })
}

func (x *Exchange) finish(reply []byte, err error) {
	if done := x.done; done != nil {
		x.done = nil
		done(reply, err)
	}
}

// segment carries d reliably and then calls next, or gives the exchange up.
func (x *Exchange) segment(d Datagram, next func()) { x.transmit(d, next, 1) }

func (x *Exchange) transmit(d Datagram, next func(), attempt int) {
	n := x.net
	if x.done == nil {
		return
	}
	if attempt > retransmitLimit {
		x.finish(nil, ErrLost)
		return
	}
	n.note(Sent, true, d)
	p, isCut := n.path(d.From.Addr(), d.To.Addr())
	if isCut || n.happens(p.Loss) {
		fate := Lost
		if isCut {
			fate = CutOff
		}
		n.note(fate, true, d)
		n.After(retransmitAfter<<(attempt-1), func() { x.transmit(d, next, attempt+1) })
		return
	}
	n.After(n.delay(p), func() {
		if x.done != nil {
			n.note(Delivered, true, d)
			next()
		}
	})
}
