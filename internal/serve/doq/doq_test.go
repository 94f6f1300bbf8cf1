package doq

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/quic-go/quic-go"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/dnsserver"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// stage is a server with DNS over QUIC whose Handler gives an address, drops
// "drop", and defers "later".
type stage struct {
	*dnsserver.Server
	at       netip.AddrPort
	deferred chan *dnsserver.Deferred
	tls      *tls.Config
}

func (s *stage) handle(r *dnsserver.Request) dnsserver.Verdict {
	switch r.Query.Name.Label() {
	case "drop":
		return dnsserver.Drop
	case "later":
		d := r.Defer()
		if d == nil {
			return dnsserver.Answered
		}
		s.deferred <- d
		return dnsserver.Later
	}
	r.Out.Add(dnswire.Answer, r.Query.Name, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
	return dnsserver.Answered
}

func start(t *testing.T, limits dnsserver.Limits) *stage {
	t.Helper()
	s := &stage{deferred: make(chan *dnsserver.Deferred, 10000), tls: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"doq"}}}
	log := slog.New(slog.DiscardHandler)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"ns.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if s.Server, err = dnsserver.Listen(dnsserver.Config{Handler: s.handle, Log: log}); err != nil {
		t.Fatal(err)
	}
	e, err := s.Open(dnsserver.EntranceConfig{Transport: dnsserver.DoQ, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(Config{
		Entrance: e, Transport: dnsserver.DoQ, Addresses: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Log: log,
		TLS: &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: []string{"doq"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.AddPart(l)
	s.at = l.Addrs()[0]
	served := make(chan struct{})
	go func() {
		s.Serve()
		close(served)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		s.Shutdown(ctx)
		<-served
	})
	return s
}

func (s *stage) dial(t *testing.T) *quic.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.at.String(), s.tls, &quic.Config{MaxIdleTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseWithError(0, "") })
	return conn
}

func query(t *testing.T, name string, change func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id = 0
	if change != nil {
		change(m)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return framed(wire)
}

func framed(msg []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(msg))), msg...)
}

// open sends octets on a new stream.
func open(t *testing.T, conn *quic.Conn, octets []byte, fin bool) *quic.Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s.SetDeadline(time.Now().Add(patience))
	s.Write(octets)
	if fin {
		s.Close()
	}
	return s
}

// answers reads the messages of a stream to its end.
func answers(s *quic.Stream) (all []*dns.Msg, err error) {
	octets, err := io.ReadAll(s)
	for err == nil && len(octets) >= 2 {
		length := 2 + int(binary.BigEndian.Uint16(octets))
		m := new(dns.Msg)
		if length > len(octets) {
			return all, io.ErrUnexpectedEOF
		}
		if err = m.Unpack(octets[2:length]); err != nil {
			return all, err
		}
		all = append(all, m)
		octets = octets[length:]
	}
	return all, err
}

// code returns the application error code in err.
func code(err error) int {
	var app *quic.ApplicationError
	var stream *quic.StreamError
	switch {
	case errors.As(err, &app):
		return int(app.ErrorCode)
	case errors.As(err, &stream):
		return int(stream.ErrorCode)
	}
	return -1
}

