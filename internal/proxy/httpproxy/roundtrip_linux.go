package httpproxy

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// reportRoundTrip tells how long the shortest round trip of the connection took, which the
// kernel has measured from the handshake on. That to a proxy in front of us says nothing
// of the client.
func (c *client) reportRoundTrip() {
	if c.server.cfg.RoundTrip == nil || c.raw == nil || !c.peer.IsValid() || c.peerAs.trusted {
		return
	}
	local, ok := c.conn.LocalAddr().(*net.TCPAddr)
	if !ok {
		return
	}
	var took time.Duration
	c.raw.Control(func(d uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(d), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			took = time.Duration(info.Min_rtt) * time.Microsecond
		}
	})
	if took > 0 {
		c.server.cfg.RoundTrip(c.peer, local.AddrPort().Addr(), took)
	}
}
