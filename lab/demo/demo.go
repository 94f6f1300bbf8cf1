// Package demo is "pharos lab": an internet in one process, and a tour of it.
//
//	127.53.0.1 root   .2 example   .3 test   .4 blog.test and the reverse zone
//	127.53.0.5 edge: shop.example, the gateway, and the health of its pool
//	127.53.0.6 resolver
//	127.53.0.11 to 13 origin servers a, b, c
//
// Each server is a real node with a configuration file and zone files, and they
// meet over real sockets on the loopback: what the lab shows is what is shipped.
// It owns the plan of the world and the telling; it decides nothing.
//
// Entry point: Run.
//
// Concurrency: Run owns every goroutine it starts and returns when all have ended.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Run starts the lab, takes the tour, and stays up until ctx ends, or ends after
// the tour if once is set. The error says what did not go as it should.
func Run(ctx context.Context, once bool, out io.Writer) error {
	began := time.Now()
	w, err := newWorld()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var nodes sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	for name, n := range w.nodes {
		nodes.Go(func() {
			if err := n.Run(ctx, nil); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("lab node %s: %w", name, err))
			}
		})
	}
	w.introduce(out)
	t := &tour{w: w, out: out, ctx: ctx, url: "http://www.shop.example:" + w.gatewayPort() + "/"}
	err = t.run()
	if err == nil {
		fmt.Fprintf(out, "The tour took %s.\n", time.Since(began).Round(time.Millisecond))
	}
	if err == nil && !once {
		w.invite(out)
		<-ctx.Done()
	}
	stop()
	nodes.Wait()
	return errors.Join(err, errors.Join(failed...), w.close())
}

func (w *world) introduce(out io.Writer) {
	fmt.Fprintf(out, "An internet in one process. DNS is on port %d of each address:\n\n", w.port)
	for _, line := range []string{
		"127.53.0.1   root servers            zone .",
		"127.53.0.2   TLD example             zone example.",
		"127.53.0.3   TLD test                zone test.",
		"127.53.0.4   hosting                 zones blog.test. and 53.127.in-addr.arpa. (reverse)",
		"127.53.0.5   edge                    zone shop.example., gateway, health of pool web",
		"127.53.0.6   resolver                recursion for 127.0.0.0/8, from the root down",
	} {
		fmt.Fprintln(out, "  "+line)
	}
	for _, o := range w.origins {
		fmt.Fprintf(out, "  %-17s origin server %s\n", o.addr, o.name)
	}
}

// invite says what there is to try.
func (w *world) invite(out io.Writer) {
	gateway := w.edge().HTTP()[0]
	fmt.Fprintf(out, `
The lab stays up until Ctrl-C. Try:

  dig @%[1]s -p %[2]d www.blog.test              an alias into another zone, resolved from the root
  dig @%[3]s -p %[2]d app.shop.example           healthy origins only, from the pool
  dig @%[1]s -p %[2]d -x 127.53.0.11             the reverse zone
  pharos query www.blog.test --trace --hints %[4]s/named.root -p %[2]d
  curl -H 'Host: www.shop.example' http://%[5]s/
  pharos explain app.shop.example --admin %[6]s
  pharos pools --admin %[6]s
  http://%[6]s/                          the edge's page, in a browser
`, resolverAddr, w.port, edgeAddr, w.folder, gateway, w.edge().Admin())
}
