package httpproxy

import (
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"pharos/internal/proxy/tlsconn"
)

// Door is what stands before HTTP at a listener: the header of a proxy, and TLS.
type Door struct {
	// Admit lets a connection from an address in, or says why not. It ends waits that are
	// interrupted when overdue reports true, and those on the connection from then on.
	Admit func(conn net.Conn, from netip.Addr, overdue func() bool) (Arrival, error)
	// IsOpen reports whether Admit would do nothing for an address.
	IsOpen func(from netip.Addr) bool
	// IsTLS says that nothing is said in the clear.
	IsTLS bool
	// AltSvc is the value of the field of that name in responses (RFC 7838), whatever an
	// origin server has said; empty: that stays.
	AltSvc string
}

// Arrival is a connection that was let in.
type Arrival struct {
	Conn    net.Conn       // what is read and written from then on
	Client  netip.AddrPort // whom a proxy has named; the zero value: nobody
	Proxied bool           // a proxy brought it, so that its own address says nothing
	TLS     *Identity      // nil: in the clear
}

// Identity is what was agreed on by TLS.
type Identity struct {
	Protocol string // of ALPN; empty: none
	// ServerName is the name that the client asked for (SNI), in lower case; empty: none.
	ServerName string
	// Version is such as TLSv1.3, and Cipher the suite as IANA calls it.
	Version, Cipher string
	// Subject is whom the client has proven to be, and Certificate by which certificate, as
	// a field has it (RFC 9440); empty: nobody was asked, or nothing was shown.
	Subject, Certificate string
	// Names are the alternative names of that certificate, with commas between, and Print is
	// its SHA-256 in hexadecimal.
	Names, Print string
	// Misdirected says why a request for host is not answered on this connection; ""
	// if it is.
	Misdirected func(host []byte) string
}

// letIn is the way of a connection to its first request, and reports whether it gets there.
func (c *client) letIn(d *Door) bool {
	a, err := d.Admit(c.conn, c.peer, c.isInterrupted)
	if err != nil {
		c.server.log.Debug("a connection was not let in", "client", c.peer.String(), "error", err)
		return false
	}
	if a.Proxied {
		if a.Client.IsValid() {
			c.peer, c.peerPort = a.Client.Addr().Unmap().WithZone(""), a.Client.Port()
		}
		c.peerAs = c.spellPeer()
		c.peerAs.trusted = c.peerAs.trusted && a.Client.IsValid()
	}
	if a.TLS != nil {
		c.secure(a)
	}
	return true
}

// isInterrupted reports whether a wait is to end at a deadline: it is due, or Shutdown has
// closed the connection.
func (c *client) isInterrupted() bool { return c.isOverdue() || c.state.Load() == closed }

// secure has everything go through TLS from now on. The socket beneath is waited for, and
// never read or written.
func (c *client) secure(a Arrival) {
	c.server.mu.Lock() // for the watcher
	defer c.server.mu.Unlock()
	c.tls, c.descriptor = a.TLS, -1
	c.secured, _ = a.Conn.(*tlsconn.Conn)
	c.raw, c.wait = nil, nil
	if sc, ok := c.conn.(syscall.Conn); ok && c.secured != nil {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.wait = raw, c.hasRecord
		}
	}
	c.conn = a.Conn
}

// hasRecord reports whether some of a record is there; false asks to be called again when
// there is.
func (c *client) hasRecord(descriptor uintptr) bool {
	if c.secured.Pending() {
		return true
	}
	var octet [1]byte
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, descriptor, uintptr(unsafe.Pointer(&octet)), 1,
		syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return errno != syscall.EAGAIN
}

// readFirstSecured waits for the first octet of the next request. No buffer is held before
// it is there: what comes may be half a record, a new key, or the end.
func (c *client) readFirstSecured() error {
	for {
		c.release()
		c.secured.Rest()
		c.waitErr = nil
		err := c.raw.Read(c.wait)
		if err == nil {
			break
		}
		if c.state.Load() == closed || !c.isSpurious(err) {
			return err
		}
		if c.server.lot.Load() != nil && c.mayRest() && !c.secured.Pending() {
			c.waitErr = errLongIdle
			return errLongIdle
		}
	}
	var first [1]byte
	if _, err := c.conn.Read(first[:]); err != nil {
		return err
	}
	x := c.hold()
	x.rewind()
	x.in[0], x.filled = first[0], 1
	return nil
}

// misdirected is the refusal of a request that does not belong on its connection.
func (c *client) misdirected(x *exchange) refusal {
	if text := c.tls.Misdirected(x.req.Host()); text != "" {
		return refusal{status: 421, kind: "http_request_denied", text: text}
	}
	return refusal{}
}

// scheme is that of the target URIs of requests.
func (c *client) scheme() string {
	if c.tls != nil {
		return "https"
	}
	return "http"
}

// wakeToEnd has the goroutine of an idle connection over TLS end it: that takes a record,
// and whoever asks holds locks.
func (c *client) wakeToEnd() { c.conn.SetDeadline(time.Unix(1, 0)) }
