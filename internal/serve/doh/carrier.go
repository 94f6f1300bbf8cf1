package doh

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"pharos/internal/serve/dnsserver"
)

// MaxFields is how many octets the fields of a request may have: queries in a URI
// are short, and long ones can come by POST. Beyond it 431.
const MaxFields = 16 << 10

// Limits of HTTP/2 beside those of dnsserver. All are chosen, not derived.
const (
	maxFrame   = 16 << 10 // octets of a frame: the least that may be offered
	connWindow = 64 << 10 // octets that a client may send before they are read
	tableSize  = 4096     // octets of the table of fields, per connection: the protocol's default
)

// Carrier speaks HTTP/2 on connections that an Entrance has let in. The streams
// that a client may have at a time, and what becomes of one that opens and resets
// them without end, are the business of net/http: it runs no more handlers at a
// time than streams, and ends a connection that has four times as many wait.
type Carrier struct {
	server http.Server
	conns  chan net.Conn
	stop   chan struct{} // closed by Stop

	mu      sync.Mutex
	carried map[net.Conn]*carried // guarded by mu
	stopped bool                  // guarded by mu
}

// carried is one connection.
type carried struct {
	visit *dnsserver.Visit
	ended chan struct{} // closed when net/http has done with it
}

// NewCarrier returns a Carrier that gives requests to h. It is a dnsserver.Part.
func NewCarrier(h http.Handler, limits dnsserver.Limits, log *slog.Logger) *Carrier {
	c := &Carrier{conns: make(chan net.Conn), stop: make(chan struct{}), carried: map[net.Conn]*carried{}}
	var only http.Protocols
	only.SetHTTP2(true) // RFC 8484 §5.2: the least that is recommended
	c.server = http.Server{
		Handler: h, Protocols: &only, MaxHeaderBytes: MaxFields,
		IdleTimeout: limits.Idle, ReadTimeout: limits.Read, WriteTimeout: limits.Read + limits.Write, // of streams: see streamLimits
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: limits.InFlight, MaxReadFrameSize: maxFrame, WriteByteTimeout: limits.Write,
			MaxReceiveBufferPerConnection: connWindow, MaxReceiveBufferPerStream: connWindow, MaxDecoderHeaderTableSize: tableSize,
		},
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context { return WithVisit(ctx, c.find(nc).visit) },
		ConnState:   c.changed,
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // what clients do wrong
	}
	return c
}

// Carry speaks HTTP/2 until the connection ends.
func (c *Carrier) Carry(conn *tls.Conn, v *dnsserver.Visit) {
	if v.TLS.NegotiatedProtocol != "h2" { // a client without ALPN: what it would say is anybody's guess
		v.Count(dnsserver.HandshakesFailed)
		conn.Close()
		return
	}
	entry := &carried{visit: v, ended: make(chan struct{})}
	c.mu.Lock()
	c.carried[conn] = entry
	c.mu.Unlock()
	select {
	case c.conns <- conn:
		<-entry.ended
	case <-c.stop:
		c.changed(conn, http.StateClosed)
		conn.Close()
	}
}

func (c *Carrier) find(nc net.Conn) *carried {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.carried[nc]
}

// changed hears of the end of connections.
func (c *Carrier) changed(nc net.Conn, state http.ConnState) {
	if state != http.StateClosed {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if entry := c.carried[nc]; entry != nil {
		close(entry.ended)
		delete(c.carried, nc)
	}
}

// Run implements dnsserver.Part. Connections are waited for by their Entrance.
func (c *Carrier) Run() { c.server.Serve((*handedOver)(c)) }

// Stop implements dnsserver.Part: clients are told (GOAWAY), and have their answers.
func (c *Carrier) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.stopped = true
	close(c.stop)
	go c.server.Shutdown(context.Background()) // ends with the last connection, which dnsserver sees to
}

// handedOver is a listener of the connections that Carry is given.
type handedOver Carrier

func (l *handedOver) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.stop:
		return nil, net.ErrClosed
	}
}

func (l *handedOver) Close() error { return nil }

func (l *handedOver) Addr() net.Addr { return &net.TCPAddr{} }
