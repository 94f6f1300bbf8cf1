package simnet

import "time"

// headerOctets of IP and UDP count against a path's MTU: 20 and 8 for IPv4, 40
// and 8 for IPv6.
const (
	headerOctets4 = 28
	headerOctets6 = 48
)

// Send puts a datagram on its way. Whether it arrives, when and how often is up
// to the path. The payload is kept; the caller must not change it.
func (n *Network) Send(d Datagram) {
	n.note(Sent, false, d)
	p, isCut := n.path(d.From.Addr(), d.To.Addr())
	switch {
	case isCut:
		n.note(CutOff, false, d)
		return
	case p.MTU > 0 && len(d.Payload)+headerOctets(d) > p.MTU:
		n.note(TooBig, false, d)
		return
	case n.happens(p.Loss):
		n.note(Lost, false, d)
		return
	}
	n.fly(d, p)
	if n.happens(p.Duplicate) {
		n.note(Doubled, false, d)
		n.fly(d, p)
	}
}

// fly schedules the arrival of one copy of a datagram.
func (n *Network) fly(d Datagram, p Path) {
	late := n.delay(p)
	if n.happens(p.Reorder) {
		n.note(HeldBack, false, d)
		late += p.ReorderBy
	}
	n.After(late, func() { n.arrive(d, p) })
}

func (n *Network) arrive(d Datagram, p Path) {
	s, ok := n.sockets[d.To]
	if !ok {
		n.note(Refused, false, d)
		// RFC 1122 §4.1.3.1: a host answers a datagram to a closed port with an ICMP
		// message. It takes the path back, and may be cut off there.
		if _, isCut := n.path(d.To.Addr(), d.From.Addr()); !isCut {
			n.After(p.Latency, func() { n.refuse(d) })
		}
		return
	}
	n.note(Delivered, false, d)
	if s.Deliver != nil {
		s.Deliver(n.now, d)
	}
}

// refuse tells the sender of d, if it is still there, that nobody listens.
func (n *Network) refuse(d Datagram) {
	if s, ok := n.sockets[d.From]; ok && s.Refused != nil {
		s.Refused(n.now, d.To)
	}
}

func headerOctets(d Datagram) int {
	if d.To.Addr().Unmap().Is4() {
		return headerOctets4
	}
	return headerOctets6
}

// retransmitAfter is when a TCP sender tries the first time again (RFC 6298
// §2.1); it doubles each time.
const retransmitAfter = time.Second

// retransmitLimit is how often a segment is sent before the connection is given
// up. Hosts try for minutes; six (half a minute) outlasts every exchange of DNS.
const retransmitLimit = 6
