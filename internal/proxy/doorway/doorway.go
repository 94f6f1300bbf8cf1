// Package doorway lets connections in to the HTTP gateway: it reads the header of a proxy
// in front of it, and agrees on TLS, before anything of HTTP is read.
//
//	network -> header of a proxy (from trusted networks only, and then it must be there)
//	        -> handshake (a number a second, a time each) -> Arrival
//
// It owns who a connection is from and what was agreed on. Which certificates there are is
// package tlscert's; what a request may say on the connection is judged by Arrival.TLS.
//
// Entry points: New, Door.Admit; Door.Terms and Door.Agreed; Identity.Misdirected.
//
// Concurrency: a Door is constant and used by any goroutine; an Arrival belongs to its
// connection.
//
// Sources: "The PROXY protocol, versions 1 & 2"; RFC 8446; RFC 6066 §3 (server name);
// RFC 7301 (ALPN); RFC 9110 §15.5.20 (421).
package doorway

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"pharos/internal/proxy/tlsconn"
	"pharos/internal/serve/proxyheader"
)

// Times that are not configurable.
const (
	// headerTime is how long a proxy may take to send its header: it stands in the first
	// packet. Then the connection is closed.
	headerTime = time.Second
	// shakeTime is how long a handshake may take: a few round trips, on the worst of
	// networks. Then the connection is closed.
	shakeTime = 5 * time.Second
)

// Config is who is let in, and how.
type Config struct {
	// Proxies reports whether an address speaks for others: its connections begin with a
	// header that says for whom, or are closed. nil: nobody does, and what looks like a
	// header is a bad request.
	Proxies func(netip.Addr) bool
	// TLS is what is agreed on; nil: connections are in the clear.
	TLS *TLS
	// Handshake reports whether a TLS handshake may begin with a client; nil: always.
	Handshake func(netip.Addr) bool
}

// Door is the way in at one listener.
type Door struct {
	config Config
	tls    *terms // nil: in the clear
	counts Counts
}

// Counts are how connections fared at a Door.
type Counts struct {
	HeadersRefused    atomic.Uint64 // of proxies: missing, malformed or late
	Retries           atomic.Uint64 // clients of QUIC that were asked to prove their address
	Crowded           atomic.Uint64 // connections of QUIC refused, since their client had too many
	HandshakesRefused atomic.Uint64 // there were too many
	HandshakesFailed  atomic.Uint64 // late, cut off, or without anything in common
	Handshakes        atomic.Uint64 // that succeeded
	Resumed           atomic.Uint64 // of those, by a ticket
}

// Arrival is a connection that was let in.
type Arrival struct {
	Conn   net.Conn       // what is read and written from then on
	Client netip.AddrPort // whom a proxy has named; the zero value: nobody
	// Proxied says that a proxy brought the connection: what it says itself, for
	// itself or for somebody it does not name, is never said by a trusted client.
	Proxied bool
	TLS     *Identity // nil: in the clear
}

// New returns the Door of a listener.
func New(c Config) *Door {
	d := &Door{config: c}
	if c.TLS != nil {
		d.tls = newTerms(c.TLS)
	}
	return d
}

// Counts returns the counters, which go on.
func (d *Door) Counts() *Counts { return &d.counts }

// IsOpen reports whether Admit would do nothing with a connection of an address.
func (d *Door) IsOpen(from netip.Addr) bool { return d.tls == nil && !d.isProxy(from) }

// IsTLS reports whether nothing is said in the clear.
func (d *Door) IsTLS() bool { return d.tls != nil }

func (d *Door) isProxy(from netip.Addr) bool {
	return d.config.Proxies != nil && d.config.Proxies(from)
}

// ErrHandshakes is the error when there are too many handshakes.
var ErrHandshakes = errors.New("doorway: too many TLS handshakes")

// Admit lets a connection in, which is from that address. After an error nothing can be
// said on it any more; the caller closes it. overdue is asked when a wait is
// interrupted, from then on.
func (d *Door) Admit(conn net.Conn, from netip.Addr, overdue func() bool) (Arrival, error) {
	a := Arrival{Conn: conn}
	client := from
	if d.isProxy(from) {
		a.Proxied = true
		conn.SetDeadline(time.Now().Add(headerTime))
		h, err := proxyheader.ReadAny(conn)
		if err != nil {
			d.counts.HeadersRefused.Add(1)
			return a, err
		}
		if h.Client.IsValid() {
			a.Client, client = h.Client, h.Client.Addr()
		}
	}
	if d.tls == nil {
		conn.SetDeadline(time.Time{})
		return a, nil
	}
	if d.config.Handshake != nil && !d.config.Handshake(client) {
		d.counts.HandshakesRefused.Add(1)
		return a, ErrHandshakes
	}
	secured := tlsconn.Server(conn, d.tls.base)
	conn.SetDeadline(time.Now().Add(shakeTime))
	if err := secured.Handshake(); err != nil {
		d.counts.HandshakesFailed.Add(1)
		return a, fmt.Errorf("TLS: %w", err)
	}
	conn.SetDeadline(time.Time{})
	secured.Interruptible(overdue)
	state := secured.ConnectionState()
	a.Conn, a.TLS = secured, d.Agreed(&state)
	return a, nil
}

// Terms returns what is agreed on by TLS, for a transport that has it built in (QUIC). It
// calls Agreed after each handshake.
func (d *Door) Terms() *tls.Config { return d.tls.base }

// Agreed returns what a connection was agreed to be.
func (d *Door) Agreed(state *tls.ConnectionState) *Identity {
	d.counts.Handshakes.Add(1)
	if state.DidResume {
		d.counts.Resumed.Add(1)
	}
	return d.tls.identify(state)
}

// verified returns the certificate that a client has proven to own; nil: none.
func verified(shown []*x509.Certificate, chains [][]*x509.Certificate) *x509.Certificate {
	if len(shown) == 0 || len(chains) == 0 {
		return nil
	}
	return shown[0]
}
