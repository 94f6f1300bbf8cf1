// Package quicdoor lets QUIC connections in to the HTTP gateway: it has the UDP sockets, and
// says no before a connection costs anything.
//
//	packet of an unknown connection -> many handshakes under way, or of this network:
//	                                   prove your address (Retry)
//	                                -> too many connections, of all or of one address: refused
//	                                -> handshake (package tls, terms of a doorway.Door)
//	                                -> Accept
//
// It owns what comes before HTTP/3: addresses, numbers of connections, and QUIC's limits. What
// is sent to an address that is not proven is at most three times what came from it (RFC 9000
// §8.1; quic-go). Data before the end of the handshake (0-RTT) is not accepted, and no ticket
// offers it: it could be replayed, and a handshake that is resumed costs one round trip.
//
// Entry points: Listen, Listener.Accept, Listener.Close, Listener.Release.
//
// Concurrency: a Listener is used by any goroutine.
//
// Sources: RFC 9000 (QUIC), RFC 9001 (its TLS), RFC 9369 (version 2).
package quicdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/proxy/doorway"
)

// Limits that are not configurable, and why.
const (
	// retryAbove is from how many handshakes under way on clients must prove their
	// address before any work is done for them: forged ones cost us no more then.
	retryAbove = 64
	// maxHandshakes is how many may be under way; others are refused.
	maxHandshakes = 1024
	// shakeTime is how long a handshake may take, as over TCP.
	shakeTime = 5 * time.Second
	// uniStreams is how many one-way streams a client may open in the life of a
	// connection: HTTP/3 needs three, and a client may try others (RFC 9114 §6.2).
	uniStreams = 16
)

// Config is who is let in, and how.
type Config struct {
	Address netip.AddrPort // UDP
	// TLS is what is agreed on.
	TLS *tls.Config
	// Refuses reports whether an address is not spoken to; nil: all are.
	Refuses func(netip.Addr) bool
	// Handshake reports whether a handshake may begin with a client, whose address is proven
	// or may be forged; nil: always.
	Handshake func(client netip.Addr, proven bool) bool
	// Counts are those of the door.
	Counts *doorway.Counts
	// ResetKey makes what tells clients that we know nothing of their connection any more
	// (RFC 9000 §10.3).
	ResetKey [32]byte
	// Streams is how many requests a connection may have under way at once, StreamWindow
	// and Window how many octets may wait for us, of one and of all of them.
	Streams              int
	StreamWindow, Window int
	// PerClient is how many connections one address may have, /64 of IPv6.
	PerClient int
	// Silence is after how long without a packet a connection is given up.
	Silence time.Duration
}

// Listener is one UDP socket and the connections on it.
type Listener struct {
	config    Config
	udp       *net.UDPConn
	transport *quic.Transport
	quic      *quic.Listener
	address   netip.AddrPort

	handshakes atomic.Int64 // under way
	mu         sync.Mutex
	byClient   map[netip.Addr]int
}

// Listen opens a socket. It accepts nothing before Accept.
func Listen(cfg Config) (*Listener, error) {
	// quic-go writes to the standard logger when the kernel has not given it a buffer of
	// 7 MB. What is to be done about that is in the operator's guide.
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true")
	l := &Listener{config: cfg, byClient: map[netip.Addr]int{}}
	network := "udp6"
	if cfg.Address.Addr().Unmap().Is4() {
		network = "udp4"
	} else if cfg.Address.Addr().IsUnspecified() {
		network = "udp" // both families, as over TCP
	}
	var err error
	if l.udp, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(cfg.Address)); err != nil {
		return nil, doorway.ListenError("UDP", cfg.Address, err)
	}
	at := l.udp.LocalAddr().(*net.UDPAddr).AddrPort()
	l.address = netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	key := quic.StatelessResetKey(cfg.ResetKey)
	l.transport = &quic.Transport{
		Conn: l.udp, ConnectionIDLength: connectionID, StatelessResetKey: &key,
		VerifySourceAddress: l.mustProve, ConnContext: l.arrived,
	}
	if l.quic, err = l.transport.Listen(cfg.TLS, l.quicConfig()); err != nil {
		l.transport.Close()
		l.udp.Close()
		return nil, err
	}
	return l, nil
}