// TestQueries: a stream for each query, answered in any order (RFC 9250 §4.2).
func TestQueries(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	conn := s.dial(t)
	late := open(t, conn, query(t, "later.example.", nil), true)
	d := <-s.deferred
	for range 20 {
		all, err := answers(open(t, conn, query(t, "www.example.", nil), true))
		if err != nil || len(all) != 1 || len(all[0].Answer) != 1 || all[0].Id != 0 {
			t.Fatalf("answers %v, %v", all, err)
		}
	}
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	msg := out.Finish()
	for range 3 { // as a zone transfer is (RFC 9250 §4.2: several responses on the stream)
		if err := d.SendMore(msg); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Send(msg); err != nil {
		t.Error(err)
	}
	if all, err := answers(late); err != nil || len(all) != 4 {
		t.Errorf("%d messages, %v; want 4", len(all), err)
	}
	if got := s.Connections(dnsserver.DoQ); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	state := conn.ConnectionState()
	if state.TLS.NegotiatedProtocol != "doq" || state.Used0RTT {
		t.Errorf("state %+v", state)
	}
}

// TestViolations: RFC 9250 §4.3.3: what ends the connection with a protocol error.
func TestViolations(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	good := query(t, "www.example.", nil)
	withKeepalive := query(t, "www.example.", func(m *dns.Msg) {
		m.SetEdns0(1232, false)
		m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_TCP_KEEPALIVE{Code: dns.EDNS0TCPKEEPALIVE}}
	})
	response := append([]byte(nil), good...)
	response[4] |= 0x80
	for name, octets := range map[string][]byte{
		"nothing":            {},
		"no whole length":    {0},
		"no whole query":     good[:len(good)-1],
		"two queries":        append(append([]byte(nil), good...), good...),
		"an octet too many":  append(append([]byte(nil), good...), 0),
		"an id":              query(t, "www.example.", func(m *dns.Msg) { m.Id = 7 }),
		"edns-tcp-keepalive": withKeepalive,
		"a response":         response,
		"an empty message":   {0, 0},
		"one octet":          {0, 1, 0},
	} {
		conn := s.dial(t)
		_, err := answers(open(t, conn, octets, true))
		if got := code(err); got != codeProtocol {
			t.Errorf("%s: ended with %v, want code %d", name, err, codeProtocol)
		}
	}
	if _, err := answers(open(t, s.dial(t), good, true)); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// TestUnidirectional: there are no unidirectional streams (RFC 9250 §4.2).
func TestUnidirectional(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	conn := s.dial(t)
	if _, err := conn.OpenUniStream(); err == nil {
		t.Error("a unidirectional stream was opened")
	}
}

// TestNoAnswer: a query that gets none has its stream reset, and others go on.
func TestNoAnswer(t *testing.T) {
	t.Parallel()                                           // most of it is waiting
	s := start(t, dnsserver.Limits{Read: 3 * time.Second}) // so long an honest query may take on a busy machine
	conn := s.dial(t)
	if _, err := answers(open(t, conn, query(t, "drop.example.", nil), true)); code(err) != codeUnspecified {
		t.Errorf("dropped: %v, want code %d", err, codeUnspecified)
	}
	// A query that does not come to its end.
	if _, err := answers(open(t, conn, query(t, "www.example.", nil), false)); code(err) != codeExcessiveLoad {
		t.Errorf("no FIN: %v, want code %d", err, codeExcessiveLoad)
	}
	if _, err := answers(open(t, conn, []byte{0xFF, 0xFF, 0, 0}, false)); code(err) != codeExcessiveLoad {
		t.Errorf("an unfinished large query: %v, want code %d", err, codeExcessiveLoad)
	}
	if c := s.Counts(dnsserver.DoQ); c.Of(dnsserver.SlowClients) != 2 {
		t.Errorf("%d slow clients, want 2", c.Of(dnsserver.SlowClients))
	}
	if all, err := answers(open(t, conn, query(t, "www.example.", nil), true)); err != nil || len(all) != 1 {
		t.Errorf("afterwards: %v, %v", all, err)
	}
}

// TestStreamFlood: who opens streams and takes the queries back cannot have more of
// them in hand than streams.
func TestStreamFlood(t *testing.T) {
	const streams = 5
	s := start(t, dnsserver.Limits{InFlight: streams})
	conn := s.dial(t)
	var taken []*dnsserver.Deferred
	for range streams {
		x := open(t, conn, query(t, "later.example.", nil), true)
		taken = append(taken, <-s.deferred)
		x.CancelRead(codeRequestCancelled)
	}
	// The streams are given back, but what they asked for is still worked on.
	for range 20 * streams {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		x, err := conn.OpenStreamSync(ctx)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		x.Write(query(t, "later.example.", nil))
		x.Close()
		x.CancelRead(codeRequestCancelled)
	}
	all, err := answers(open(t, s.dial(t), query(t, "www.example.", nil), true))
	if err != nil || len(all) != 1 {
		t.Errorf("another client: %v, %v", all, err)
	}
	if got := s.Outstanding(); got > 2*streams {
		t.Errorf("%d queries are worked on for one client, want at most %d", got, 2*streams)
	}
	for _, d := range taken {
		d.Drop()
	}
}

// TestConnections: places per client, and the oldest that is idle gives way.
func TestConnections(t *testing.T) {
	s := start(t, dnsserver.Limits{PerClient: 2})
	first := s.dial(t)
	s.dial(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if conn, err := quic.DialAddr(ctx, s.at.String(), s.tls, nil); err == nil {
		t.Error("a third connection of a client")
		conn.CloseWithError(0, "")
	}
	if all, err := answers(open(t, first, query(t, "www.example.", nil), true)); err != nil || len(all) != 1 {
		t.Errorf("the first: %v, %v", all, err)
	}
	s = start(t, dnsserver.Limits{Connections: 1})
	first = s.dial(t)
	s.dial(t)
	<-first.Context().Done()
	if got := code(context.Cause(first.Context())); got != codeNoError {
		t.Errorf("evicted with code %d", got)
	}
}

// TestQueriesPerConnection: after so many the connection ends, with all answered.
func TestQueriesPerConnection(t *testing.T) {
	s := start(t, dnsserver.Limits{Queries: 3})
	conn := s.dial(t)
	for range 3 {
		if all, err := answers(open(t, conn, query(t, "www.example.", nil), true)); err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
	}
	open(t, conn, query(t, "www.example.", nil), true)
	<-conn.Context().Done()
	if got := code(context.Cause(conn.Context())); got != codeNoError {
		t.Errorf("ended with %v", context.Cause(conn.Context()))
	}
}

// TestIdle: a connection that is kept alive, but brings no query, ends.
func TestIdle(t *testing.T) {
	t.Parallel()                                           // most of it is waiting
	s := start(t, dnsserver.Limits{Idle: 4 * time.Second}) // so long a client may take to begin on a busy machine
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, s.at.String(), s.tls, &quic.Config{KeepAlivePeriod: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	late := open(t, conn, query(t, "later.example.", nil), true)
	d := <-s.deferred
	if all, err := answers(open(t, conn, query(t, "www.example.", nil), true)); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	select {
	case <-conn.Context().Done():
		t.Fatal("ended with a query in flight")
	case <-time.After(5 * time.Second):
	}
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	d.Send(out.Finish())
	if all, err := answers(late); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	<-conn.Context().Done()
	if got := code(context.Cause(conn.Context())); got != codeNoError {
		t.Errorf("ended with %v", context.Cause(conn.Context()))
	}
}

// TestNo0RTT: what comes before the end of the handshake is not accepted, as it may
// be a replay; the query is answered after it.
func TestNo0RTT(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	config := s.tls.Clone()
	config.ServerName, config.ClientSessionCache = "ns.test", tls.NewLRUClientSessionCache(4)
	for i := range 2 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, err := quic.DialAddrEarly(ctx, s.at.String(), config, &quic.Config{})
		if err != nil {
			t.Fatal(err)
		}
		x := open(t, conn, query(t, "www.example.", nil), true)
		<-conn.HandshakeComplete()
		if state := conn.ConnectionState(); state.Used0RTT || state.TLS.DidResume != (i == 1) {
			t.Errorf("connection %d: 0-RTT %v, resumed %v", i, state.Used0RTT, state.TLS.DidResume)
		}
		if all, err := answers(x); err != nil || len(all) != 1 {
			t.Errorf("connection %d: %v, %v", i, all, err)
		}
		conn.CloseWithError(0, "")
	}
}

// TestShutdown: queries that have come are answered.
func TestShutdown(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	conn := s.dial(t)
	late := open(t, conn, query(t, "later.example.", nil), true)
	d := <-s.deferred
	done := make(chan error)
	go func() { done <- s.Shutdown(context.Background()) }()
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	if err := d.Send(out.Finish()); err != nil {
		t.Error(err)
	}
	if all, err := answers(late); err != nil || len(all) != 1 {
		t.Errorf("%v, %v", all, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// FuzzReadQuery: whatever a stream has.
func FuzzReadQuery(f *testing.F) {
	f.Add([]byte{0, 12, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 1, 0, 0})
	s, err := dnsserver.Listen(dnsserver.Config{Handler: func(*dnsserver.Request) dnsserver.Verdict { return dnsserver.Drop }})
	if err != nil {
		f.Fatal(err)
	}
	e, err := s.Open(dnsserver.EntranceConfig{Transport: dnsserver.DoQ})
	if err != nil {
		f.Fatal(err)
	}
	v, _ := e.Admit(netip.MustParseAddrPort("192.0.2.1:1"), func() {})
	f.Fuzz(func(t *testing.T, octets []byte) {
		msg, release, err := readQuery(context.Background(), bytes.NewReader(octets), v)
		if err != nil {
			return
		}
		release()
		if len(msg)+2 != len(octets) || len(msg) > 1 && (msg[0] != 0 || msg[1] != 0) {
			t.Errorf("%x was taken for %x", octets, msg)
		}
	})
}
