package quicdoor

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/quic-go/quic-go"

	"pharos/internal/proxy/doorway"
	"pharos/lab/testca"
)

func listen(t *testing.T, at string, pair tls.Certificate, change func(*Config)) (*Listener, *doorway.Counts) {
	t.Helper()
	d := doorway.New(doorway.Config{TLS: &doorway.TLS{
		Least: tls.VersionTLS13, Protocols: []string{"h3"}, Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &pair, nil },
	}})
	c := Config{
		Address: netip.MustParseAddrPort(at), TLS: d.Terms(), Counts: d.Counts(), Streams: 8, StreamWindow: 64 << 10, Window: 256 << 10,
		PerClient: 8, Silence: time.Minute, ResetKey: [32]byte{1, 2, 3},
	}
	if change != nil {
		change(&c)
	}
	l, err := Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Release)
	return l, d.Counts()
}

// TestRetry: who would be refused by an address that may be forged is asked to prove it, and is
// let in then.
func TestRetry(t *testing.T) {
	ca := testca.New(t, "ca")
	l, counts := listen(t, "127.0.0.1:0", ca.Issue("www.test").TLS, func(c *Config) { c.Handshake = func(_ netip.Addr, proven bool) bool { return proven } })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go l.Accept(ctx)
	conn, err := quic.DialAddr(ctx, l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "www.test", NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseWithError(0, "")
	if counts.Retries.Load() == 0 {
		t.Error("the client had not to prove its address")
	}
}

// TestStatelessReset: a client of a node that was started anew learns at its next packet that
// its connection is gone.
func TestStatelessReset(t *testing.T) {
	ca := testca.New(t, "ca")
	pair := ca.Issue("www.test").TLS
	l, _ := listen(t, "127.0.0.1:0", pair, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	accepted := make(chan struct{})
	go func() {
		l.Accept(ctx)
		close(accepted)
	}()
	conn, err := quic.DialAddr(ctx, l.Addr().String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "www.test", NextProtos: []string{"h3"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	<-accepted
	at := l.Addr().String()
	l.udp.Close() // without a word to the client, as by a crash
	listen(t, at, pair, nil)
	s, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	s.Write(make([]byte, 1000))
	select {
	case <-conn.Context().Done():
	case <-ctx.Done():
		t.Fatal("the client has not learnt that its connection is gone")
	}
	var reset *quic.StatelessResetError
	if err := context.Cause(conn.Context()); !errors.As(err, &reset) {
		t.Errorf("the connection ended with %v", err)
	}
}
