package httpproxy

import (
	"io"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/served"
)

// TestRoundTrip: the round trip of a connection is told at its end, with both addresses; not
// that to a trusted proxy, which is not the client's.
func TestRoundTrip(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel cannot be asked")
	}
	for _, trusted := range [][]netip.Prefix{nil, {netip.MustParsePrefix("127.0.0.0/8")}} {
		type trip struct {
			client, server netip.Addr
			took           time.Duration
		}
		told := make(chan trip, 1)
		l, err := doorway.Listen(netip.MustParseAddrPort("127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		table, _ := served.New(nil, nil, nil, nil)
		s := New(Config{Table: func() *served.Table { return table }, Trusted: trusted, RoundTrip: func(c, s netip.Addr, d time.Duration) { told <- trip{c, s, d} }})
		served := make(chan error, 1)
		go func() { served <- s.Serve(l) }() // ends with Shutdown
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		io.Copy(io.Discard, conn)
		conn.Close()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-served
		select {
		case got := <-told:
			if trusted != nil || got.client != netip.MustParseAddr("127.0.0.1") || got.server != got.client || got.took <= 0 || got.took > 5*time.Second {
				t.Errorf("trusted %v: %+v", trusted, got)
			}
		default:
			if trusted == nil {
				t.Error("nothing was told")
			}
		}
	}
}
