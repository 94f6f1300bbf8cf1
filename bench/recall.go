//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

const recalled = "%s cached RRsets, killed and started again"

var untilRecalled = table.Metric{Name: "s until 98 % of a skewed load are answered from the cache", Digits: 2}

const (
	recalledHosts = 125_000 // with two RRsets each
	recalledPart  = 0.98
	// recallWindow is how many questions the part is taken of. What is not in the cache
	// is answered by nobody, and given up after recallPatience.
	recallWindow   = 2000
	recallPatience = 50 * time.Millisecond
	// recallSkew is the exponent of the load (Zipf's): of 250,000 names a tenth gets nine
	// tenths of the questions, as is seen by resolvers.
	recallSkew = 1.1
)

// recall measures how soon a resolver that was killed answers from what it had learnt,
// when nobody can be asked.
func (a *arena) recall() ([]table.Row, error) {
	zone := corpus.Zone{Origin: "bench.", Shape: corpus.Shape{Hosts: a.fewer(recalledHosts)}}
	queries := zone.Every(1)
	samples := a.samples()
	if err := a.recallOf(peer.Keeping(peer.PharosResolver(a.pharos())), zone, queries, samples); err != nil {
		return nil, fmt.Errorf("recall: %w", err)
	}
	return []table.Row{samples.Row(fmt.Sprintf(recalled, thousands(len(queries))), untilRecalled)}, nil
}

func (a *arena) recallOf(p peer.Program, zone corpus.Zone, queries []dnsload.Query, samples *table.Samples) error {
	origin, err := a.origin(zone)
	if err != nil {
		return err
	}
	defer origin.Stop()
	job, err := a.job(p, peer.Job{Target: address(origin).String()})
	if err != nil {
		return err
	}
	defer os.RemoveAll(job.Dir)
	if err := a.learn(p, job, queries); err != nil {
		return err
	}
	origin.Stop()
	for range min(a.o.rounds, 3) {
		// The file is whole by now: whoever is killed leaves it as it is.
		s, err := a.measured.Start(p, job)
		if err != nil {
			return err
		}
		_ = syscall.Kill(-s.PID(), syscall.SIGKILL)
		s.Stop()
		took, err := a.recallIn(p, job, queries)
		if err != nil {
			return err
		}
		samples.Add(p.Name, untilRecalled.Name, took.Seconds())
	}
	return nil
}

// learn fills the cache of a server, asks for some of it again, and ends the server.
func (a *arena) learn(p peer.Program, job peer.Job, queries []dnsload.Query) error {
	s, err := a.measured.Start(p, job)
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return asks(queries[0])(s) }); err != nil {
		return err
	}
	if err := a.fill(s, queries); err != nil {
		return err
	}
	return a.fill(s, skewed(queries, len(queries)))
}

// recallIn returns how long after its start a server answers as much from its cache as
// it has to.
func (a *arena) recallIn(p peer.Program, job peer.Job, queries []dnsload.Query) (time.Duration, error) {
	began := time.Now()
	s, err := a.measured.Start(p, job)
	if err != nil {
		return 0, err
	}
	defer s.Stop()
	g, err := dnsload.New(dnsload.Config{Server: address(s), Queries: skewed(queries, recallWindow), Flows: 1, Window: 64, Timeout: recallPatience})
	if err != nil {
		return 0, err
	}
	defer g.Close()
	for {
		r, err := g.Each(a.ctx)
		at := time.Since(began)
		switch part := float64(r.Answered-r.Wrong) / float64(max(r.Sent, 1)); {
		case a.ctx.Err() != nil:
			return 0, a.ctx.Err()
		case err == nil && part >= recalledPart:
			a.say("%-9s answers %.1f %% from its cache %.2f s after its start", p.Name, part*100, at.Seconds())
			return at, nil
		case at > time.Minute:
			return 0, fmt.Errorf("%.1f %% of the questions are answered a minute after the start: %v", part*100, err)
		}
	}
}

// skewed returns n of the questions, a few of them again and again.
func skewed(queries []dnsload.Query, n int) []dnsload.Query {
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), recallSkew, 1, uint64(len(queries)-1))
	out := make([]dnsload.Query, n)
	for i := range out {
		out[i] = queries[zipf.Uint64()]
	}
	return out
}