// connectionID is how many octets name a connection: as many as nobody guesses, who would
// have another's connection closed.
const connectionID = 8

func (l *Listener) quicConfig() *quic.Config {
	c := &l.config
	return &quic.Config{
		Versions:             []quic.Version{quic.Version1, quic.Version2},
		HandshakeIdleTimeout: shakeTime / 2, // quic-go allows for twice as long in all
		MaxIdleTimeout:       c.Silence,
		MaxIncomingStreams:   int64(c.Streams), MaxIncomingUniStreams: uniStreams,
		InitialStreamReceiveWindow: uint64(c.StreamWindow), MaxStreamReceiveWindow: uint64(c.StreamWindow),
		InitialConnectionReceiveWindow: uint64(c.Window), MaxConnectionReceiveWindow: uint64(c.Window),
		// A stream counts until the gateway is done with its request, be it reset
		// (CVE-2023-44487).
		RequireStreamCreditRelease: true,
	}
}

// Addr returns the address that is listened on, with its real port.
func (l *Listener) Addr() net.Addr { return net.UDPAddrFromAddrPort(l.address) }

// Accept returns the next connection whose handshake is done. After Close it fails.
func (l *Listener) Accept(ctx context.Context) (*quic.Conn, error) {
	conn, err := l.quic.Accept(ctx)
	if err != nil {
		return nil, err
	}
	if v, ok := conn.Context().Value(visitorKey{}).(*visitor); ok && v.shaken.CompareAndSwap(false, true) {
		l.handshakes.Add(-1)
	}
	return conn, nil
}

// Close lets nobody in any more. Connections go on.
func (l *Listener) Close() error { return l.quic.Close() }

// Release closes the socket, and with it all connections.
func (l *Listener) Release() {
	l.quic.Close()
	l.transport.Close()
	l.udp.Close()
}

// mustProve reports whether a client has to prove its address before any work is done for it.
func (l *Listener) mustProve(from net.Addr) bool {
	client, ok := addressOf(from)
	must := !ok || l.handshakes.Load() >= retryAbove || l.config.Handshake != nil && !l.config.Handshake(client, false)
	if must {
		l.config.Counts.Retries.Add(1)
	}
	return must
}

// visitor is a connection from its first packet on.
type visitor struct{ shaken atomic.Bool }

// visitorKey is where quic-go carries the visitor of a connection.
type visitorKey struct{}

var errRefused = errors.New("quicdoor: refused")

// arrived admits a connection at its first packet. ctx ends with it, however it ends.
func (l *Listener) arrived(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	client, ok := addressOf(info.RemoteAddr)
	if !ok || l.config.Refuses != nil && l.config.Refuses(client) {
		return nil, errRefused
	}
	if l.handshakes.Load() >= maxHandshakes || info.AddrVerified && l.config.Handshake != nil && !l.config.Handshake(client, true) {
		l.config.Counts.HandshakesRefused.Add(1)
		return nil, errRefused
	}
	group := groupOf(client)
	if !l.enter(group) {
		l.config.Counts.Crowded.Add(1)
		return nil, errRefused
	}
	v := &visitor{}
	l.handshakes.Add(1)
	context.AfterFunc(ctx, func() {
		if v.shaken.CompareAndSwap(false, true) {
			l.handshakes.Add(-1)
			l.config.Counts.HandshakesFailed.Add(1)
		}
		l.leave(group)
	})
	return context.WithValue(ctx, visitorKey{}, v), nil
}

func (l *Listener) enter(group netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byClient[group] >= l.config.PerClient {
		return false
	}
	l.byClient[group]++
	return true
}

func (l *Listener) leave(group netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byClient[group]--; l.byClient[group] == 0 {
		delete(l.byClient, group)
	}
}

func addressOf(a net.Addr) (netip.Addr, bool) {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}, false
	}
	return udp.AddrPort().Addr().Unmap().WithZone(""), true
}

// groupOf returns whom an address is counted for: of IPv6 a host has a /64.
func groupOf(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.Prefix(64)
	return p.Addr()
}
