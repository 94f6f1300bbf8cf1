package httpproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"pharos/internal/proxy/tlsconn"
	"pharos/internal/traffic/health"
)

// Reach is how the members of a pool are spoken to. Connections are kept by it: what was
// agreed with one identity is never used for another.
type Reach struct {
	// Identity tells it from others. Two Reaches with the same one do the same.
	Identity string
	// TLS is how a member is known; nil: connections are in the clear.
	TLS *tls.Config
	// Header returns that of the PROXY protocol, which then goes before everything; nil: none.
	Header func(client, local netip.AddrPort) []byte
	// Open returns a connection for one exchange, over one of many, and reports whether that
	// was there; nil: exchanges have connections of their own.
	Open func(ctx context.Context, address netip.AddrPort, dial func(context.Context) (net.Conn, error)) (net.Conn, bool, error)
	// Changed reports whether the files that say who is known have changed since the last call:
	// what is kept ends then. nil: there are none.
	Changed func() bool
	// Close ends what Open keeps.
	Close func()
}

// place is an origin server as connections are kept by it.
type place struct {
	address netip.AddrPort
	by      *Reach // nil: HTTP/1.1 in the clear
}

// Reach has the members of pools spoken to in other ways, by name of pool. It is called
// before the table is published; prev is the one it follows, whose ways go on where they
// are the same.
func (t *Table) Reach(by map[string]*Reach, prev *Table) {
	known := map[string]*Reach{}
	if prev != nil {
		for _, r := range prev.reaches {
			if r != nil {
				known[r.Identity] = r
			}
		}
	}
	t.reaches = make([]*Reach, len(t.pools))
	for i, p := range t.pools {
		r := by[p.Name()]
		if r == nil {
			continue
		}
		if old := known[r.Identity]; old != nil {
			r = old
		}
		known[r.Identity] = r
		t.reaches[i] = r
	}
}

// reachOf returns how the members of a pool are spoken to; nil: as those of most.
func (t *Table) reachOf(pool int) *Reach {
	if t.reaches == nil {
		return nil
	}
	return t.reaches[pool]
}

// hasChanged asks Changed once in a round, whose answers are in asked.
func (r *Reach) hasChanged(asked map[*Reach]bool) bool {
	if r == nil || r.Changed == nil {
		return false
	}
	changed, known := asked[r]
	if !known {
		changed = r.Changed()
		asked[r] = changed
	}
	return changed
}

// tlsError is why there is no TLS with an origin server.
type tlsError struct{ error }

func (e tlsError) Unwrap() error { return e.error }

// open opens a connection to o for c.
func (c *client) open(ctx context.Context, o *origin) (*originConn, bool, error) {
	if o.by == nil {
		conn, err := c.server.dial(ctx, o.address)
		if err != nil {
			return nil, false, err
		}
		d := descriptorOf(conn)
		return &originConn{conn: conn, descriptor: d, socket: d}, false, nil
	}
	if o.by.Open != nil {
		conn, reused, err := o.by.Open(ctx, o.address, func(ctx context.Context) (net.Conn, error) { return c.server.dialSecurely(ctx, o, nil) })
		if err != nil {
			return nil, false, err
		}
		return &originConn{conn: conn, descriptor: -1, socket: -1, once: true}, reused, nil
	}
	var header []byte
	if o.by.Header != nil {
		header = o.by.Header(c.ends())
	}
	conn, err := c.server.dialSecurely(ctx, o, header)
	if err != nil {
		return nil, false, err
	}
	oc := &originConn{conn: conn, descriptor: descriptorOf(conn), once: header != nil}
	oc.socket = oc.descriptor
	if secured, ok := conn.(*tlsconn.Conn); ok {
		oc.secured, oc.socket = secured, descriptorOf(secured.Socket())
	}
	return oc, false, nil
}

// dialSecurely opens a connection to o, as o.by says.
func (s *Server) dialSecurely(ctx context.Context, o *origin, header []byte) (net.Conn, error) {
	conn, err := s.dial(ctx, o.address)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok && len(header) > 0 {
		conn.SetDeadline(deadline)
		if _, err := conn.Write(header); err != nil {
			conn.Close()
			return nil, err
		}
		conn.SetDeadline(time.Time{})
	}
	if o.by.TLS == nil {
		return conn, nil
	}
	secured := tlsconn.Client(conn, o.by.TLS)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, tlsError{err}
	}
	if want := o.by.TLS.NextProtos; len(want) > 0 && want[0] != "http/1.1" && secured.ConnectionState().NegotiatedProtocol != want[0] {
		conn.Close()
		return nil, tlsError{fmt.Errorf("the server does not speak %s (ALPN)", want[0])}
	}
	return secured, nil
}

// ends are those of the client's connection, as far as they are known.
func (c *client) ends() (client, local netip.AddrPort) {
	client = netip.AddrPortFrom(c.peer, c.peerPort)
	local, _ = netip.ParseAddrPort(c.local)
	return client, netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
}

// tlsFailed says what a failed handshake with an origin server means. Nothing was sent, so
// that any request may go to another member.
func tlsFailed(err error) refusal {
	r := refusal{status: 502, kind: "tls_certificate_error", retry: true, fault: health.Unreached}
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var alert tls.AlertError
	var op *net.OpError
	var network net.Error
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		r.text = "the certificate of the origin server has expired, or is not valid yet"
	case errors.As(err, &name):
		r.text = "the certificate of the origin server is made out to another name"
	case errors.As(err, &unknown), errors.As(err, &invalid):
		r.text = "the certificate of the origin server is signed by nobody who is believed"
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		r.status, r.kind, r.text = 504, "connection_timeout", "no TLS with the origin server in time"
	case errors.As(err, &alert), errors.As(err, &op) && op.Op == "remote error":
		r.kind, r.text = "tls_alert_received", "the origin server refused the TLS handshake"
	default:
		r.kind, r.text = "tls_protocol_error", "no TLS with the origin server"
	}
	return r
}
