//go:build !linux

package l4proxy

import (
	"net"
	"net/netip"
	"syscall"
)

// listening returns how clients are listened for.
func listening() net.ListenConfig {
	return net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true}}
}

// pass carries octets between two TCP sockets: through memory, as this kernel has no splice.
func (f *flow) pass(_, _ *net.TCPConn) (atSrc bool, err error) { return f.copy() }

// askDestination: this kernel is not asked at which address datagrams have come.
func askDestination(syscall.RawConn, netip.Addr) error { return nil }

// origin is nothing here: the kernel chooses the address that replies are from.
func origin([]byte) []byte { return nil }

// oobRoom is for what a kernel says beside a datagram.
const oobRoom = 0

// reader reads the datagrams of a socket one by one.
type reader struct {
	conn *net.UDPConn
	room *datagram
}

func newReader(c *net.UDPConn) *reader { return &reader{c, new(datagram)} }

// next waits for a datagram, which is good until the next call.
func (r *reader) next() ([]byte, error) {
	n, err := r.conn.Read(r.room[:])
	return r.room[:n], err
}

func (r *reader) release() {}
