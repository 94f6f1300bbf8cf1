package l4proxy

import (
	"net"
	"net/netip"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// oobRoom is for what the kernel says beside a datagram: to which address it was sent.
const oobRoom = 64

// askDestination has the kernel say to which address each datagram was sent, at a socket for
// all of them: the reply has to come from there.
func askDestination(c syscall.RawConn, at netip.Addr) error {
	if !at.IsUnspecified() {
		return nil
	}
	var failed error
	err := c.Control(func(fd uintptr) {
		if at.Is4() {
			failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
			return
		}
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1) // for IPv4 at [::], if there is any
	})
	if err != nil {
		return err
	}
	return failed
}

// origin returns what is to be said beside a reply to a datagram beside which the kernel
// has said oob; nil: nothing.
func origin(oob []byte) []byte {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= 12:
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: [4]byte(m.Data[4:8])}) // by whatever interface leads there
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= 20:
			info := &unix.Inet6Pktinfo{Addr: [16]byte(m.Data[:16])}
			if netip.AddrFrom16(info.Addr).IsLinkLocalUnicast() {
				info.Ifindex = uint32(m.Data[16]) | uint32(m.Data[17])<<8 | uint32(m.Data[18])<<16 | uint32(m.Data[19])<<24
			}
			return unix.PktInfo6(info)
		}
	}
	return nil
}

var datagrams = sync.Pool{New: func() any { return new(datagram) }}

// reader reads the datagrams of a socket one by one. While it waits it has no memory for one.
type reader struct {
	raw  syscall.RawConn
	room *datagram
	step func(uintptr) bool
	n    int
	err  error
}

func newReader(c *net.UDPConn) *reader {
	r := new(reader)
	r.raw, r.err = c.SyscallConn()
	r.step = r.read
	return r
}

// next waits for a datagram, which is good until the next call.
func (r *reader) next() ([]byte, error) {
	if r.raw == nil {
		return nil, r.err
	}
	if err := r.raw.Read(r.step); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return r.room[:r.n], nil
}

func (r *reader) read(fd uintptr) bool {
	if r.room == nil {
		r.room = datagrams.Get().(*datagram)
	}
	r.n, r.err = again(func() (int, error) { return unix.Read(int(fd), r.room[:]) })
	if r.err == unix.EAGAIN {
		r.release()
		return false
	}
	return true
}

// release gives back the memory of the last datagram.
func (r *reader) release() {
	if r.room != nil {
		datagrams.Put(r.room)
		r.room = nil
	}
}
