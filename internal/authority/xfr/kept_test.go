package xfr

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
)

// securePrimary is a primary over TLS, which takes any number of requests on a
// connection and remembers the connections.
type securePrimary struct {
	primary
	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func newSecurePrimary(t *testing.T) (*securePrimary, Peer) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"primary.test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{NextProtos: []string{"dot"}, Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}})
	if err != nil {
		t.Fatal(err)
	}
	p := &securePrimary{primary: primary{t: t, addr: l.Addr().(*net.TCPAddr).AddrPort()}}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, conn)
			p.mu.Unlock()
			served.Go(func() { defer conn.Close(); p.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); p.hangUp(); served.Wait() })
	return p, Peer{Address: p.addr, TLSID: "primary", TLS: &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"dot"}}}
}

func (p *securePrimary) serve(conn net.Conn) {
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		msg := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, msg); err != nil {
			return
		}
		if q := new(dnswire.Query); q.Parse(msg) == dnswire.Accept {
			p.answer(q, func(msg []byte) error { return send(conn, msg) }, conn)
		}
	}
}

func (p *securePrimary) hangUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *securePrimary) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// RFC 9103 §7.6: the SOA query, the transfer, and those of the next refresh share a
// connection. The primary may close it meanwhile, and nobody notices.
func TestKeptConnection(t *testing.T) {
	p, peer := newSecurePrimary(t)
	one, two, three := parse(t, 1, "a A 192.0.2.1"), parse(t, 2, "b A 192.0.2.2"), parse(t, 3, "c A 192.0.2.3")
	p.set(one, nil)
	s := newSecondary(t, t.TempDir(), Limits{})
	s.Set([]Zone{{Name: origin, Primaries: []Peer{peer}}})
	s.waitFor(t, s.published)
	s.waitFor(t, s.trouble)
	p.set(two, one)
	s.Notified(origin, 2, true)
	s.waitFor(t, s.published)
	s.waitFor(t, s.trouble)
	s.Refresh(origin, false) // no news
	s.waitFor(t, s.trouble)
	if got := p.count(); got != 1 {
		t.Errorf("%d connections for AXFR, SOA, IXFR and SOA; want 1", got)
	}
	p.hangUp()
	p.set(three, two)
	s.Notified(origin, 3, true)
	s.waitFor(t, s.published)
	s.waitFor(t, s.trouble)
	if got := text(s.Version(origin)); got != text(three) || p.count() != 2 {
		t.Errorf("%d connections, want 2; got\n%s", p.count(), got)
	}
	if st, _ := s.State(origin); st.Problem != "" {
		t.Errorf("problem %q", st.Problem)
	}
	if s.Close(); len(s.kept.conns) != 0 || s.kept.count != 0 {
		t.Error("connections are left")
	}
}

// At the limit a connection is closed instead of kept, and one that was kept goes to
// the primary that it leads to only.
func TestKeptLimit(t *testing.T) {
	var k kept
	defer k.close()
	peer := Peer{TLS: &tls.Config{}, TLSID: "one"}
	for range keptMost {
		a, _ := net.Pipe()
		k.put(peer, a)
	}
	over, other := net.Pipe()
	k.put(peer, over)
	if _, err := other.Write([]byte{1}); err == nil {
		t.Error("a connection beyond the limit is open")
	}
	if k.take(Peer{TLS: peer.TLS, TLSID: "two"}) != nil || k.take(Peer{}) != nil {
		t.Error("a connection to somebody else")
	}
	for range keptMost {
		conn := k.take(peer)
		if conn == nil {
			t.Fatal("a connection is lost")
		}
		conn.Close()
	}
	if k.take(peer) != nil || k.count != 0 {
		t.Errorf("%d connections are left", k.count)
	}
}
