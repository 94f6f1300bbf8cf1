package xfr

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
)

// Times of the exchanges with another server. All are chosen, not derived.
const (
	udpTimeout     = 2 * time.Second // of each of udpTries datagrams
	udpTries       = 3
	connectTimeout = 5 * time.Second
	idleTimeout    = 30 * time.Second // between two messages of a transfer
)

// Peer is another server.
type Peer struct {
	Address netip.AddrPort
	Key     *tsig.Key // nil: nothing is signed
	// TLS is what everything but NOTIFY is asked over (RFC 9103), with ALPN; nil:
	// UDP and TCP. TLSID tells one TLS from another.
	TLS   *tls.Config
	TLSID string
}

func newID() uint16 {
	var b [2]byte
	rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint16(b[:])
}

// sign signs msg if the peer has a key.
func (p Peer) sign(msg []byte) ([]byte, *tsig.Session) {
	if p.Key == nil {
		return msg, nil
	}
	return tsig.Open(msg, p.Key, clock.Now())
}

// verify returns msg without its signature.
func verify(session *tsig.Session, msg []byte) ([]byte, error) {
	if session == nil {
		return msg, nil
	}
	return session.Check(msg, clock.Now())
}

// answers reports whether msg is a response with the id of query.
func answers(msg, query []byte) bool {
	return len(msg) >= dnswire.HeaderLen && msg[2]&0x80 != 0 && msg[0] == query[0] && msg[1] == query[1]
}

// ask sends msg over UDP, and over TCP if the answer is truncated, and returns the
// answer that can be believed. What else arrives is not looked at: RFC 5452 §3,
// and a bad signature may be anybody's (RFC 8945 §5.3.2).
func (p Peer) ask(ctx context.Context, msg []byte, tries int) (*dnswire.Message, error) {
	if p.TLS != nil {
		return p.askTCP(ctx, msg)
	}
	var last error
	for range tries {
		signed, session := p.sign(append([]byte(nil), msg...))
		m, err := p.askUDP(ctx, signed, session)
		switch {
		case err == nil && m.TC:
			return p.askTCP(ctx, msg)
		case err == nil:
			return m, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		}
		last = err
	}
	return nil, last
}

func (p Peer) askUDP(ctx context.Context, signed []byte, session *tsig.Session) (*dnswire.Message, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", p.Address.String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	conn.SetDeadline(time.Now().Add(udpTimeout))
	if _, err := conn.Write(signed); err != nil {
		return nil, err
	}
	var refused error
	buf := make([]byte, dnswire.MaxMessage)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, errors.Join(refused, err)
		}
		if !answers(buf[:n], signed) {
			continue
		}
		plain, err := verify(session, buf[:n])
		if err != nil {
			refused = err // go on: the right answer may follow
			continue
		}
		if m, err := dnswire.ParseMessage(plain); err == nil {
			return m, nil
		}
	}
}

func (p Peer) askTCP(ctx context.Context, msg []byte) (*dnswire.Message, error) {
	s, err := p.open(ctx, msg)
	if err != nil {
		return nil, err
	}
	defer s.close()
	plain, err := s.next()
	if err != nil {
		return nil, err
	}
	return dnswire.ParseMessage(plain)
}

// stream is the response to one request on a connection.
type stream struct {
	conn    net.Conn
	stop    func() bool
	request []byte
	session *tsig.Session
	buf     []byte
}

// open sends msg over TCP, or TLS.
func (p Peer) open(ctx context.Context, msg []byte) (*stream, error) {
	conn, err := p.dial(ctx)
	if err != nil {
		return nil, err
	}
	return p.begin(ctx, conn, msg)
}

// dial connects to the peer.
func (p Peer) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: connectTimeout}
	conn, err := d.DialContext(ctx, "tcp", p.Address.String())
	if err != nil || p.TLS == nil {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	secure := tls.Client(conn, p.TLS)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if got := secure.ConnectionState().NegotiatedProtocol; got != "dot" { // RFC 9103 §7.1
		secure.Close()
		return nil, fmt.Errorf("TLS: the server does not agree on the protocol dot (ALPN), but on %q: it is none for transfers over TLS (RFC 9103 §7.1)", got)
	}
	return secure, nil
}

// begin sends msg on a connection, which is closed if that fails.
func (p Peer) begin(ctx context.Context, conn net.Conn, msg []byte) (*stream, error) {
	s := &stream{conn: conn, buf: make([]byte, dnswire.MaxMessage)}
	s.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	s.request, s.session = p.sign(append([]byte(nil), msg...))
	conn.SetDeadline(time.Now().Add(idleTimeout))
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(s.request))), s.request...)); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// next returns the next message, without its signature, good until the one after.
func (s *stream) next() ([]byte, error) {
	s.conn.SetReadDeadline(time.Now().Add(idleTimeout))
	if _, err := io.ReadFull(s.conn, s.buf[:2]); err != nil {
		return nil, fmt.Errorf("the connection ended: %w", err)
	}
	msg := s.buf[:binary.BigEndian.Uint16(s.buf)]
	if _, err := io.ReadFull(s.conn, msg); err != nil {
		return nil, fmt.Errorf("the connection ended within a message: %w", err)
	}
	if !answers(msg, s.request) {
		return nil, errors.New("a message that is no answer to the request")
	}
	return verify(s.session, msg)
}

// complete returns nil if the last message was signed, or need not be.
func (s *stream) complete() error {
	if s.session == nil {
		return nil
	}
	return s.session.Complete()
}

func (s *stream) close() {
	s.stop()
	s.conn.Close()
}

// query returns a query for the zone's name; with have, as IXFR needs it, the SOA
// record of the version that is there.
func query(name dnsname.Name, t rdata.Type, have *rdata.Record) []byte {
	m := dnswire.Message{ID: newID(), HasQuestion: true, Question: dnswire.Question{Name: name, Type: t, Class: rdata.ClassIN}}
	if have != nil {
		m.Authority = []rdata.Record{*have}
	}
	return m.Append(nil)
}

// expireWanted asks a server how long it may yet serve the zone (RFC 7314 §3.1).
var expireWanted = dnswire.EDNS{Present: true, UDPSize: dnswire.MaxUDP, Options: []byte{0, byte(dnswire.OptionExpire), 0, 0}}

// withEDNS adds an OPT record to a query, if edns has one.
func withEDNS(msg []byte, edns dnswire.EDNS) []byte {
	m, err := dnswire.ParseMessage(msg)
	if err != nil {
		panic("BUG: a query of ours that cannot be read: " + err.Error())
	}
	m.EDNS = edns
	return m.Append(nil)
}

// expireIn returns what a response says of that; negative if nothing.
func expireIn(m *dnswire.Message) time.Duration {
	for o := m.EDNS.Options; len(o) >= 4; {
		length := 4 + int(binary.BigEndian.Uint16(o[2:])) // which has been checked
		if dnswire.Option(binary.BigEndian.Uint16(o)) == dnswire.OptionExpire && length == 8 {
			return time.Duration(binary.BigEndian.Uint32(o[4:])) * time.Second
		}
		o = o[length:]
	}
	return -1
}
