//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/quic-go/quic-go/http3"

	"pharos/bench/httpload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// Over HTTP/3 a few connections have several requests under way each. No peer has QUIC as Debian has it, so Pharos
// is measured alone. The load is a plain client that takes more than what it loads: only the CPU time of the
// gateway counts, and it is not saturated.
const (
	http3Connections = 8
	http3Streams     = 8
)

func http3Work() string {
	return fmt.Sprintf("HTTP/3 to HTTP/1.1, 100 octets, %d connections with %d streams", http3Connections, http3Streams)
}

// overQUIC measures the gateway with clients of HTTP/3.
func (a *arena) overQUIC(programs []peer.Program) ([]table.Row, error) {
	files, err := a.certificate()
	if err != nil {
		return nil, err
	}
	loop, err := httpload.Start(httpload.ShortContent)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	samples, err := a.hold("http h3", contest{
		programs: programs[:1], rounds: a.o.rounds,
		job: peer.Job{Target: loop.Origin().String(), TLS: &files, HTTP3: true},
		ready: func(s *peer.Server) error {
			c := newHTTP3Clients(s, 1, 1)
			defer c.close()
			r, err := c.run(a.ctx, time.Millisecond)
			return errors.Join(err, r.Err())
		},
		measure: func(s *peer.Server, samples *table.Samples) error {
			c := newHTTP3Clients(s, http3Connections, http3Streams)
			defer c.close()
			r, spent, err := measure(a, s, c.run)
			if err != nil {
				return err
			}
			micros := float64(spent) / 1e3 / float64(r.answered)
			samples.Add(s.Name, cpuPerRequest.Name, micros)
			a.say("%-9s %6.2f us per request, %d requests over HTTP/3", s.Name, micros, r.answered)
			return a.profile(s, http3Work(), func(d time.Duration) error {
				_, err := c.run(a.ctx, d)
				return err
			})
		},
	})
	if err != nil {
		return nil, err
	}
	return []table.Row{samples.Row(http3Work(), cpuPerRequest)}, nil
}

// http3Clients are connections, each of one transport.
type http3Clients struct {
	url     string
	streams int
	each    []*http3.Transport
}

func newHTTP3Clients(s *peer.Server, connections, streams int) *http3Clients {
	c := &http3Clients{url: "https://" + address(s).String() + "/item/00000042", streams: streams}
	for range connections {
		// The certificate is the bench's own, of a name and not of an address.
		c.each = append(c.each, &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: peer.Hosts[0]}})
	}
	return c
}

func (c *http3Clients) close() {
	for _, t := range c.each {
		t.Close()
	}
}

// run asks on all connections for d, and at least once for each request that is under way at once.
func (c *http3Clients) run(ctx context.Context, d time.Duration) (http2Result, error) {
	var mu sync.Mutex
	var r http2Result
	var first error
	var all sync.WaitGroup
	began := time.Now()
	for _, t := range c.each {
		for range c.streams {
			all.Go(func() {
				for ctx.Err() == nil {
					err := c.ask(ctx, t)
					mu.Lock()
					if err == nil {
						r.answered++
					} else if r.failed++; first == nil {
						first = err
					}
					mu.Unlock()
					if err != nil || time.Since(began) >= d {
						return
					}
				}
			})
		}
	}
	all.Wait()
	r.elapsed = time.Since(began)
	return r, first
}

// askTimeout is longer than a busy machine holds a request up.
const askTimeout = 10 * time.Second

func (c *http3Clients) ask(ctx context.Context, t *http3.Transport) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url, nil)
	if err != nil {
		return err
	}
	request.Host = peer.Hosts[0]
	response, err := t.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK || len(content) != httpload.ShortContent || string(content[:8]) != "00000042" {
		return fmt.Errorf("status %d, content %.40q over HTTP/3, want 200 and that of request 42", response.StatusCode, content)
	}
	return nil
}
