package dnsserver

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"pharos/internal/dns/dnswire"
)

const (
	// batchSize is the number of messages per system call. Measured: 64 takes half
	// of what single calls take; more gains nothing.
	batchSize = 64

	// controlLen is the room for one IP_PKTINFO or IPV6_PKTINFO message.
	controlLen = 64
)

// mmsghdr is the kernel's struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// batch is the memory of one loop: what recvmmsg fills and sendmmsg takes.
//
//	in[i]  -> names[i], control[i], buf[i]      received
//	out[j] -> the same of the jth answer's query, so answers need no copying
//
// Its work per message allocates nothing and makes no system call.
type batch struct {
	// Constant after newBatch.
	sock *udpSocket

	responder responder
	in        [batchSize]mmsghdr
	out       [batchSize]mmsghdr
	iovIn     [batchSize]unix.Iovec
	iovOut    [batchSize]unix.Iovec
	rcodes    [batchSize]dnswire.Rcode // of out, to count when sent
	heads     [batchSize]head          // of out
	names     [batchSize]unix.RawSockaddrInet6
	control   [batchSize]struct {
		_    [0]uint64 // aligned as cmsghdr wants it
		data [controlLen]byte
	}
	buf      [batchSize][slotSize]byte
	expected [batchSize][]byte
	current  int // the message being processed
	ready    int // Invariant: out[:ready] are answers, ready <= number of messages processed
}

// head is what an answer has before its records, and how it ends.
type head struct {
	length           uint16 // octets
	edns, do, sealed bool
}

func newBatch(s *Server, sock *udpSocket) *batch {
	b := &batch{sock: sock}
	b.responder.init(s, UDP)
	b.responder.req.from = b
	for i := range batchSize {
		b.iovIn[i].Base = &b.buf[i][0]
		b.iovIn[i].SetLen(slotSize)
		in, out := &b.in[i].hdr, &b.out[i].hdr
		in.Name, in.Iov = (*byte)(unsafe.Pointer(&b.names[i])), &b.iovIn[i]
		in.SetIovlen(1)
		if sock.wildcard {
			in.Control = &b.control[i].data[0]
		}
		out.Iov = &b.iovOut[i]
		out.SetIovlen(1)
	}
	b.rearm(batchSize)
	return b
}

// rearm makes the first n messages ready to be received into.
func (b *batch) rearm(n int) {
	for i := range n {
		hdr := &b.in[i].hdr
		hdr.Namelen = unix.SizeofSockaddrInet6
		hdr.Flags = 0
		if b.sock.wildcard {
			hdr.SetControllen(controlLen)
		}
	}
}

// process answers the first n messages and returns how many answers there are to
// send.
func (b *batch) process(n int) int {
	b.ready = 0
	b.expect(n)
	for i := range n {
		b.current = i
		hdr := &b.in[i].hdr
		if hdr.Namelen == 0 {
			continue // not a datagram: how recvmmsg says that the socket was shut down
		}
		if b.processOne(i) {
			b.ready++
		}
	}
	return b.ready
}

// expect shows the first n messages to Config.Expect.
func (b *batch) expect(n int) {
	expect := b.responder.req.server.expect
	if expect == nil {
		return
	}
	for i := range n {
		size := min(int(b.in[i].len), slotSize)
		b.expected[i] = b.buf[i][min(dnswire.HeaderLen, size):size]
	}
	expect(b.expected[:n])
}

// processOne answers message i into out[b.ready] and reports whether there is an
// answer.
func (b *batch) processOne(i int) bool {
	a, buf := &b.responder, b.buf[i][:]
	a.req.Client, a.req.Local = b.client(i), b.local(i)
	msg := buf[:min(int(b.in[i].len), slotSize)]
	// Nobody can receive at port 0, and an answer to it would only help whoever
	// forged it.
	if a.req.Client.Port() == 0 {
		a.counts.events[Queries]++
		a.counts.events[Ignored]++
		return false
	}
	if proxies := a.req.server.proxies; proxies != nil && proxies(a.req.Client.Addr()) {
		if msg = a.fromProxy(msg, buf); msg == nil {
			return false
		}
	}
	answer, _ := a.respond(msg, buf)
	if answer == nil {
		return false
	}
	q := &a.req.Query
	b.rcodes[b.ready], b.heads[b.ready] = a.req.Out.Rcode(), head{uint16(q.QuestionEnd), q.EDNS.Present, q.EDNS.DO, a.req.seal != nil}
	iov := &b.iovOut[b.ready]
	iov.Base = unsafe.SliceData(answer)
	iov.SetLen(len(answer))
	in, out := &b.in[i].hdr, &b.out[b.ready].hdr
	out.Name, out.Namelen = in.Name, in.Namelen
	out.Control, out.Controllen = in.Control, in.Controllen
	return true
}

