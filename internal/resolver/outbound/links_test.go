package outbound

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// certificate returns one for a name, and what believes it.
func certificate(t testing.TB, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// secure is a resolver that is asked encrypted. It answers every name with an
// address, but what change does to the answer.
type secure struct {
	addr    netip.AddrPort
	roots   *x509.CertPool
	queries atomic.Int64
	conns   atomic.Int64
	change  atomic.Pointer[func(msg []byte) []byte]

	mu   sync.Mutex
	open []io.Closer // connections
	held [][]byte    // replies that wait for others: see hold
	hold int         // how many replies go out at a time, the last one first
}

func (s *secure) reply(query []byte) []byte {
	s.queries.Add(1)
	q, err := dnswire.ParseMessage(query)
	if err != nil {
		return nil
	}
	r := a("www.test.", "192.0.2.1")
	r.Name = q.Question.Name
	m := &dnswire.Message{ID: q.ID, QR: true, RD: true, RA: true, HasQuestion: true, Question: q.Question, Answer: []rdata.Record{r}}
	msg := m.Append(nil)
	if change := s.change.Load(); change != nil {
		msg = (*change)(msg)
	}
	return msg
}

// met remembers a connection.
func (s *secure) met(c io.Closer) {
	s.conns.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, c)
}

// hangUp closes all connections there are.
func (s *secure) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.Close()
	}
	s.open = nil
}

// listenSecure listens over a transport with a certificate for dns.test. Do53 is
// TCP.
func listenSecure(t testing.TB, over iterate.Transport) *secure {
	t.Helper()
	cert, pool := certificate(t, "dns.test")
	s := &secure{roots: pool}
	c := &tls.Config{Certificates: []tls.Certificate{cert}}
	if over == iterate.DoQ {
		s.listenQUIC(t, c)
		return s
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().(*net.TCPAddr).AddrPort()
	switch over {
	case iterate.DoH:
		s.serveHTTPS(t, ln, c)
		return s
	case iterate.DoT:
		c.NextProtos = []string{"dot"}
		ln = tls.NewListener(ln, c)
	}
	t.Cleanup(func() { ln.Close(); s.hangUp() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			s.met(conn)
			go s.serveStream(conn)
		}
	}()
	return s
}

// serveStream answers on a connection, out of order if there is a hold.
func (s *secure) serveStream(conn net.Conn) {
	defer conn.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		reply := s.reply(msg)
		if reply == nil {
			continue
		}
		s.mu.Lock()
		s.held = append(s.held, reply)
		var out []byte
		if len(s.held) >= s.hold {
			for i := len(s.held) - 1; i >= 0; i-- {
				out = append(binary.BigEndian.AppendUint16(out, uint16(len(s.held[i]))), s.held[i]...)
			}
			s.held = nil
		}
		s.mu.Unlock()
		conn.Write(out)
	}
}

func (s *secure) serveHTTPS(t testing.TB, ln net.Listener, c *tls.Config) {
	server := &http.Server{TLSConfig: c, ErrorLog: log.New(io.Discard, "", 0), ConnState: func(conn net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.met(conn)
		}
	}}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/dns-query" || r.Host != "dns.test" || r.ProtoMajor != 2 || len(query) < 2 || query[0]|query[1] != 0 {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		reply := s.reply(query)
		if reply == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", mediaType)
		w.Write(reply)
	})
	t.Cleanup(func() { server.Close() })
	go server.ServeTLS(ln, "", "")
}

func (s *secure) listenQUIC(t testing.TB, c *tls.Config) {
	c.NextProtos = []string{"doq"}
	ln, err := quic.ListenAddr("127.0.0.1:0", c, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().(*net.UDPAddr).AddrPort()
	t.Cleanup(func() { s.hangUp(); ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept(context.Background())
			if err != nil {
				return
			}
			s.met(quicCloser{conn})
			go s.serveQUIC(conn)
		}
	}()
}

type quicCloser struct{ conn *quic.Conn }

func (c quicCloser) Close() error { return c.conn.CloseWithError(0, "") }

func (s *secure) serveQUIC(conn *quic.Conn) {
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go func() {
			msg, err := io.ReadAll(stream)
			if err != nil || len(msg) < 4 || msg[2]|msg[3] != 0 {
				stream.CancelWrite(2)
				return
			}
			if reply := s.reply(msg[2:]); reply != nil {
				stream.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
				stream.Close()
			} else {
				stream.CancelWrite(1)
			}
		}()
	}
}

