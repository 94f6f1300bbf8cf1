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

// http2Load is connections of HTTP/2 with so many requests under way on each.
type http2Load struct{ connections, streams int }

// Few connections with many requests, as from a proxy in front; many with few, as from
// browsers.
var http2Loads = []http2Load{{8, 32}, {64, 4}}

func (l http2Load) work() string {
	return fmt.Sprintf("HTTP/2 to HTTP/1.1, 100 octets, %d connections with %d streams", l.connections, l.streams)
}

// http2 measures gateways that speak HTTP/2 to clients and HTTP/1.1 to the origin server,
// under the load of h2load.
func (a *arena) http2() ([]table.Row, error) {
	program, err := exec.LookPath("h2load")
	if err != nil {
		return nil, fmt.Errorf("%w: install nghttp2-client (make peers)", err)
	}
	programs, err := a.choose(peer.PharosGateway(a.pharos()), peer.Nginx(), peer.HAProxy())
	if err != nil {
		return nil, err
	}
	loop, err := httpload.Start()
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	perWork := map[http2Load]*table.Samples{}
	for _, l := range http2Loads {
		perWork[l] = &table.Samples{}
	}
	_, err = a.hold("http2", contest{
		programs: programs, rounds: a.o.rounds,
		job: peer.Job{Target: loop.Origin().String(), HTTP2: true},
		ready: func(s *peer.Server) error {
			r, err := http2Load{1, 1}.run(a.ctx, program, s, time.Second)
			return errors.Join(err, r.Err())
		},
		measure: func(s *peer.Server, _ *table.Samples) error {
			for _, l := range http2Loads {
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
	for _, l := range http2Loads {
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
	return nil
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

// run asks for every route in turn, for d and at least a second.
func (l http2Load) run(ctx context.Context, program string, s *peer.Server, d time.Duration) (r http2Result, err error) {
	seconds := max(1, int(d.Round(time.Second)/time.Second))
	args := []string{"-D", strconv.Itoa(seconds), "-c", strconv.Itoa(l.connections), "-m", strconv.Itoa(l.streams), "-t", "1",
		"-H", "user-agent: pharos-bench", "-H", "accept: */*", "-H", "accept-encoding: gzip", "-H", ":authority: " + peer.Hosts[0]}
	for _, path := range []string{"/item/0", "/api/item/1"} {
		args = append(args, "http://"+address(s).String()+path)
	}
	out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
	found := h2loadAnswered.FindStringSubmatch(string(out))
	status := h2loadStatus.FindStringSubmatch(string(out))
	if err != nil || found == nil || status == nil {
		return r, fmt.Errorf("h2load: %w\n%s", err, out)
	}
	r.elapsed = time.Duration(seconds) * time.Second
	r.answered, _ = strconv.Atoi(status[1]) // the expression has found digits
	succeeded, _ := strconv.Atoi(found[1])
	r.failed = succeeded - r.answered
	return r, nil
}
