package tlsconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// certificate is one for anybody.
func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// gathering is a connection that can hold back what is sent, to send it at once.
type gathering struct {
	net.Conn
	held bytes.Buffer
	hold bool
}

func (g *gathering) Write(b []byte) (int, error) {
	if g.hold {
		return g.held.Write(b)
	}
	return g.Conn.Write(b)
}

// flush sends what was held back.
func (g *gathering) flush() {
	g.Conn.Write(g.held.Bytes())
	g.held.Reset()
	g.hold = false
}

// pair returns a connection as both ends have it, over TCP.
func pair(t *testing.T, version uint16) (server *Conn, client *tls.Conn, out *gathering) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	raw, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{raw, accepted} {
		t.Cleanup(func() { c.Close() })
	}
	out = &gathering{Conn: raw}
	client = tls.Client(out, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	server = Server(accepted, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(server.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	accepted.SetReadDeadline(time.Now().Add(20 * time.Second)) // a hang fails the test
	return server, client, out
}

// TestPending: RFC 8446 §5.1: records come as the network likes, many at once. As long as
// one is there that nobody has read, Pending says so: who waited for the network then
// would wait for a client that waits for the answer.
func TestPending(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, client, out := pair(t, version)
		sizes := []int{1, 100, 3000, 16 << 10, 7, 200, 5}
		out.hold = true
		for _, n := range sizes {
			client.Write(bytes.Repeat([]byte{byte(n)}, n))
		}
		whole := out.held.Len()
		flushed := make(chan struct{})
		go func() {
			out.flush()
			close(flushed)
		}()
		b, unread := make([]byte, 32<<10), 0
		for _, n := range sizes {
			unread += n
		}
		for unread > 0 {
			n, err := server.Read(b)
			if err != nil {
				t.Fatalf("%x: %d of %d octets on the network were not read: %v", version, unread, whole, err)
			}
			if unread -= n; unread == 0 && server.Pending() {
				t.Errorf("%x: all is read, and something is pending", version)
			}
		}
		<-flushed
		out.hold = true
		client.Write([]byte("one"))
		client.Write([]byte("two"))
		out.flush()
		if n, err := server.Read(b); err != nil || string(b[:n]) != "one" {
			t.Fatalf("%x: got %q, %v", version, b[:n], err)
		}
		server.Rest() // must not lose it
		if !server.Pending() {
			t.Errorf("%x: the second record came with the first, and nothing is pending", version)
		}
		if n, err := server.Read(b); err != nil || string(b[:n]) != "two" || server.Pending() {
			t.Errorf("%x: got %q, %v, pending %v", version, b[:n], err, server.Pending())
		}
	}
}

// TestFull: a Read whose buffer was filled may have left part of the record.
func TestFull(t *testing.T) {
	server, client, _ := pair(t, tls.VersionTLS13)
	client.Write([]byte("abcdef"))
	b := make([]byte, 4)
	if n, _ := server.Read(b); n != 4 || !server.Pending() {
		t.Errorf("%d octets, pending %v", n, server.Pending())
	}
	if n, _ := server.Read(b); n != 2 || server.Pending() {
		t.Errorf("%d octets, pending %v", n, server.Pending())
	}
}

// TestInterrupted: a deadline that was meant for an earlier step does not end the
// connection, neither for a Read nor for a Write, which package tls would never forgive.
func TestInterrupted(t *testing.T) {
	server, client, _ := pair(t, tls.VersionTLS13)
	var overdue atomic.Bool
	server.Interruptible(overdue.Load)
	server.SetDeadline(time.Unix(1, 0))
	if _, err := server.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	if n, err := client.Read(b); err != nil || string(b[:n]) != "hello" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	server.SetDeadline(time.Unix(1, 0))
	client.Write([]byte("hi"))
	if n, err := server.Read(b); err != nil || string(b[:n]) != "hi" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	overdue.Store(true)
	server.SetDeadline(time.Unix(1, 0))
	if _, err := server.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("overdue: got %v", err)
	}
	overdue.Store(false)
	server.SetDeadline(time.Time{})
	client.Write([]byte("again"))
	if n, err := server.Read(b); err != nil || string(b[:n]) != "again" {
		t.Errorf("after that: got %q, %v", b[:n], err)
	}
}

// TestCut: RFC 8446 §6.1: an end without close_notify is a truncation, and the client can
// tell it from an end.
func TestCut(t *testing.T) {
	for _, cut := range []bool{false, true} {
		server, client, _ := pair(t, tls.VersionTLS13)
		server.Write([]byte("half of an ans"))
		if cut {
			server.SetLinger(0)
		}
		server.Close()
		_, err := io.ReadAll(client)
		if (err != nil) != cut {
			t.Errorf("cut %v: the client got %v", cut, err)
		}
	}
}
