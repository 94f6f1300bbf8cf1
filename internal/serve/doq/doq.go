// Package doq listens for QUIC: DNS over QUIC itself, with a stream for each query,
// and what another package speaks over it (HTTP/3, package doh).
//
//	UDP socket -> quic-go -> limits of an Entrance -> handshake -> connection
//	connection -> stream: length, query, FIN -> dnsserver.Visit.Ask -> length,
//	              answer, perhaps more of them (zone transfer), FIN
//
// It owns sockets, QUIC's limits and RFC 9250; the number of connections is the
// Entrance's. Data before the end of the handshake (0-RTT) is not accepted: it
// could be replayed, and a handshake that is resumed costs one round trip anyway.
// A client whose address is in doubt is asked to prove it (Retry) when many
// handshakes are under way.
//
// Entry points: Listen, Listener.Run, Listener.Stop, VisitOf.
//
// Concurrency: a goroutine for each connection and each stream. They end with the
// connection, which Stop, the client, or a limit ends.
//
// Sources: RFC 9250, RFC 9000, RFC 9114 §8.1 (error codes of HTTP/3).
package doq

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/serve/dnsserver"
)

// Limits of QUIC beside those of dnsserver. All are chosen, not derived.
const (
	// retryAbove is from how many handshakes under way on clients must prove their
	// address before we do any work for them: forged ones cost us no more then.
	retryAbove = 64

	// maxHandshakes is how many may be under way; others are refused.
	maxHandshakes = 1024

	// httpUniStreams is how many unidirectional streams HTTP/3 may have: it needs
	// three, and clients may try others (RFC 9114 §6.2).
	httpUniStreams = 8

	// lingerTime is for how long a connection is kept after its last answer, when we
	// end it: a round trip to the other side of the earth.
	lingerTime = 300 * time.Millisecond

	// Windows in octets: what a client may send before it is read. A stream's grows
	// to hold the largest message.
	streamWindow, maxStreamWindow = 16 << 10, 72 << 10
	connWindow, maxConnWindow     = 64 << 10, 256 << 10
)

// Error codes of RFC 9250 §4.3.
const (
	codeNoError          = 0x0
	codeProtocol         = 0x2
	codeRequestCancelled = 0x3
	codeExcessiveLoad    = 0x4
	codeUnspecified      = 0x5

	codeHTTPNoError = 0x100 // RFC 9114 §8.1
)

// Config is what Listen needs.
type Config struct {
	Entrance  *dnsserver.Entrance
	Transport dnsserver.Transport // DoQ, or DoH3
	Addresses []netip.AddrPort    // UDP; port 0 picks a free one
	TLS       *tls.Config
	// Carry speaks something else on a connection until it ends; nil: DNS over QUIC.
	Carry func(conn *quic.Conn)
	// Drain asks what Carry speaks to end in order; nil: nothing.
	Drain func()
	Log   *slog.Logger
}

// Listener listens for QUIC. It is a dnsserver.Part.
type Listener struct {
	// Constant after Listen.
	config    Config
	quic      *quic.Config
	endpoints []*endpoint
	ctx       context.Context // ends when Stop is called
	cancel    context.CancelFunc

	handshakes atomic.Int64 // under way
	conns      sync.WaitGroup

	mu      sync.Mutex // guards what follows
	started bool
	stopped bool
}

// endpoint is one socket.
type endpoint struct {
	udp       *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener
	local     netip.AddrPort
}

// Listen binds every address. It accepts nothing before Run.
func Listen(cfg Config) (*Listener, error) {
	// quic-go writes to the standard logger when the kernel has not given it a
	// buffer of 7 MB; a resolver does not need that, and our log is another.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	l := &Listener{config: cfg, quic: quicConfig(cfg)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	for _, addr := range cfg.Addresses {
		e, err := l.bind(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
		if err != nil {
			l.close()
			return nil, dnsserver.ListenError(cfg.Transport, addr, err)
		}
		l.endpoints = append(l.endpoints, e)
	}
	return l, nil
}