// sent counts answers [from, to), which the kernel has taken.
func (b *batch) sent(from, to int) {
	for j := from; j < to; j++ {
		b.responder.counts.answered(b.rcodes[j], isTruncated(unsafe.Slice(b.iovOut[j].Base, dnswire.HeaderLen)))
	}
}

// shorten makes answer j, which is too long to be sent, one without records and with
// TC. It reports false when nothing can be left out, or the answer is signed.
func (b *batch) shorten(j int) bool {
	iov, head := &b.iovOut[j], b.heads[j]
	if head.sealed || iov.Len <= uint64(head.length)+plainOPT {
		return false
	}
	buf := unsafe.Slice(iov.Base, iov.Len)
	q, out := &b.responder.req.Query, &b.responder.req.Out // of a query that was answered
	msg := buf[:head.length]
	msg[2] &^= 0x82 // QR, which a query has not, and TC
	clear(msg[6:dnswire.HeaderLen])
	if q.Parse(msg) != dnswire.Accept {
		return false
	}
	q.EDNS.Present, q.EDNS.DO = head.edns, head.do
	out.Reset(q, buf, len(buf))
	out.SetRcode(b.rcodes[j])
	out.Truncate()
	iov.SetLen(len(out.Finish()))
	return true
}

// plainOPT is the length of an OPT record without options.
const plainOPT = 11

// refused counts answers [from, to), which the kernel has not taken.
func (b *batch) refused(from, to int) {
	b.responder.counts.events[SendErrors] += uint64(to - from)
}

// client returns the sender of message i.
func (b *batch) client(i int) netip.AddrPort {
	name := &b.names[i]
	if name.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), hostPort(&v4.Port))
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), hostPort(&name.Port))
}

// hostPort reads a port, which stands in network byte order.
func hostPort(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}

// local returns the address message i came to. On a wildcard socket it also turns
// the control message into what makes the answer leave from there.
func (b *batch) local(i int) netip.AddrPort {
	if !b.sock.wildcard {
		return b.sock.local
	}
	hdr := &b.in[i].hdr
	cmsg := (*unix.Cmsghdr)(unsafe.Pointer(&b.control[i].data[0]))
	payload := unsafe.Pointer(&b.control[i].data[unix.CmsgLen(0)])
	addr := b.sock.local.Addr()
	switch {
	case hdr.Controllen < unix.SizeofCmsghdr:
		hdr.SetControllen(0) // the kernel had nothing to say: let it choose
	case cmsg.Level == unix.IPPROTO_IP && cmsg.Type == unix.IP_PKTINFO:
		info := (*unix.Inet4Pktinfo)(payload)
		info.Ifindex = 0 // by the route, not by the interface it came in on
		addr = netip.AddrFrom4(info.Spec_dst)
	case cmsg.Level == unix.IPPROTO_IPV6 && cmsg.Type == unix.IPV6_PKTINFO:
		info := (*unix.Inet6Pktinfo)(payload)
		addr = netip.AddrFrom16(info.Addr)
		if !addr.IsLinkLocalUnicast() { // those mean nothing without the interface
			info.Ifindex = 0
		}
	default:
		hdr.SetControllen(0)
	}
	return netip.AddrPortFrom(addr, b.sock.local.Port())
}

// returnPath implements origin for the message being processed.
func (b *batch) returnPath() returnPath {
	hdr := &b.in[b.current].hdr
	p := &udpReturn{sock: b.sock, name: b.names[b.current], nameLen: hdr.Namelen}
	if b.sock.wildcard {
		p.control, p.ctlLen = b.control[b.current].data, int(hdr.Controllen)
	}
	return p
}
