package httpproxy

import (
	"bufio"
	"io"
	"net"
	"runtime"
	"testing"

	"pharos/internal/proxy/tracecontext"
)

// fixedOrigin answers every read with the same response and allocates nothing,
// so that what is counted is the gateway's.
func fixedOrigin(conn net.Conn, _ *bufio.Reader) {
	b := make([]byte, 4096)
	response := []byte(ok2)
	for {
		if _, err := conn.Read(b); err != nil {
			return
		}
		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}

// discardLog takes log lines.
type discardLog struct{ n int }

func (d *discardLog) Write(b []byte) (int, error) { d.n += len(b); return len(b), nil }

// TestNoAllocs: a request on a kept connection, through routing, forwarding
// fields, request id, access log and counters, allocates nothing.
func TestNoAllocs(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget what is put into them")
	}
	log := new(discardLog)
	past := &Past{Ring: tracecontext.NewRing(1 << 20), Every: 1 << 30} // on by default, as rarely as never
	g := startGateway(t, Config{AccessLog: log, Past: past}, startOrigin(t, fixedOrigin))
	conn := g.dial()
	request := []byte("GET /path?query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\nConnection: keep-alive\r\n\r\n")
	post := []byte("POST /path HTTP/1.1\r\nHost: www.example.com\r\nContent-Length: 5\r\n\r\nhello")
	answer := make([]byte, len(ok2))
	round := func() {
		for _, r := range [][]byte{request, post} {
			if _, err := conn.Write(r); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, answer); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		round() // pools and buffers fill
	}
	const rounds = 2000
	var before, after runtime.MemStats
	runtime.GC()
	round() // what the collection took from the pools
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	// The log writer's buffers and the runtime itself allocate now and then.
	if n := after.Mallocs - before.Mallocs; n > rounds/20 {
		t.Errorf("%d allocations in %d requests, want none", n, 2*rounds)
	}
}

// BenchmarkKeepAlive is one request on kept connections over loopback, client
// and origin included: for profiles, not for figures.
func BenchmarkKeepAlive(b *testing.B) {
	g := startGateway(b, Config{AccessLog: new(discardLog)}, startOrigin(b, fixedOrigin))
	conn := g.dial()
	request := []byte("GET /path?query HTTP/1.1\r\nHost: www.example.com\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}

// An idle connection holds no buffers.
func TestIdleConnectionHoldsNoBuffers(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, answering(ok2)))
	const n = 200
	answer := make([]byte, len(ok2))
	for range n {
		conn := g.dial()
		io.WriteString(conn, get(""))
		if _, err := io.ReadFull(conn, answer); err != nil {
			t.Fatal(err)
		}
	}
	held := 0
	g.server.mu.Lock()
	defer g.server.mu.Unlock()
	for c := range g.server.clients {
		for c.state.Load() != idle { // on its way there
			runtime.Gosched()
		}
	}
	// An idle client has given its exchange back before it waits; what is left of
	// the pool's are few, as one connection was busy at a time.
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	if per := int(m.HeapAlloc) / n; per > 16<<10 {
		held = per
	}
	if held > 0 {
		t.Errorf("%d octets of heap per idle connection, want less than one buffer", held)
	}
}
