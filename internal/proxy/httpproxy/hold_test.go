package httpproxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/route"
	"pharos/internal/proxy/served"
	"pharos/internal/traffic/pool"
)

// TestHold: a request waits for the first member, within bounds of number, memory and time;
// what is over them is told to come again (RFC 9110 §10.2.3), and clients that have gone
// leave room.
func TestHold(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")))
	p := g.table.PoolAt(0)
	full := p.View().Whole()
	empty := func() { p.Publish(pool.Compile(pool.Spec{Name: "web"}, nil, p.View())) }
	woken := make(chan struct{}, 64)
	spec := holding.Spec{Requests: 1, Octets: 1 << 20, Time: time.Minute, Wake: func() { woken <- struct{}{} }}
	hold := func() {
		table, errs := served.New([]route.Rule{{Pools: []route.Share{{Pool: "web", Weight: 1}}}}, g.table.AllPools(), nil, g.table)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		table.Hold(map[string]holding.Spec{"web": spec}, g.table)
		g.publish(table)
	}
	hold()
	empty()
	const request = "GET / HTTP/1.1\r\nHost: h\r\n" + byeField + "\r\n"
	ask := func() <-chan string {
		answer := make(chan string, 1)
		conn := g.dial()
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		go func() { // ends with the connection
			all, _ := io.ReadAll(conn)
			answer <- string(all)
		}()
		return answer
	}
	first := ask()
	<-woken
	if n := g.table.Waiting("web"); n != 1 {
		t.Errorf("%d wait, want 1", n)
	}
	if got := <-ask(); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Retry-After: 5\r\n") || !strings.Contains(got, "too many requests wait") {
		t.Errorf("one too many: %q", got)
	}
	p.Publish(pool.Compile(full, nil, p.View()))
	if got := <-first; !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("the one that waited: %q", got)
	}
	if n := g.table.Waiting("web"); n != 0 {
		t.Errorf("%d wait, want none", n)
	}

	empty()
	conn := g.dial()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	<-woken
	conn.Close()
	deadline, tick := time.After(time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for g.table.Waiting("web") > 0 {
		select {
		case <-deadline:
			t.Fatal("the client has gone, and its request still waits")
		case <-tick.C:
		}
	}

	spec.Time = 50 * time.Millisecond
	hold()
	if got := <-ask(); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "came up within 50ms") {
		t.Errorf("in vain: %q", got)
	}
	spec.Octets = 1
	hold()
	if got := <-ask(); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.Contains(got, "Retry-After") {
		t.Errorf("without memory: %q", got)
	}
	if c := g.table.Holds()[0]; c.Held != 3 || c.Refused != 2 || c.TimedOut != 1 || c.Octets != 0 {
		t.Errorf("counted: %+v", c)
	}
}

// A pool that scales from zero is woken, and its fallback is for when that takes too long: an
// empty pool that nobody wakes would stay so.
func TestHoldBeforeFallback(t *testing.T) {
	rules := []route.Rule{{Pools: []route.Share{{Pool: "web", Weight: 1}}, Fallback: "spare"}}
	table := routesOf(t, rules, map[string]string{"web": startOrigin(t, telling("web")), "canary": startOrigin(t, silent), "spare": startOrigin(t, telling("spare"))})
	g := startGateway(t, Config{})
	web := table.PoolAt(0)
	full := web.View().Whole()
	woken := make(chan struct{}, 64)
	empty := func(wait time.Duration) {
		table.Hold(map[string]holding.Spec{"web": {Requests: 1, Octets: 1 << 20, Time: wait, Wake: func() { woken <- struct{}{} }}}, nil)
		web.Publish(pool.Compile(pool.Spec{Name: "web"}, nil, web.View()))
	}
	empty(20 * time.Second)
	g.publish(table)
	answer := make(chan string, 1)
	go func() { answer <- g.ask(get(byeField)) }() // ends with its connection
	<-woken
	web.Publish(pool.Compile(full, nil, web.View()))
	if got := <-answer; !strings.Contains(got, "web: GET / ") {
		t.Errorf("a request that waited for the first member: %q", got)
	}
	empty(10 * time.Millisecond)
	if got := g.ask(get(byeField)); !strings.Contains(got, "spare: GET / ") {
		t.Errorf("a request that has waited in vain: %q", got)
	}
	if len(woken) == 0 {
		t.Error("the pool was not woken")
	}
}