func quicConfig(cfg Config) *quic.Config {
	limits := cfg.Entrance.Limits()
	c := &quic.Config{
		HandshakeIdleTimeout: limits.Handshake, MaxIdleTimeout: limits.Idle,
		MaxIncomingStreams: int64(limits.InFlight), MaxIncomingUniStreams: -1, // RFC 9250 §4.2: none
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: maxStreamWindow,
		InitialConnectionReceiveWindow: connWindow, MaxConnectionReceiveWindow: maxConnWindow,
		RequireStreamCreditRelease: true, // a stream counts until its query is done with, be it reset
	}
	if cfg.Carry != nil {
		c.MaxIncomingUniStreams, c.RequireStreamCreditRelease = httpUniStreams, false
	}
	return c
}

// bind opens one socket.
func (l *Listener) bind(addr netip.AddrPort) (*endpoint, error) {
	network := "udp6"
	if addr.Addr().Is4() {
		network = "udp4"
	}
	udp, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	e := &endpoint{udp: udp, local: udp.LocalAddr().(*net.UDPAddr).AddrPort()}
	e.local = netip.AddrPortFrom(e.local.Addr().Unmap(), e.local.Port())
	e.transport = &quic.Transport{
		Conn: udp, ConnContext: l.arrived,
		VerifySourceAddress: l.mustProve,
	}
	if e.listener, err = e.transport.Listen(l.config.TLS, l.quic); err != nil {
		e.transport.Close()
		udp.Close()
		return nil, err
	}
	return e, nil
}

// Addrs returns the addresses listened on, with their real ports.
func (l *Listener) Addrs() []netip.AddrPort {
	var all []netip.AddrPort
	for _, e := range l.endpoints {
		all = append(all, e.local)
	}
	return all
}

// visitor is a connection from its first packet on.
type visitor struct {
	visit *dnsserver.Visit
	code  quic.ApplicationErrorCode // of an end in order
	conn  atomic.Pointer[quic.Conn] // nil during the handshake
	dead  atomic.Bool
}

// mustProve reports whether a client has to prove its address before any work is
// done for it: many handshakes are under way, or many have begun for its network.
func (l *Listener) mustProve(from net.Addr) bool {
	addr, ok := from.(*net.UDPAddr)
	return !ok || l.handshakes.Load() >= retryAbove || !l.config.Entrance.MayShake(addr.AddrPort().Addr(), false)
}

// close ends the connection at once, or as soon as its handshake is done.
func (v *visitor) close() {
	v.dead.Store(true)
	if conn := v.conn.Load(); conn != nil {
		go conn.CloseWithError(v.code, "") // ends when its last packet is sent
	}
}

// visitorKey is where quic-go carries the visitor of a connection.
type visitorKey struct{}

func visitorOf(ctx context.Context) *visitor {
	v, _ := ctx.Value(visitorKey{}).(*visitor)
	return v
}

// VisitOf returns the Visit of a connection of a Listener.
func VisitOf(conn *quic.Conn) *dnsserver.Visit { return visitorOf(conn.Context()).visit }

var errRefused = errors.New("too many connections")

// arrived admits a connection at its first packet. ctx ends with it, however it
// ends.
func (l *Listener) arrived(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	addr, ok := info.RemoteAddr.(*net.UDPAddr)
	if !ok || l.handshakes.Load() >= maxHandshakes || l.ctx.Err() != nil {
		l.config.Entrance.Count(dnsserver.ConnectionsRefused)
		return nil, errRefused
	}
	if info.AddrVerified && !l.config.Entrance.MayShake(addr.AddrPort().Addr(), true) { // else mustProve has asked
		return nil, errRefused
	}
	v := &visitor{code: l.noError()}
	visit, ok := l.config.Entrance.Admit(addr.AddrPort(), v.close)
	if !ok {
		return nil, errRefused
	}
	v.visit = visit
	l.handshakes.Add(1)
	context.AfterFunc(ctx, func() {
		if v.conn.Load() == nil {
			l.handshakes.Add(-1)
			l.config.Entrance.Count(dnsserver.HandshakesFailed)
		}
		visit.Leave()
	})
	return context.WithValue(ctx, visitorKey{}, v), nil
}

