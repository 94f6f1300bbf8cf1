//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"pharos/bench/httpload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// contents are the sizes of what origin servers send: a word, a page, and what no buffer of a connection holds.
var contents = []struct {
	part   string
	name   string
	octets int
}{{"100", "100 octets", httpload.ShortContent}, {"1k", "1 KiB", 1 << 10}, {"64k", "64 KiB", 64 << 10}}

func gatewayWork(content string, connections int) string {
	return fmt.Sprintf("HTTP/1.1 keep-alive, %s, %d connections", content, connections)
}

// Names of the works that are of short contents alone.
const (
	idleWork = "idle keep-alive connection"
	paceWork = "HTTP/1.1 keep-alive, 100 octets, half of the most requests a second"
)

// Numbers of client connections: some that fit into every cache of a processor,
// more that do not, and those that only wait.
var gatewayConnections = []int{64, 512}

const idleConnections = 2000

// Metrics of gateways.
var (
	cpuPerRequest     = table.Metric{Name: "CPU us per request", Digits: 2}
	requestsPerSecond = table.Metric{Name: "requests per second", More: true}
	latencyHalf       = table.Metric{Name: "us, half of the responses"}
	latencyMost       = table.Metric{Name: "us, 99 % of the responses"}
	latencyLast       = table.Metric{Name: "us, 99.9 % of the responses"}
	perConnection     = table.Metric{Name: "memory octets per connection"}
)

// httpWorks are the parts of http.
func httpWorks() []part {
	var all []part
	for i, c := range contents {
		all = append(all, part{c.part, func(a *arena, programs []peer.Program) ([]table.Row, error) { return a.carried(programs, i) }})
	}
	return append(all, part{"half", (*arena).halfLoaded}, part{"tls", (*arena).secured}, part{"h3", (*arena).overQUIC})
}

// http measures gateways.
func (a *arena) http() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosGateway(a.pharos()), peer.Nginx(), peer.HAProxy())
	if err != nil {
		return nil, err
	}
	return a.parts(httpWorks(), programs)
}

// carried measures contents of one size and, with the shortest, connections that wait.
func (a *arena) carried(programs []peer.Program, size int) ([]table.Row, error) {
	content := contents[size]
	loop, err := httpload.Start(content.octets)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	requests := gatewayRequests()
	perWork := map[int]*table.Samples{}
	for _, n := range gatewayConnections {
		perWork[n] = a.samples()
	}
	samples, err := a.hold("http "+content.part, contest{
		programs: programs, rounds: a.o.rounds,
		job:   peer.Job{Target: loop.Origin().String()},
		ready: func(s *peer.Server) error { return a.fetches(loop, s, requests) },
		measure: func(s *peer.Server, samples *table.Samples) error {
			if size == 0 {
				if err := a.idle(loop, s, requests, samples); err != nil {
					return fmt.Errorf("idle connections: %w", err)
				}
			}
			for _, n := range gatewayConnections {
				if err := a.carry(loop, s, gatewayWork(content.name, n), n, requests, perWork[n]); err != nil {
					return fmt.Errorf("%d connections: %w", n, err)
				}
			}
			if err := a.logged(s); err != nil {
				return err
			}
			return resident(s, samples, memory.Name, 1<<20)
		},
	})
	if err != nil {
		return nil, err
	}
	var rows []table.Row
	for _, n := range gatewayConnections {
		for _, m := range []table.Metric{cpuPerRequest, requestsPerSecond, latencyHalf, latencyMost} {
			rows = append(rows, perWork[n].Row(gatewayWork(content.name, n), m))
		}
	}
	rows = append(rows, samples.Row(gatewayWork(content.name, gatewayConnections[1]), memory))
	if size == 0 {
		rows = append(rows, samples.Row(idleWork, perConnection))
	}
	return rows, nil
}

// halfLoaded measures how long the slowest take while a gateway has half of the requests that it can carry.
func (a *arena) halfLoaded(programs []peer.Program) ([]table.Row, error) {
	loop, err := httpload.Start(httpload.ShortContent)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	requests := gatewayRequests()
	samples, err := a.hold("http half", contest{
		programs: programs, rounds: a.o.rounds,
		job:   peer.Job{Target: loop.Origin().String()},
		ready: func(s *peer.Server) error { return a.fetches(loop, s, requests) },
		measure: func(s *peer.Server, samples *table.Samples) error {
			return a.atHalf(loop, s, requests, samples)
		},
	})
	if err != nil {
		return nil, err
	}
	var rows []table.Row
	for _, m := range []table.Metric{requestsPerSecond, latencyHalf, latencyMost, latencyLast} {
		rows = append(rows, samples.Row(paceWork, m))
	}
	return rows, nil
}

// Several paces of a gateway follow one another, each at half of what it has carried just before, and the
// median counts: a machine that stands still for a moment is none of theirs.
const pacesOfRound = 3

