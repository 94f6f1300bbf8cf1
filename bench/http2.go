//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"

	"pharos/bench/httpload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// http2Load is what h2load makes: connections with so many requests under way on each.
type http2Load struct {
	connections, streams int
	tls                  bool // TLS 1.3, which every server here speaks if it can
	http1                bool
}

// Few connections with many requests, as from a proxy in front; many with few, as from
// browsers. Over TLS all have to make their handshakes first, which are not measured.
var (
	http2Loads = []http2Load{{connections: 8, streams: 32}, {connections: 64, streams: 4}}
	tlsLoads   = []http2Load{{connections: 64, streams: 1, tls: true, http1: true}, {connections: 64, streams: 4, tls: true}}
)

func (l http2Load) work() string {
	switch {
	case l.http1:
		return fmt.Sprintf("HTTP/1.1 keep-alive over TLS 1.3, 100 octets, %d connections", l.connections)
	case l.tls:
		return fmt.Sprintf("HTTP/2 over TLS 1.3 to HTTP/1.1, 100 octets, %d connections with %d streams", l.connections, l.streams)
	}
	return fmt.Sprintf("HTTP/2 to HTTP/1.1, 100 octets, %d connections with %d streams", l.connections, l.streams)
}

// http2 measures gateways that speak HTTP/2 to clients and HTTP/1.1 to the origin server.
func (a *arena) http2() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosGateway(a.pharos()), peer.Nginx(), peer.HAProxy())
	if err != nil {
		return nil, err
	}
	return a.h2loaded(programs, http2Loads, peer.Job{HTTP2: true})
}

// secured measures gateways that clients speak to over TLS.
func (a *arena) secured(programs []peer.Program) ([]table.Row, error) {
	files, err := a.certificate()
	if err != nil {
		return nil, err
	}
	return a.h2loaded(programs, tlsLoads, peer.Job{TLS: &files})
}

// h2loaded measures gateways under loads of h2load.
func (a *arena) h2loaded(programs []peer.Program, loads []http2Load, job peer.Job) ([]table.Row, error) {
	program, err := exec.LookPath("h2load")
	if err != nil {
		return nil, fmt.Errorf("%w: install nghttp2-client (make peers)", err)
	}
	loop, err := httpload.Start(httpload.ShortContent)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	job.Target = loop.Origin().String()
	perWork := map[http2Load]*table.Samples{}
	for _, l := range loads {
		perWork[l] = a.samples()
	}
	_, err = a.hold("h2load", contest{
		programs: programs, rounds: a.o.rounds, job: job,
		ready: func(s *peer.Server) error {
			l := loads[0]
			l.connections, l.streams = 1, 1
			r, err := l.run(a.ctx, program, s, 0)
			return errors.Join(err, r.Err())
		},
		measure: func(s *peer.Server, _ *table.Samples) error {
			for _, l := range loads {
				if err := a.carry2(program, s, l, perWork[l]); err != nil {
					return fmt.Errorf("%s: %w", l.work(), err)
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	var rows []table.Row
	for _, l := range loads {
		for _, m := range []table.Metric{cpuPerRequest, requestsPerSecond} {
			rows = append(rows, perWork[l].Row(l.work(), m))
		}
	}
	return rows, nil
}

// carry2 puts a gateway under load and takes CPU time per request and rate.
func (a *arena) carry2(program string, s *peer.Server, l http2Load, samples *table.Samples) error {
	r, spent, err := measure(a, s, func(ctx context.Context, d time.Duration) (http2Result, error) {
		return l.run(ctx, program, s, d)
	})
	if err != nil {
		return err
	}
	micros := float64(spent) / 1e3 / float64(r.answered)
	rate := float64(r.answered) / r.elapsed.Seconds()
	samples.Add(s.Name, cpuPerRequest.Name, micros)
	samples.Add(s.Name, requestsPerSecond.Name, rate)
	a.say("%-9s %6.2f us per request, %6.0f/s, on its processor %3.0f %% of the time, %d connections with %d streams",
		s.Name, micros, rate, 100*spent.Seconds()/r.elapsed.Seconds(), l.connections, l.streams)
	return a.profile(s, l.work(), func(d time.Duration) error {
		_, err := l.run(a.ctx, program, s, d)
		return err
	})
}

// http2Result is what h2load has seen.
type http2Result struct {
	answered, failed int
	elapsed          time.Duration
}

func (r http2Result) Err() error {
	if r.failed > 0 || r.answered == 0 {
		return fmt.Errorf("%d requests were answered, %d were not", r.answered, r.failed)
	}
	return nil
}

// Of h2load's words. Requests that its end cuts off are neither.
var (
	h2loadAnswered = regexp.MustCompile(`requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus   = regexp.MustCompile(`status codes: (\d+) 2xx`)
)

// onceOver is how often run asks on each stream for less than half a second.
const onceOver = 10

// run asks for every route in turn: for d, in whole seconds, or for less than half a second
// on each stream a few times. (When its time is over before all of its connections are there,
// h2load never ends.)
func (l http2Load) run(ctx context.Context, program string, s *peer.Server, d time.Duration) (r http2Result, err error) {
	seconds := int(d.Round(time.Second) / time.Second)
	amount := []string{"-D", strconv.Itoa(seconds)}
	if seconds == 0 {
		amount = []string{"-n", strconv.Itoa(onceOver * l.connections * l.streams)}
	}
	args := append(amount, "-c", strconv.Itoa(l.connections), "-m", strconv.Itoa(l.streams), "-t", "1",
		"-H", "user-agent: pharos-bench", "-H", "accept: */*", "-H", "accept-encoding: gzip", "-H", ":authority: "+peer.Hosts[0])
	scheme := "http"
	if l.tls {
		scheme = "https"
	}
	if l.http1 {
		args = append(args, "--h1")
	}
	for _, path := range []string{"/item/0", "/api/item/1"} {
		args = append(args, scheme+"://"+address(s).String()+path)
	}
	ctx, cancel := context.WithTimeout(ctx, d+time.Minute)
	defer cancel()
	began := time.Now()
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	found := h2loadAnswered.FindStringSubmatch(string(out))
	status := h2loadStatus.FindStringSubmatch(string(out))
	if err != nil || found == nil || status == nil {
		return r, fmt.Errorf("h2load: %w\n%s", err, out)
	}
	if r.elapsed = time.Duration(seconds) * time.Second; seconds == 0 {
		r.elapsed = time.Since(began)
	}
	r.answered, _ = strconv.Atoi(status[1]) // the expression has found digits
	succeeded, _ := strconv.Atoi(found[1])
	r.failed = succeeded - r.answered
	return r, nil
}
