//go:build linux

package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pharos/bench/members"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// This file measures what clients see of each way to choose among HTTP members: ten of 20 ms and eight
// workers each, then with one of them ten times as slow, and then with one that dies.

const policyWork = "ten HTTP members, %d requests a second, %s, %s"

// Sizes of the service. 500 a second are an eighth of what ten members can carry, and more than one slow
// member can of its tenth.
const (
	policyMembers = 10
	policyWorkers = 8
	policyTakes   = 20 * time.Millisecond
	policyRate    = 500
	policySlower  = 10
	policyKeys    = 10_000
	policyLength  = 4 * time.Second
	policyVictim  = 3 // the member that is slow, or dies
)

// balancings are the ways to choose.
var balancings = []struct {
	name string
	peer.Balancing
}{
	{"round robin", peer.Balancing{Pharos: "policy: roundRobin", Nginx: "# round robin", HAProxy: "balance roundrobin"}},
	{"by weight, the slow one's a tenth", peer.Balancing{Pharos: "policy: weightedRoundRobin", Nginx: "# by weight", HAProxy: "balance roundrobin", Weights: []int{10, 10, 10, 1, 10, 10, 10, 10, 10, 10}}},
	{"least connections", peer.Balancing{Pharos: "policy: leastConnections", Nginx: "least_conn;", HAProxy: "balance leastconn"}},
	{"least response time", peer.Balancing{Pharos: "policy: leastResponseTime"}},
	{"hash of the path, bounded where that is known", peer.Balancing{
		Pharos: "policy: hash\n    hash: {key: path, by: ring, bound: 125}", Nginx: "hash $uri consistent;", HAProxy: "balance uri\n    hash-type consistent\n    hash-balance-factor 125",
	}},
	{"two choices", peer.Balancing{Pharos: "policy: twoChoices", Nginx: "random two least_conn;", HAProxy: "balance random(2)"}},
}

// Cases of the service.
const (
	allWell = "all well"
	oneSlow = "one ten times as slow"
	oneDies = "one dies"
)

// What is measured of policies.
var (
	policyHalf   = table.Metric{Name: "ms from when it was due, half of the responses", Digits: 1}
	policyMost   = table.Metric{Name: "ms from when it was due, 99 % of the responses", Digits: 1}
	policyEven   = table.Metric{Name: "requests of the busiest member beside its share", Digits: 2}
	policyFailed = table.Metric{Name: "failed of 10,000 requests", Digits: 1}
)

// policies measures all ways to choose.
func (a *arena) policies() ([]table.Row, error) {
	var rows []table.Row
	for _, b := range balancings {
		own, peers := peer.Balancers(a.pharos(), b.Balancing)
		programs, err := a.choose(own, peers...)
		if err != nil {
			return nil, err
		}
		more, err := a.balanced(b.name, b.Balancing, programs)
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// balanced measures one way.
func (a *arena) balanced(name string, b peer.Balancing, programs []peer.Program) ([]table.Row, error) {
	m, err := members.Start(policyMembers, policyWorkers, policyTakes)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	per := map[string]*table.Samples{allWell: a.samples(), oneSlow: a.samples(), oneDies: a.samples()}
	if _, err := a.hold("policies: "+name, contest{
		programs: programs, rounds: min(a.o.rounds, 3), // what clients see differs by more than what rounds are for
		job:   peer.Job{Target: strings.Join(m.Addresses(), ",")},
		ready: carriesOne,
		measure: func(s *peer.Server, _ *table.Samples) error {
			for _, c := range []string{allWell, oneSlow, oneDies} {
				if err := a.ask(s, m, c, b, per[c]); err != nil {
					return fmt.Errorf("%s: %w", c, err)
				}
			}
			return nil
		},
	}); err != nil {
		return nil, err
	}
	var rows []table.Row
	for _, c := range []string{allWell, oneSlow, oneDies} {
		for _, metric := range []table.Metric{policyHalf, policyMost, policyEven, policyFailed} {
			if metric == policyEven && c == oneDies {
				continue // who is dead has none
			}
			rows = append(rows, per[c].Row(fmt.Sprintf(policyWork, policyRate, name, c), metric))
		}
	}
	return rows, nil
}

// carriesOne reports an error unless the gateway carries a request.
func carriesOne(s *peer.Server) error {
	client := http.Client{Timeout: time.Second}
	r, err := client.Get("http://" + address(s).String() + "/item/0")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", r.StatusCode)
	}
	return nil
}

// ask has clients ask a gateway for a while in one case, and takes what they saw.
func (a *arena) ask(s *peer.Server, m *members.Members, c string, b peer.Balancing, samples *table.Samples) error {
	load := members.Load{Address: address(s).String(), Rate: policyRate, For: max(a.seconds(), policyLength), Keys: policyKeys}
	if a.o.quick {
		load.For = a.span(policyLength)
	}
	settle := load
	settle.For = min(load.For, a.span(time.Second))
	if c == oneSlow {
		m.Slow(policyVictim, policySlower)
		defer m.Slow(policyVictim, 1)
	}
	if _, err := members.Ask(a.ctx, settle); err != nil {
		return err
	}
	m.Served()
	if c == oneDies {
		dies := time.AfterFunc(load.For/4, func() { m.Kill(policyVictim) })
		defer m.Revive(policyVictim)
		defer dies.Stop()
	}
	o, err := members.Ask(a.ctx, load)
	if err != nil {
		return err
	}
	even := evenness(m.Served(), b.Weights)
	millis := func(q float64) float64 { return float64(o.Quantile(q).Microseconds()) / 1e3 }
	samples.Add(s.Name, policyHalf.Name, millis(0.5))
	samples.Add(s.Name, policyMost.Name, millis(0.99))
	samples.Add(s.Name, policyEven.Name, even)
	samples.Add(s.Name, policyFailed.Name, 1e4*float64(o.Failed)/float64(o.Asked))
	a.say("%-8s %-22s half within %5.1f ms, 99 %% within %6.1f, the busiest member %.2f of its share, %d of %d failed %s",
		s.Name, c, millis(0.5), millis(0.99), even, o.Failed, o.Asked, o.First)
	return nil
}

// evenness returns how many times its share by weight the busiest member has served.
func evenness(served, weights []int) float64 {
	if weights == nil {
		weights = slices.Repeat([]int{1}, len(served))
	}
	all, whole, most := 0, 0, 0.0
	for i, n := range served {
		all, whole = all+n, whole+weights[i]
	}
	for i, n := range served {
		most = max(most, float64(n)/float64(weights[i]))
	}
	return most * float64(whole) / float64(max(all, 1))
}
