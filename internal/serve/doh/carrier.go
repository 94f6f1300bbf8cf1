package doh

import (
	"crypto/tls"
	"log/slog"
	"sync"
	"time"

	"pharos/internal/proxy/http1"
	"pharos/internal/serve/dnsserver"
)

// MaxFields is how many octets the head of a request may have: queries in a URI
// are short, and long ones can come by POST. Beyond it 431.
const MaxFields = 16 << 10

// Limits of HTTP/2 beside those of dnsserver and of package http2. They are chosen, not derived.
const (
	streamWindow = 64 << 10  // octets of content of one request that may wait: a message, and the octet that is too many
	connWindow   = 256 << 10 // of all requests of a connection: four large messages
)

// headLimits are those of a head that HTTP/2 has let through.
var headLimits = http1.Limits{StartLine: MaxFields, Fields: MaxFields, Secure: true}

// Carrier speaks HTTP/2 on connections that an Entrance has let in, by the same machine as
// the gateway does: package http2, which has the budgets of what a client may open, reset
// and send for nothing.
type Carrier struct {
	// Constant after NewCarrier.
	handler *Handler
	log     *slog.Logger
	began   time.Time
	stop    chan struct{} // closed by Stop

	mu       sync.Mutex // comes before session.mu
	sessions map[*session]struct{}
	stopped  bool
}

// NewCarrier returns a Carrier that answers as h says. It is a dnsserver.Part.
func NewCarrier(h *Handler, log *slog.Logger) *Carrier {
	return &Carrier{handler: h, log: log, began: time.Now(), stop: make(chan struct{}), sessions: map[*session]struct{}{}}
}

// clock is how long there has been a Carrier: what sessions measure their times by.
func (c *Carrier) clock() time.Duration { return time.Since(c.began) }

// Carry speaks HTTP/2 until the connection ends.
func (c *Carrier) Carry(conn *tls.Conn, v *dnsserver.Visit) {
	if v.TLS.NegotiatedProtocol != "h2" {
		v.Count(dnsserver.HandshakesFailed)
		turnAway(conn, v.Limits().Read)
		return
	}
	s := newSession(c, conn, v)
	c.mu.Lock()
	if c.stopped {
		c.mu.Unlock()
		conn.Close()
		return
	}
	c.sessions[s] = struct{}{}
	c.mu.Unlock()
	s.run()
	s.running.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sessions, s)
}

// Run implements dnsserver.Part. Connections are waited for by their Entrance.
func (c *Carrier) Run() { <-c.stop }

// Stop implements dnsserver.Part: clients are told (GOAWAY), and have their answers.
func (c *Carrier) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return
	}
	c.stopped = true
	close(c.stop)
	for s := range c.sessions {
		s.leave()
	}
}
