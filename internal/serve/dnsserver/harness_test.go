package dnsserver

import (
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

var (
	loopback4 = netip.MustParseAddrPort("127.0.0.1:0")
	loopback6 = netip.MustParseAddrPort("[::1]:0")
)

// stage is a server with a Handler that does what the first label of a name says:
// "big" does not fit, "drop" and "panic" as they say, "later" goes to deferred,
// everything else gets one address.
type stage struct {
	*Server
	deferred chan *Deferred
	seen     atomic.Int64 // queries the Handler was called for
	served   chan struct{}
}

func (s *stage) handle(r *Request) Verdict {
	s.seen.Add(1)
	switch r.Query.Name.Label() {
	case "big":
		return fill(r)
	case "drop":
		return Drop
	case "panic":
		panic("as asked")
	case "later":
		d := r.Defer()
		if d == nil {
			return Later
		}
		s.deferred <- d
		return Later
	}
	addA(&r.Out, &r.Query)
	return Answered
}

func addA(out *dnswire.Builder, q *dnswire.Query) {
	out.Add(dnswire.Answer, q.Name, rdata.TypeA, rdata.ClassIN, 60, []byte{192, 0, 2, 1})
}

var text = append([]byte{99}, strings.Repeat("x", 99)...)

// fill adds text until there is no more room.
func fill(r *Request) Verdict {
	for r.Out.Add(dnswire.Answer, r.Query.Name, rdata.TypeTXT, rdata.ClassIN, 60, text) {
		if r.Out.Count(dnswire.Answer) == 500 {
			return Answered
		}
	}
	r.Out.SetTC(true)
	return Answered
}

// start starts a server; its Addresses default to 127.0.0.1, its UDPWorkers to 1.
func start(t testing.TB, cfg Config) *stage {
	t.Helper()
	s := listen(t, cfg)
	s.serve(t)
	return s
}

// listen is start without Serve.
func listen(t testing.TB, cfg Config) *stage {
	t.Helper()
	s := &stage{deferred: make(chan *Deferred, 100), served: make(chan struct{})}
	if cfg.Handler == nil {
		cfg.Handler = s.handle
	}
	if cfg.Addresses == nil {
		cfg.Addresses = []netip.AddrPort{loopback4}
	}
	cfg.UDPWorkers = orDefault(cfg.UDPWorkers, 1)
	cfg.Log = slog.New(slog.DiscardHandler)
	server, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = server
	return s
}

func (s *stage) serve(t testing.TB) {
	go func() {
		s.Serve()
		close(s.served)
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
		defer cancel()
		s.Shutdown(ctx) // deferred queries may be left over
		<-s.served
	})
}

// check holds the server to its invariants.
func (s *stage) check(t testing.TB) {
	t.Helper()
	if err := s.Server.check(); err != nil {
		t.Error(err)
	}
}

func query(t testing.TB, id uint16, name string, udpSize uint16) []byte {
	t.Helper()
	m := new(dns.Msg).SetQuestion(name, dns.TypeA)
	m.Id = id
	if udpSize > 0 {
		m.SetEdns0(udpSize, true)
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

// answerTo makes the answer to a deferred query.
func answerTo(d *Deferred) []byte {
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, slotSize), d.Limit())
	addA(&out, d.Query())
	return out.Finish()
}

// client is a connection with which messages are sent and received whole.
type client struct {
	net.Conn
	t testing.TB
}

func dial(t testing.TB, network string, to netip.AddrPort) *client {
	t.Helper()
	conn, err := net.Dial(network, to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{conn, t}
}

func (c *client) isTCP() bool { return c.RemoteAddr().Network() == "tcp" }

func (c *client) send(msgs ...[]byte) {
	c.t.Helper()
	if !c.isTCP() {
		for _, msg := range msgs {
			if _, err := c.Write(msg); err != nil {
				c.t.Fatal(err)
			}
		}
		return
	}
	var stream []byte
	for _, msg := range msgs {
		stream = append(binary.BigEndian.AppendUint16(stream, uint16(len(msg))), msg...)
	}
	if _, err := c.Write(stream); err != nil {
		c.t.Fatal(err)
	}
}

// receive returns the next message in raw form.
func (c *client) receive() ([]byte, error) {
	if !c.isTCP() {
		buf := make([]byte, dnswire.MaxMessage)
		n, err := c.Read(buf)
		return buf[:n], err
	}
	var length [2]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	buf := make([]byte, binary.BigEndian.Uint16(length[:]))
	_, err := io.ReadFull(c, buf)
	return buf, err
}

// next returns the next message as another library reads it.
func (c *client) next() *dns.Msg {
	c.t.Helper()
	wire, err := c.receive()
	if err != nil {
		c.t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(wire); err != nil {
		c.t.Fatalf("answer %x: %v", wire, err)
	}
	return m
}

func (c *client) wantClosed() {
	c.t.Helper()
	if msg, err := c.receive(); err == nil || isTimeout(err) {
		c.t.Fatalf("got message %x, error %v; want the connection closed", msg, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// waitUntil waits for something that happens beside the test.
func waitUntil(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("did not happen: " + what)
		}
	}
}

func (s *stage) want(t testing.TB, transport Transport, c Counter, want uint64) {
	t.Helper()
	waitUntil(t, transport.String()+" "+c.String(), func() bool { counts := s.Counts(transport); return counts.Of(c) >= want })
	s.check(t)
	counts := s.Counts(transport)
	if got := counts.Of(c); got != want {
		t.Errorf("%v %v: got %d, want %d", transport, c, got, want)
	}
}

// missingPeer passes over what cannot be tested without a program, unless the
// environment says that all of them must be there.
func missingPeer(t *testing.T, program string) {
	t.Helper()
	if os.Getenv("PHAROS_REQUIRE_PEERS") == "1" {
		t.Errorf("%s is not installed, and PHAROS_REQUIRE_PEERS is 1", program)
		return
	}
	t.Logf("%s is not installed: not tried", program)
}
