package demo

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// greyYAML has a pool whose check finds nothing: it asks whether a server answers.
const greyYAML = `pools:
  - name: shop
    check: {type: http, path: /health, interval: 500ms}
    passive: {window: 2s, minRequests: 10}
    members:
%ssteer: [{name: app.shop.example, pool: shop, ttl: 1s}]
routes: [{host: www.shop.example, pool: shop}]
`

// grey is an origin server that can be made slow without being down.
type grey struct {
	name, addr string
	server     *http.Server
	takes      atomic.Int64 // nanoseconds
}

// usual is how long a healthy origin of the tour takes; slow is how long one takes that is
// neither well nor down.
const (
	usual = 5 * time.Millisecond
	slow  = 200 * time.Millisecond
)

func newGrey(name string) (*grey, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &grey{name: name, addr: l.Addr().String()}
	g.takes.Store(int64(usual))
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "well") })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		timer := time.NewTimer(time.Duration(g.takes.Load()))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("X-Origin", g.name)
		fmt.Fprintln(w, g.name)
	})
	g.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go g.server.Serve(l) // ended by Close
	return g, nil
}

// GreyFailure is the tour of a member that is neither up nor down.
func GreyFailure(ctx context.Context, _ bool, out io.Writer) error {
	var origins []*grey
	members := ""
	for _, name := range []string{"a", "b", "c", "d"} {
		g, err := newGrey(name)
		if err != nil {
			return err
		}
		defer g.server.Close()
		origins = append(origins, g)
		members += fmt.Sprintf("      - {name: %s, address: %q}\n", name, g.addr)
	}
	return runEdge(ctx, out, fmt.Sprintf(greyYAML, members), func(e *edge) error { return e.greyFailure(origins[1]) })
}

func (e *edge) greyFailure(victim *grey) error {
	if err := e.until("all four origins are up", func() bool { return len(e.members("up")) == 4 }); err != nil {
		return err
	}
	e.say("Four origin servers behind a gateway, each of which takes %v for a request. A check asks\nfor /health, and all is well:", usual)
	c := e.send(8)
	defer c.stop()
	if err := e.more(c, 400); err != nil {
		return err
	}
	e.showPools()
	e.say("\n== Origin %s becomes slow: %v for a request. Its /health is as fast as ever ==\n", victim.name, slow)
	victim.takes.Store(int64(slow))
	began := time.Now()
	if err := e.until("origin "+victim.name+" performs poorly", func() bool { return len(e.members("poor")) == 1 }); err != nil {
		return err
	}
	e.say("After %s of traffic the gateway has seen it beside its peers: it is neither up nor down,\nbut poor. It keeps a small share, so that it can be seen to recover.", time.Since(began).Round(100*time.Millisecond))
	e.showPools()
	c.mu.Lock()
	before, all := c.by[victim.name], c.served.Load()
	c.mu.Unlock()
	if err := e.more(c, 2000); err != nil {
		return err
	}
	c.mu.Lock()
	got, of := c.by[victim.name]-before, c.served.Load()-all
	c.mu.Unlock()
	e.say("\nOf the next %d requests it got %d, where a fair share would be %d.", of, got, of/4)
	if int64(got) > of/8 {
		return fmt.Errorf("origin %s is poor, and got %d of %d requests", victim.name, got, of)
	}
	e.say("\n== It is mended ==\n")
	victim.takes.Store(int64(usual))
	began = time.Now()
	if err := e.until("origin "+victim.name+" is up again", func() bool { return len(e.members("up")) == 4 }); err != nil {
		return err
	}
	e.say("After %s it is up again, with its whole share.", time.Since(began).Round(100*time.Millisecond))
	e.showPools()
	if err := c.end(); err != nil {
		return err
	}
	e.say("\n%d requests, and 0 failed.", c.served.Load())
	return nil
}

// showPools prints what "pharos pools" says of the members.
func (e *edge) showPools() {
	e.command("pharos pools --admin %s", e.node.Admin())
	for _, m := range e.node.Pools()[0].Members {
		e.show(fmt.Sprintf("%s  %-5s share %3d %%  %s", m.Name, m.State, m.Share/10, m.Cause))
	}
}