// Run implements dnsserver.Part.
func (l *Listener) Run() {
	l.mu.Lock()
	if l.stopped || l.started {
		l.mu.Unlock()
		return
	}
	l.started = true
	l.mu.Unlock()
	var accepting sync.WaitGroup
	for _, e := range l.endpoints {
		accepting.Go(func() { l.accept(e) }) // ends with the listener, in Stop
	}
	accepting.Wait()
	l.conns.Wait()
	l.close()
}

// accept takes connections whose handshake is done.
func (l *Listener) accept(e *endpoint) {
	for {
		conn, err := e.listener.Accept(l.ctx)
		if err != nil {
			if l.ctx.Err() == nil {
				l.config.Log.Error("doq: listener failed", "address", e.local.String(), "error", err)
			}
			return
		}
		l.conns.Go(func() { l.serve(conn) })
	}
}

// serve is the life of a connection after its handshake.
func (l *Listener) serve(conn *quic.Conn) {
	v := visitorOf(conn.Context())
	l.handshakes.Add(-1)
	v.conn.Store(conn)
	if v.dead.Load() { // its place was given to another meanwhile
		conn.CloseWithError(v.code, "")
		return
	}
	state := conn.ConnectionState().TLS
	v.visit.TLS = &state
	if local, ok := conn.LocalAddr().(*net.UDPAddr); ok {
		v.visit.Local = netip.AddrPortFrom(local.AddrPort().Addr().Unmap(), local.AddrPort().Port())
	}
	if l.config.Carry == nil {
		l.queries(conn, v.visit)
		return
	}
	stop := context.AfterFunc(l.ctx, func() { // a client that is told to go may stay
		end := l.closeWhenIdle(conn, v.visit, lingerTime)
		context.AfterFunc(conn.Context(), end)
	})
	defer stop()
	l.config.Carry(conn)
}

// queries answers the queries of a connection, each on its stream, until it ends;
// after Stop, and after Limits.Queries, those that have come.
func (l *Listener) queries(conn *quic.Conn, v *dnsserver.Visit) {
	defer l.closeWhenIdle(conn, v, v.Limits().Idle)()
	var streams sync.WaitGroup
	for !v.IsSpent() {
		s, err := conn.AcceptStream(l.ctx)
		if err != nil {
			break
		}
		streams.Go(func() { serveStream(conn, s, v) }) // ends with the stream or the connection
	}
	streams.Wait()
	pause := time.NewTimer(lingerTime)
	defer pause.Stop()
	select { // what was written is lost with the connection until the client has it
	case <-conn.Context().Done():
	case <-pause.C:
	}
	conn.CloseWithError(codeNoError, "")
}

// closeWhenIdle ends a connection that has brought no query for so long: to QUIC one
// that is kept alive by other packets is not idle. What it returns ends the watch.
func (l *Listener) closeWhenIdle(conn *quic.Conn, v *dnsserver.Visit, idle time.Duration) (end func()) {
	var mu sync.Mutex // the first look may come before there is a timer to set again
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(idle, func() {
		mu.Lock()
		defer mu.Unlock()
		if left := idle - v.IdleFor(time.Now()); left > 0 {
			timer.Reset(left)
			return
		}
		go conn.CloseWithError(l.noError(), "") // ends when its last packet is sent
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		timer.Stop()
	}
}

// noError returns the code with which a connection ends in order.
func (l *Listener) noError() quic.ApplicationErrorCode {
	if l.config.Carry != nil {
		return codeHTTPNoError
	}
	return codeNoError
}

// Stop implements dnsserver.Part.
func (l *Listener) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	l.cancel()
	if !l.started {
		l.close()
		return
	}
	if l.config.Drain != nil {
		go l.config.Drain() // ends with the last connection
	}
	for _, e := range l.endpoints {
		e.listener.Close()
	}
}

// close closes every socket.
func (l *Listener) close() {
	for _, e := range l.endpoints {
		e.listener.Close()
		if err := e.transport.Close(); err != nil {
			l.config.Log.Debug("doq: closing a socket", "error", err)
		}
		e.udp.Close()
	}
}

var errProtocol = errors.New("protocol error")

// violation is an error of the client that ends the connection (RFC 9250 §4.3.3).
func violation(text string) error { return fmt.Errorf("%w: %s", errProtocol, text) }

// deadline returns the time in so long.
func deadline(d time.Duration) time.Time { return time.Now().Add(d) }
