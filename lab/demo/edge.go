package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/node"
)

// edge is one node with a pool, for the tours that need no more, and what tells of it.
type edge struct {
	ctx    context.Context
	out    io.Writer
	folder string
	node   *node.Node
}

// runEdge starts a node with a configuration, runs a tour of it, and ends both. FOLDER in
// the configuration is where the node keeps its things.
func runEdge(ctx context.Context, out io.Writer, yaml string, take func(*edge) error) error {
	began := time.Now()
	folder, err := os.MkdirTemp("", "pharos-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	config := filepath.Join(folder, "pharos.yaml")
	zone := "@ 3600 SOA ns1 hostmaster 1 3600 600 86400 5\n@ NS ns1\nns1 A 127.0.0.1\nedge A 127.0.0.1\n"
	if err := errors.Join(os.WriteFile(filepath.Join(folder, "shop.example.zone"), []byte(zone), 0o600),
		os.WriteFile(config, []byte("data: data\nlisten: {dns: [\"127.0.0.1:0\"], http: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\nzones: [{name: shop.example, file: shop.example.zone}]\n"+yaml), 0o600)); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(folder, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	n, err := node.New(node.Options{Config: config, Log: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		return err
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- n.Run(running, nil) }()
	e := &edge{ctx: ctx, out: out, folder: folder, node: n}
	if err = e.until("the node has begun", func() bool { return len(n.Status().Problems) == 0 && n.Status().Store != "not open" }); err == nil {
		err = take(e)
	}
	stop()
	err = errors.Join(err, <-ended)
	if err == nil {
		e.say("\nThe tour took %s, and all went as it should.", time.Since(began).Round(time.Millisecond))
	}
	return err
}

func (e *edge) say(format string, args ...any) { fmt.Fprintf(e.out, format+"\n", args...) }

// command shows what would be typed to see what follows.
func (e *edge) command(format string, args ...any) { e.say("\n  $ "+format, args...) }

// show prints lines a little to the right.
func (e *edge) show(lines ...string) {
	for _, l := range lines {
		e.say("    %s", l)
	}
}

// tourTimeout bounds each wait of a tour of an edge: processes start in it, on machines
// that have other things to do.
const tourTimeout = time.Minute

// until waits for a condition, looking often.
func (e *edge) until(what string, holds func() bool) error {
	deadline, tick := time.After(tourTimeout), time.NewTicker(pollInterval)
	defer tick.Stop()
	for !holds() {
		select {
		case <-e.ctx.Done():
			return e.ctx.Err()
		case <-deadline:
			return fmt.Errorf("waited %v in vain until %s", tourTimeout, what)
		case <-tick.C:
		}
	}
	return nil
}

// answer returns the addresses that DNS answers a name with.
func (e *edge) answer(name string) string {
	addrs, err := lookup(e.ctx, e.node.DNS()[0], name)
	if err != nil {
		return err.Error()
	}
	return strings.Trim(fmt.Sprint(addrs), "[]")
}

// members returns those of the first pool that are in a state.
func (e *edge) members(state string) (all []api.Member) {
	for _, m := range e.node.Pools()[0].Members {
		if m.State == state {
			all = append(all, m)
		}
	}
	return all
}

// crowd is clients that send one request after the other through the gateway.
type crowd struct {
	stop    context.CancelFunc
	clients sync.WaitGroup
	served  atomic.Int64
	mu      sync.Mutex
	by      map[string]int // origins
	failed  []string
}

// get asks the gateway for the shop, and returns who has served it.
func (e *edge) get(client *http.Client) (origin string, err error) {
	req, err := http.NewRequestWithContext(e.ctx, http.MethodGet, "http://"+e.node.HTTP()[0]+"/", nil)
	if err != nil {
		return "", err
	}
	req.Host = "www.shop.example"
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %s", resp.Status)
	}
	return resp.Header.Get("X-Origin"), nil
}

// send starts a crowd of so many clients. Each waits for its last request when it ends.
func (e *edge) send(clients int) *crowd {
	c := &crowd{by: map[string]int{}}
	var ctx context.Context
	ctx, c.stop = context.WithCancel(e.ctx)
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	client := &http.Client{Transport: transport, Timeout: tourTimeout}
	for range clients {
		c.clients.Go(func() {
			for ctx.Err() == nil {
				origin, err := e.get(client)
				c.mu.Lock()
				if err != nil {
					c.failed = append(c.failed, err.Error())
				}
				c.by[origin]++
				c.mu.Unlock()
				c.served.Add(1)
			}
		})
	}
	context.AfterFunc(ctx, transport.CloseIdleConnections)
	return c
}

// end ends a crowd; the error says what has failed.
func (c *crowd) end() error {
	c.stop()
	c.clients.Wait()
	if len(c.failed) > 0 {
		return fmt.Errorf("%d requests failed, the first with: %s", len(c.failed), c.failed[0])
	}
	return nil
}

// more waits until so many more requests were served.
func (e *edge) more(c *crowd, n int64) error {
	enough := c.served.Load() + n
	return e.until(fmt.Sprintf("%d more requests were served", n), func() bool { return c.served.Load() >= enough })
}

var loopback = netip.MustParseAddr("127.0.0.1")