// forwarding returns a Driver that asks s for everything.
func forwarding(t testing.TB, s *secure, over iterate.Transport, cfg Config) *Driver {
	t.Helper()
	cfg.Peers = []Peer{{TLS: &tls.Config{RootCAs: s.roots, ServerName: "dns.test"}, Name: "dns.test", Path: "/dns-query"}}
	cfg.Routes = []iterate.Route{{Zone: dnsname.Root, Forward: true, Encrypted: []iterate.Server{{AddrPort: s.addr, Over: over}}}}
	d := New(cfg)
	t.Cleanup(d.Close)
	return d
}

var secureTransports = []iterate.Transport{iterate.DoT, iterate.DoH, iterate.DoQ}

// Questions share a connection, each with its own reply.
func TestEncryptedAtOnce(t *testing.T) {
	for _, over := range secureTransports {
		t.Run(over.String(), func(t *testing.T) {
			s := listenSecure(t, over)
			d := forwarding(t, s, over, Config{patience: time.Minute, Limits: iterate.Limits{Time: 2 * time.Minute}})
			resolve(t, d, "first.test.")
			var all sync.WaitGroup
			const many = 50
			for i := range many {
				want := dnsname.MustParse(fmt.Sprintf("n%d.test.", i))
				all.Add(1)
				d.Ask(want, rdata.TypeA, Options{}, func(a iterate.Answer) {
					defer all.Done()
					if len(a.Answer) != 1 || a.Answer[0].Name != want {
						t.Errorf("%v: got %v %v %v", want, a.Rcode, a.Answer, a.Errors)
					}
				})
			}
			all.Wait()
			c, _ := d.Links(over)
			if got := s.conns.Load(); got != 1 || c.Opened != 1 || c.Reused != many || c.Broken != 0 {
				t.Errorf("%d connections, counts %+v; want 1 connection, reused %d times", got, c, many)
			}
		})
	}
}

// RFC 7766 §6.2.1.1: replies come in any order.
func TestOutOfOrder(t *testing.T) {
	s := listenSecure(t, iterate.DoT)
	d := forwarding(t, s, iterate.DoT, Config{patience: time.Minute, Limits: iterate.Limits{Time: 2 * time.Minute}})
	resolve(t, d, "first.test.")
	s.mu.Lock()
	s.hold = 10
	s.mu.Unlock()
	var all sync.WaitGroup
	for i := range 10 {
		want := dnsname.MustParse(fmt.Sprintf("n%d.test.", i))
		all.Add(1)
		d.Ask(want, rdata.TypeA, Options{}, func(a iterate.Answer) {
			defer all.Done()
			if len(a.Answer) != 1 || a.Answer[0].Name != want {
				t.Errorf("%v: got %v %v %v", want, a.Rcode, a.Answer, a.Errors)
			}
		})
	}
	all.Wait()
	if c, _ := d.Links(iterate.DoT); c.Opened != 1 {
		t.Errorf("%d connections, want 1", c.Opened)
	}
}

// RFC 7766 §6.2.4: a server may close a connection that is idle. The next question
// goes on a new one, with the TLS session of the first.
func TestClosedWhileIdle(t *testing.T) {
	for _, over := range secureTransports {
		t.Run(over.String(), func(t *testing.T) {
			s := listenSecure(t, over)
			d := forwarding(t, s, over, Config{})
			resolve(t, d, "first.test.")
			resolve(t, d, "second.test.")
			s.hangUp()
			if got := resolve(t, d, "third.test."); len(got.Answer) != 1 {
				t.Errorf("got %v %v", got.Rcode, got.Errors)
			}
			c, _ := d.Links(over)
			if s.conns.Load() != 2 || c.Opened != 2 || c.Resumed != 1 {
				t.Errorf("%d connections, counts %+v; want 2, of which 1 resumed", s.conns.Load(), c)
			}
		})
	}
}

// RFC 8310 §5: who cannot prove to be the server that is meant is told nothing.
func TestWrongName(t *testing.T) {
	for _, over := range secureTransports {
		t.Run(over.String(), func(t *testing.T) {
			s := listenSecure(t, over)
			_, s.roots = certificate(t, "dns.test") // another authority
			d := forwarding(t, s, over, Config{})
			got := resolve(t, d, "www.test.")
			if got.Rcode != dnswire.RcodeServFail || got.Errors[0].Code != dnswire.EDENetworkError || !strings.Contains(got.Errors[0].Text, "certificate") {
				t.Errorf("got %v %v, want SERVFAIL because of the certificate", got.Rcode, got.Errors)
			}
			if n := s.queries.Load(); n != 0 {
				t.Errorf("%d queries came to a server that is not the one meant", n)
			}
		})
	}
}

