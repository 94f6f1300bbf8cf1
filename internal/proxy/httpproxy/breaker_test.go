package httpproxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pharos/internal/proxy/breaker"
	"pharos/internal/proxy/queue"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
)

// A pool that fails is not asked, its requests go to the fallback or are refused at once, and
// when it has recovered it is asked again.
func TestBreakerOpens(t *testing.T) {
	var asked atomic.Int64
	var well atomic.Bool
	web := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			asked.Add(1)
			if well.Load() {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nweb:")
			} else {
				io.WriteString(conn, failed500)
			}
		}
	})
	rules := []route.Rule{
		{Pools: []route.Share{{Pool: "web", Weight: 1}}},
		{Path: "/saved", Pools: []route.Share{{Pool: "web", Weight: 1}}, Fallback: "spare"},
	}
	table := routesOf(t, rules, map[string]string{"web": web, "canary": startOrigin(t, echo2), "spare": startOrigin(t, telling("spare"))})
	told := make(chan string, 16)
	rule := breaker.Rules{ErrorRate: 50, MinRequests: 3, Window: time.Minute, Open: 3 * time.Second, Trials: 1}
	table.Breakers(map[string]breaker.Rules{"web": rule}, nil)
	g := startGateway(t, Config{Breaker: func(pool, text string) { told <- pool + ": " + text }})
	g.publish(table)
	for range 3 {
		g.ask(get(byeField))
	}
	if got := g.ask(get(byeField)); !strings.Contains(got, "503 Service Unavailable: the pool is not asked, since 3 of 3 requests to it failed within 1m0s") || !strings.Contains(got, "Retry-After: ") {
		t.Errorf("while it is open: %q", got)
	}
	if got := g.ask("GET /saved HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n"); !strings.Contains(got, "spare: GET /saved ") {
		t.Errorf("with a fallback: %q", got)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the pool was asked %d times, want 3", n)
	}
	if got := <-told; !strings.HasPrefix(got, "web: pool web: requests are refused") {
		t.Errorf("told %q", got)
	}
	after, errs := served.New(rules, table.AllPools(), nil, table)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	after.Breakers(map[string]breaker.Rules{"web": rule}, table)
	g.publish(after)
	if r := after.ReadBreakers(time.Now())[0]; r.Opened == 0 {
		t.Errorf("a reload has made the breaker anew: %+v", r)
	}
	well.Store(true)
	for deadline := time.Now().Add(20 * time.Second); !strings.HasSuffix(g.ask(get(byeField)), "web:"); {
		if time.Now().After(deadline) {
			t.Fatal("the pool has recovered and is not asked")
		}
	}
	for got := range told {
		if got == "web: " {
			break
		}
	}
}

// What is under way at once is bounded, a queue waits for its turn, and what fits into neither
// is refused at once.
func TestBreakerBound(t *testing.T) {
	came, release := make(chan struct{}, 8), make(chan struct{})
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		for readMessageHead(r) != "" {
			came <- struct{}{}
			<-release
			io.WriteString(conn, ok2)
		}
	}))
	g.table.Breakers(map[string]breaker.Rules{"web": {Bounds: queue.Bounds{Most: 1, Queue: 1, Wait: 20 * time.Second}}}, nil)
	g.publish(g.table)
	answers := make(chan string, 2)
	ask := func() {
		conn := g.dial()
		fmt.Fprint(conn, get(byeField))
		go func() { // ends with the connection
			all, _ := io.ReadAll(conn)
			answers <- string(all)
		}()
	}
	ask()
	<-came
	ask()
	for deadline := time.Now().Add(20 * time.Second); g.table.ReadBreakers(time.Now())[0].Waiting == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nobody waits")
		}
	}
	if got := g.ask(get(byeField)); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "connection_limit_reached") || !strings.Contains(got, "Retry-After: 20\r\n") {
		t.Errorf("the third: %q", got)
	}
	close(release)
	for range 2 {
		if got := <-answers; !strings.HasSuffix(got, "ok") {
			t.Errorf("got %q", got)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		r := g.table.ReadBreakers(time.Now())[0]
		if r.Inside == 0 && r.Waiting == 0 && r.Waited == 1 && r.RefusedFull == 1 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("left are %+v", r)
		}
	}
}
