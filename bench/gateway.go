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

func gatewayWork(connections int) string {
	return fmt.Sprintf("HTTP/1.1 keep-alive, 100 octets, %d connections", connections)
}

const idleWork = "idle keep-alive connection"

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
	perConnection     = table.Metric{Name: "memory octets per connection"}
)

// http measures gateways.
func (a *arena) http() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosGateway(a.pharos()), peer.Nginx(), peer.HAProxy())
	if err != nil {
		return nil, err
	}
	loop, err := httpload.Start()
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	requests := gatewayRequests()
	perWork := map[int]*table.Samples{}
	for _, n := range gatewayConnections {
		perWork[n] = &table.Samples{}
	}
	samples, err := a.hold("http", contest{
		programs: programs, rounds: a.o.rounds,
		job:   peer.Job{Target: loop.Origin().String()},
		ready: func(s *peer.Server) error { return a.fetches(loop, s, requests) },
		measure: func(s *peer.Server, samples *table.Samples) error {
			if err := a.idle(loop, s, requests, samples); err != nil {
				return fmt.Errorf("idle connections: %w", err)
			}
			for _, n := range gatewayConnections {
				if err := a.carry(loop, s, n, requests, perWork[n]); err != nil {
					return fmt.Errorf("%d connections: %w", n, err)
				}
			}
			if err := logged(s); err != nil {
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
			rows = append(rows, perWork[n].Row(gatewayWork(n), m))
		}
	}
	return append(rows, samples.Row(gatewayWork(gatewayConnections[1]), memory), samples.Row(idleWork, perConnection)), nil
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
)

// idle takes what connections occupy that have asked once and wait.
func (a *arena) idle(loop *httpload.Loop, s *peer.Server, requests [][]byte, samples *table.Samples) error {
	before, err := s.Memory()
	if err != nil {
		return err
	}
	pace := time.NewTicker(idleEach)
	defer pace.Stop()
	for range idleConnections / idleBatch {
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
	after, err := s.Memory()
	if err != nil {
		return err
	}
	samples.Add(s.Name, perConnection.Name, float64(after-before)/idleConnections)
	return nil
}

// logged reports an error unless the gateway has left lines about its requests, in
// a file of its own or, as HAProxy, on standard output.
func logged(s *peer.Server) error {
	for _, name := range []string{"access.log", "output.log"} {
		text, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err == nil && bytes.Count(text, []byte("/item/0")) > idleConnections {
			return nil
		}
	}
	return errors.New("it was to log every request and has not")
}

// carry puts a gateway under load from n connections and takes CPU time per
// request, rate and response times.
func (a *arena) carry(loop *httpload.Loop, s *peer.Server, n int, requests [][]byte, samples *table.Samples) error {
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
	return a.profile(s, gatewayWork(n), func(d time.Duration) error {
		_, err := c.Run(a.ctx, d)
		return err
	})
}
