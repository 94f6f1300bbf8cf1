package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"pharos/internal/admin/api"
)

// autoscalingYAML has a pool that scales by processes, from none to four. Times are short,
// so that the tour is.
const autoscalingYAML = `pools:
  - name: shop
    check: {type: http, path: /health, interval: 1s, fastInterval: 50ms, fall: 3}
    scale:
      driver: process
      min: 0
      max: 4
      target: {connections: 2}
      measure: 2s
      outCoolDown: 1s
      inCoolDown: 2s
      warmUp: 1s
      stabilise: 3s
      linger: 1s
      process: {run: [%q, lab, origin, --takes, 40ms], ports: "%d-%d", host: edge.shop.example}
steer: [{name: app.shop.example, pool: shop, ttl: 1s, whenDown: fallback, fallback: {addresses: [127.0.0.1]}}]
routes: [{host: www.shop.example, pool: shop}]
`

// Autoscaling is the tour of a pool that gets members when there is something to do.
func Autoscaling(ctx context.Context, _ bool, out io.Writer) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	first, err := portsInARow(10)
	if err != nil {
		return err
	}
	return runEdge(ctx, out, fmt.Sprintf(autoscalingYAML, program, first, first+9), func(e *edge) error {
		for _, part := range []func() error{e.atZero, e.wakeUp, e.rise} {
			if err := part(); err != nil {
				return err
			}
		}
		return nil
	})
}

// portsInARow returns the first of ports that were free a moment ago.
func portsInARow(count int) (int, error) {
	for first := 30000 + os.Getpid()%1000; first < 32000; first += count {
		free := 0
		for port := first; port < first+count; port++ {
			l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
			if err != nil {
				break
			}
			l.Close()
			free++
		}
		if free == count {
			return first, nil
		}
	}
	return 0, fmt.Errorf("no %d ports in a row are free on the loopback", count)
}

func (e *edge) atZero() error {
	e.say("A gateway, and a pool that may have 0 to 4 members: processes of one program, 2 requests\nin flight for each. Nobody asks, so nobody is there:")
	if err := e.until("the pool scales", func() bool {
		s, err := e.scale("shop")
		return err == nil && len(s.Decisions) > 0
	}); err != nil {
		return err
	}
	e.command("pharos pool scale shop --admin %s", e.node.Admin())
	if err := e.showScale(); err != nil {
		return err
	}
	e.command("dig @127.0.0.1 -p %d app.shop.example", e.node.DNS()[0].Port())
	e.show(e.answer("app.shop.example.") + "    (the gateway's own address: there a request can wait)")
	return nil
}

func (e *edge) wakeUp() error {
	e.say("\n== The first request ==\n\nThe gateway holds it, a process is started, and when its check is good the request goes on.")
	e.command("curl -H 'Host: www.shop.example' http://%s/", e.node.HTTP()[0])
	began := time.Now()
	origin, err := e.get(&http.Client{Timeout: tourTimeout})
	if err != nil {
		return err
	}
	e.show(fmt.Sprintf("%s    (after %s)", origin, time.Since(began).Round(time.Millisecond)))
	return nil
}

func (e *edge) rise() error {
	e.say("\n== Load rises ==\n\nEight clients, one request after the other:")
	c := e.send(8)
	seen := 0
	err := e.until("at least three members serve", func() bool {
		if n := len(e.members("up")); n > seen {
			seen = n
			e.show(fmt.Sprintf("%d serve", n))
		}
		return seen >= 3
	})
	if err == nil {
		err = e.more(c, 200)
	}
	if err != nil {
		c.end()
		return err
	}
	e.command("pharos explain http://www.shop.example/ --admin %s", e.node.Admin())
	x, err := e.node.Explain(e.ctx, api.ExplainRequest{URL: "http://www.shop.example/", From: loopback})
	if err != nil {
		c.end()
		return err
	}
	for _, s := range x.Steps {
		if s.Stage == "scale" {
			e.show(append([]string{s.Text}, s.Detail...)...)
		}
	}
	e.say("\n== Load falls ==\n\nThe clients stop. Members take nothing new, finish what they have, and are stopped:")
	if err := c.end(); err != nil {
		return err
	}
	last := -1
	if err := e.until("no member is left", func() bool {
		if n := len(e.node.Pools()[0].Members); n != last {
			last = n
			e.show(fmt.Sprintf("%d left", n))
		}
		return last == 0
	}); err != nil {
		return err
	}
	e.say("\n%d requests, served by %d processes, and 0 failed.", c.served.Load(), len(c.by))
	return nil
}

// scale returns how a pool scales, with its last decision, as the admin listener says.
func (e *edge) scale(pool string) (s api.Scale, err error) {
	resp, err := http.Get("http://" + e.node.Admin() + "/api/pools/" + pool + "/scale?limit=1")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("status %s", resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// showScale prints what "pharos pool scale" says of the members.
func (e *edge) showScale() error {
	s, err := e.scale("shop")
	if err != nil {
		return err
	}
	e.show(s.Rules, fmt.Sprintf("%d members", len(s.Members)))
	for i := range s.Decisions {
		e.show(s.Decisions[i].Lines()...)
	}
	return nil
}
