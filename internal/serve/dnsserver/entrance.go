package dnsserver

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"sync/atomic"
)

// Entrance is a way in for queries that come on connections of one transport. It
// has limits, counters and connections of its own. That for TCP is opened by
// Listen; others are added with Server.Open.
type Entrance struct {
	// Constant after Open.
	server    *Server
	transport Transport
	limits    Limits
	tls       *tls.Config
	carry     func(conn *tls.Conn, v *Visit)
	shake     func(client netip.Addr, proven bool) bool
	addrs     []netip.AddrPort
	listeners []*tcpListener

	counts   sharedCounts
	conns    connTable
	rotation atomic.Uint32 // of the queries; UDP loops have their own
}

// EntranceConfig is what Server.Open needs.
type EntranceConfig struct {
	Transport Transport
	Limits    Limits
	// Addresses are listened on over TCP. An Entrance without any is for a driver
	// that listens by itself and calls Admit.
	Addresses []netip.AddrPort
	// TLS is agreed on with each connection; nil: none.
	TLS *tls.Config
	// Carry reads a connection until its end, for queries in something else than
	// messages with their lengths; nil: those.
	Carry func(conn *tls.Conn, v *Visit)
	// Handshake reports whether a TLS handshake may begin with a client, whose address
	// is proven or may be forged; nil: always.
	Handshake func(client netip.Addr, proven bool) bool
}

// Part is what a driver adds to a Server.
type Part interface {
	// Run brings queries to an Entrance until Stop, and returns when the last of its
	// connections has ended.
	Run()
	// Stop takes no new connections and lets those there are end in order. Run need
	// not have been called.
	Stop()
}

// Open adds an Entrance, one for each transport, before Serve.
func (s *Server) Open(cfg EntranceConfig) (*Entrance, error) {
	if cfg.Transport == UDP || s.entrances[cfg.Transport] != nil {
		panic("BUG: a second entrance for " + cfg.Transport.String())
	}
	if err := overlap(cfg.Transport, cfg.Addresses); err != nil {
		return nil, err
	}
	e := s.newEntrance(cfg.Transport, cfg.Limits)
	e.tls, e.carry, e.shake = cfg.TLS, cfg.Carry, cfg.Handshake
	for _, addr := range cfg.Addresses {
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		ln, err := bindTCP(addr)
		if err != nil {
			return nil, ListenError(cfg.Transport, addr, err)
		}
		e.add(ln)
	}
	return e, nil
}

func (s *Server) newEntrance(t Transport, limits Limits) *Entrance {
	e := &Entrance{server: s, transport: t, limits: limits.withDefaults()}
	e.conns.init(e.limits, &e.counts)
	s.entrances[t] = e
	return e
}

// AddPart has the Server run p, before Serve.
func (s *Server) AddPart(p Part) { s.parts = append(s.parts, p) }

// Addrs returns the addresses listened on over TCP, with their real ports.
func (e *Entrance) Addrs() []netip.AddrPort { return append([]netip.AddrPort(nil), e.addrs...) }

// Limits returns the limits in force.
func (e *Entrance) Limits() Limits { return e.limits }

// Count counts an event of a connection that a driver has seen to.
func (e *Entrance) Count(c Counter) { e.counts.add(c, 1) }

// MayShake reports whether a TLS handshake may begin with a client, and counts it if
// not. An address that is not proven may come again with a proof, which is no refusal.
func (e *Entrance) MayShake(client netip.Addr, proven bool) bool {
	if e.shake == nil || e.shake(client.Unmap(), proven) {
		return true
	}
	if proven {
		e.counts.add(HandshakesRefused, 1)
	}
	return false
}

// check returns what is wrong with the entrances, for tests.
func (s *Server) check() error {
	for _, e := range s.entrances {
		if e == nil {
			continue
		}
		if err := e.conns.check(); err != nil {
			return fmt.Errorf("%v: %w", e.transport, err)
		}
	}
	return nil
}