// What breaks the protocol is no answer.
func TestNotAReply(t *testing.T) {
	for _, test := range []struct {
		over   iterate.Transport
		change func(msg []byte) []byte
		want   string
	}{
		{iterate.DoH, func(msg []byte) []byte { return nil }, "HTTP status 500"},
		{iterate.DoH, func(msg []byte) []byte { msg[0] = 1; return msg }, "another id"},
		{iterate.DoQ, func(msg []byte) []byte { msg[0] = 1; return msg }, "breaks the protocol"},
		{iterate.DoQ, func(msg []byte) []byte { return nil }, "gave the question up"},
		{iterate.DoT, func(msg []byte) []byte { msg[13]++; return msg }, "not a reply to the query"},
		{iterate.DoT, func(msg []byte) []byte { return msg[:1] }, "did not answer"},
	} {
		s := listenSecure(t, test.over)
		s.change.Store(&test.change)
		d := forwarding(t, s, test.over, Config{Limits: iterate.Limits{Time: 3 * time.Second}})
		if got := resolve(t, d, "www.test."); got.Rcode != dnswire.RcodeServFail || !strings.Contains(got.Errors[0].Text, test.want) {
			t.Errorf("%v: got %v %v, want SERVFAIL: %s", test.over, got.Rcode, got.Errors, test.want)
		}
	}
}

// RFC 7766 §6.2.1: connections to authoritative servers are kept, too. The root's
// test server takes one question per connection, so this one is another.
func TestTCPIsReused(t *testing.T) {
	s := listenSecure(t, iterate.Do53)
	l := newLinks(10, 0)
	defer l.close()
	for i := range 5 {
		query := dnswire.AppendQuery(nil, dnswire.QuerySpec{ID: uint16(1000 + i), Name: dnsname.MustParse("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		reply, _, err := l.ask(ctx, iterate.Send{To: s.addr, TCP: true, Msg: query})
		cancel()
		if err != nil || binary.BigEndian.Uint16(reply) != uint16(1000+i) {
			t.Fatalf("question %d: got id %v, error %v", i, reply[:min(2, len(reply))], err)
		}
	}
	if s.conns.Load() != 1 {
		t.Errorf("%d connections, want 1", s.conns.Load())
	}
}

// At the limit the connection that is idle for longest makes room; when none is,
// the exchange fails.
func TestConnectionLimit(t *testing.T) {
	l := newLinks(2, 0)
	defer l.close()
	ask := func(s *secure) error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, _, err := l.ask(ctx, iterate.Send{To: s.addr, TCP: true,
			Msg: dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse("www.test."), Type: rdata.TypeA, Class: rdata.ClassIN})})
		return err
	}
	for range 4 {
		if err := ask(listenSecure(t, iterate.Do53)); err != nil {
			t.Fatal(err)
		}
	}
	if n := l.open(); n > 2 {
		t.Errorf("%d connections, want at most 2", n)
	}
	var waiting sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 2 {
		s := listenSecure(t, iterate.Do53)
		asked := make(chan struct{}, 1)
		silent := func([]byte) []byte { asked <- struct{}{}; return nil }
		s.change.Store(&silent)
		waiting.Go(func() {
			limited, end := context.WithTimeout(ctx, time.Minute)
			defer end()
			l.ask(limited, iterate.Send{To: s.addr, TCP: true, Msg: dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.Root, Type: rdata.TypeNS, Class: rdata.ClassIN})})
		})
		<-asked
	}
	if err := ask(listenSecure(t, iterate.Do53)); err == nil || !strings.Contains(err.Error(), "too many") {
		t.Errorf("got %v at the limit, want an error", err)
	}
	cancel()
	waiting.Wait()
}

// A connection whose other end has vanished is found out in half of the question's
// time, and is not used again.
func TestSilentConnection(t *testing.T) {
	for _, over := range []iterate.Transport{iterate.DoT, iterate.DoQ} {
		s := listenSecure(t, over)
		d := forwarding(t, s, over, Config{})
		resolve(t, d, "first.test.")
		vanished := func(msg []byte) []byte {
			if s.conns.Load() > 1 {
				return msg
			}
			<-t.Context().Done() // nothing comes back, not even an error
			return nil
		}
		s.change.Store(&vanished)
		if got := resolve(t, d, "second.test."); len(got.Answer) != 1 || got.Sent != 1 {
			t.Errorf("%v: got %v %v after %d queries, want an answer to one", over, got.Rcode, got.Errors, got.Sent)
		}
		if got := resolve(t, d, "third.test."); len(got.Answer) != 1 || s.conns.Load() != 2 {
			t.Errorf("%v: got %v over %d connections, want 2", over, got.Rcode, s.conns.Load())
		}
	}
}