func (a *arena) atHalf(loop *httpload.Loop, s *peer.Server, requests [][]byte, samples *table.Samples) error {
	c, err := loop.Connect(address(s), gatewayConnections[0], requests)
	if err != nil {
		return err
	}
	defer c.Close()
	for range pacesOfRound {
		var rate float64
		var r httpload.Result
		if err := a.given(func(d time.Duration) error {
			most, err := c.Run(a.ctx, d/2)
			if err := errors.Join(err, most.Err()); err != nil {
				return err
			}
			rate = float64(most.Answered) / most.Elapsed.Seconds() / 2
			r, err = c.Pace(a.ctx, rate, d)
			return errors.Join(err, r.Err())
		}); err != nil {
			return err
		}
		samples.Add(s.Name, requestsPerSecond.Name, rate)
		samples.Add(s.Name, latencyHalf.Name, float64(r.Latency.Quantile(0.5).Microseconds()))
		samples.Add(s.Name, latencyMost.Name, float64(r.Latency.Quantile(0.99).Microseconds()))
		samples.Add(s.Name, latencyLast.Name, float64(r.Latency.Quantile(0.999).Microseconds()))
		a.say("%-9s %6.0f/s are half, of %d half within %v, 99 %% within %v, 99.9 %% within %v",
			s.Name, rate, r.Answered, r.Latency.Quantile(0.5), r.Latency.Quantile(0.99), r.Latency.Quantile(0.999))
	}
	return nil
}

// gatewayRequests go round hosts and paths.
func gatewayRequests() [][]byte {
	var requests [][]byte
	for i := range 1000 {
		requests = append(requests, httpload.Request(i, peer.Hosts[i%len(peer.Hosts)], peer.Paths[i/len(peer.Hosts)%len(peer.Paths)]))
	}
	return requests
}

// fetches reports an error unless the gateway carries a request.
func (a *arena) fetches(loop *httpload.Loop, s *peer.Server, requests [][]byte) error {
	c, err := loop.Connect(address(s), 1, requests)
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := c.Once(a.ctx)
	return errors.Join(err, r.Err())
}

// How connections come that are going to be idle: not all at once, as the buffers that are
// in use at one moment are not what idleness costs.
const (
	idleBatch = 100
	idleEach  = 100 * time.Millisecond
	// idleFor is how long the last ones wait before they are counted: a small part of the
	// minute or so for which gateways let them.
	idleFor = 5 * time.Second
)

// idle takes what connections occupy that have asked once and wait, beside those of a first
// batch, which has the server make what it has only once.
func (a *arena) idle(loop *httpload.Loop, s *peer.Server, requests [][]byte, samples *table.Samples) error {
	first, err := loop.Connect(address(s), idleBatch, requests)
	if err != nil {
		return err
	}
	defer first.Close()
	r, err := first.Once(a.ctx)
	if err := errors.Join(err, r.Err()); err != nil {
		return err
	}
	before, err := s.Memory()
	if err != nil {
		return err
	}
	pace := time.NewTicker(a.span(idleEach))
	defer pace.Stop()
	connections := idleConnections
	if a.o.quick {
		connections = 2 * idleBatch
	}
	for range connections / idleBatch {
		c, err := loop.Connect(address(s), idleBatch, requests)
		if err != nil {
			return err
		}
		defer c.Close()
		r, err := c.Once(a.ctx)
		if err := errors.Join(err, r.Err()); err != nil {
			return err
		}
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-pace.C:
		}
	}
	select {
	case <-a.ctx.Done():
		return a.ctx.Err()
	case <-time.After(a.span(idleFor)):
	}
	after, err := s.Memory()
	if err != nil {
		return err
	}
	samples.Add(s.Name, perConnection.Name, float64(after-before)/float64(connections))
	return nil
}

// loggedLeast is less than any gateway carries in a measurement.
const loggedLeast = 100

// logged reports an error unless the gateway has left lines about its requests, in
// a file of its own or, as HAProxy, on standard output.
func (a *arena) logged(s *peer.Server) error {
	least := loggedLeast
	if a.o.quick {
		least = 0 // it may have carried few
	}
	return s.Await(a.ctx, func() error { // they may be written some time after
		for _, name := range []string{"access.log", "output.log"} {
			text, err := os.ReadFile(filepath.Join(s.Dir, name))
			if err == nil && bytes.Count(text, []byte("/item/0")) > least {
				return nil
			}
		}
		return errors.New("it was to log every request and has not")
	})
}

// carry puts a gateway under load from n connections and takes CPU time per
// request, rate and response times.
func (a *arena) carry(loop *httpload.Loop, s *peer.Server, work string, n int, requests [][]byte, samples *table.Samples) error {
	c, err := loop.Connect(address(s), n, requests)
	if err != nil {
		return err
	}
	defer c.Close()
	r, spent, err := measure(a, s, c.Run)
	if err != nil {
		return err
	}
	micros := float64(spent) / 1e3 / float64(r.Answered)
	rate := float64(r.Answered) / r.Elapsed.Seconds()
	samples.Add(s.Name, cpuPerRequest.Name, micros)
	samples.Add(s.Name, requestsPerSecond.Name, rate)
	samples.Add(s.Name, latencyHalf.Name, float64(r.Latency.Quantile(0.5).Microseconds()))
	samples.Add(s.Name, latencyMost.Name, float64(r.Latency.Quantile(0.99).Microseconds()))
	a.say("%-9s %6.2f us per request, %6.0f/s, on its processor %3.0f %% of the time, %d connections, 99 %% within %v, %d of %d requests failed",
		s.Name, micros, rate, 100*spent.Seconds()/r.Elapsed.Seconds(), n, r.Latency.Quantile(0.99), r.Refused+r.Unanswered, r.Sent)
	return a.profile(s, work, func(d time.Duration) error {
		_, err := c.Run(a.ctx, d)
		return err
	})
}
