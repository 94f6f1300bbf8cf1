package origins

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"pharos/internal/proxy/tlsconn"
)

// Reach is how the members of a pool are spoken to. Connections are kept by it: what was
// agreed with one identity is never used for another.
type Reach struct {
	// Identity tells it from others. Two Reaches with the same one do the same.
	Identity string
	// TLS is how a member is known; nil: connections are in the clear.
	TLS *tls.Config
	// Either is TLS for HTTP/1.1 alone, where members choose by ALPN whether that or HTTP/2 is
	// spoken: what cannot be carried by HTTP/2 goes by it. nil: TLS and Open say it.
	Either *tls.Config
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

// TLSError is why there is no TLS with an origin server.
type TLSError struct{ error }

func (e TLSError) Unwrap() error { return e.error }

// Need is what a connection is for.
type Need struct {
	Ends   func() (client, local netip.AddrPort) // those of the client's connection
	Switch bool                                  // the request asks to switch protocols, for which HTTP/2 has no way here
}

// open is Open without counting.
func (o *Origin) open(ctx context.Context, n Need) (*Conn, bool, error) {
	if o.by == nil {
		conn, err := o.set.dial(ctx, o.address)
		if err != nil {
			return nil, false, err
		}
		d := Descriptor(conn)
		return &Conn{Conn: conn, Descriptor: d, socket: d}, false, nil
	}
	switch {
	case o.by.Either != nil && n.Switch:
		return o.openOwn(ctx, o.by.Either, nil)
	case o.by.Either != nil:
		return o.openEither(ctx)
	case o.by.Open != nil:
		conn, reused, err := o.by.Open(ctx, o.address, func(ctx context.Context) (net.Conn, error) { return o.dialSecurely(ctx, o.by.TLS, nil) })
		return shared(conn), reused, err
	}
	var header []byte
	if o.by.Header != nil {
		header = o.by.Header(n.Ends())
	}
	return o.openOwn(ctx, o.by.TLS, header)
}

// openEither opens a connection of the version that the server has chosen when it was connected
// to last, and of the other one if it chooses anew.
func (o *Origin) openEither(ctx context.Context) (*Conn, bool, error) {
	var alone net.Conn // on which HTTP/1.1 is spoken
	dial := func(ctx context.Context) (net.Conn, error) {
		conn, err := o.dialSecurely(ctx, o.by.TLS, nil)
		if err != nil {
			return nil, err
		}
		old := conn.(*tlsconn.Conn).ConnectionState().NegotiatedProtocol != "h2"
		if o.old.Store(old); old {
			alone = conn
			return nil, errOld
		}
		return conn, nil
	}
	if o.old.Load() {
		conn, err := dial(ctx)
		switch {
		case alone != nil:
			return own(alone), false, nil
		case err != nil:
			return nil, false, err
		}
		conn.Close() // it has learned HTTP/2, whose connections are shared
	}
	conn, reused, err := o.by.Open(ctx, o.address, dial)
	switch {
	case alone != nil:
		return own(alone), false, nil
	case errors.Is(err, errOld): // who opened one meanwhile has found out
		return o.openOwn(ctx, o.by.Either, nil)
	}
	return shared(conn), reused, err
}

// errOld has nobody wait for a connection of HTTP/2.
var errOld = errors.New("the server has chosen HTTP/1.1")

// openOwn opens a connection on which one exchange comes after the other; with a header of the
// PROXY protocol, only one.
func (o *Origin) openOwn(ctx context.Context, by *tls.Config, header []byte) (*Conn, bool, error) {
	conn, err := o.dialSecurely(ctx, by, header)
	if err != nil {
		return nil, false, err
	}
	oc := own(conn)
	oc.once = header != nil
	return oc, false, nil
}

func own(conn net.Conn) *Conn {
	oc := &Conn{Conn: conn, Descriptor: Descriptor(conn)}
	oc.socket = oc.Descriptor
	if secured, ok := conn.(*tlsconn.Conn); ok {
		oc.Secured, oc.socket = secured, Descriptor(secured.Socket())
	}
	return oc
}

// shared is a stream of a connection that others use, too.
func shared(conn net.Conn) *Conn {
	return &Conn{Conn: conn, Descriptor: -1, socket: -1, once: true}
}

// dialSecurely opens a connection as o.by says, but for what is agreed on by TLS.
func (o *Origin) dialSecurely(ctx context.Context, by *tls.Config, header []byte) (net.Conn, error) {
	conn, err := o.set.dial(ctx, o.address)
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
	if by == nil {
		return conn, nil
	}
	secured := tlsconn.Client(conn, by)
	if err := secured.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, TLSError{err}
	}
	if want := by.NextProtos; len(want) == 1 && want[0] != "http/1.1" && secured.ConnectionState().NegotiatedProtocol != want[0] {
		conn.Close()
		return nil, TLSError{fmt.Errorf("the server does not speak %s (ALPN)", want[0])}
	}
	return secured, nil
}
