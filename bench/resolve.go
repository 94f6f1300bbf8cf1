//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"pharos/bench/peer"
	"pharos/bench/table"
	"pharos/bench/tree"
)

// Works of resolvers that have to ask: on a small internet of ours on loopback
// addresses (package tree), which shares the load's processor.
const (
	coldWork  = "cold resolution, three levels, 20 ms"
	floodWork = "20,000 random names a second beside honest clients"
	bulkWork  = "bulk resolution, three levels, 20 ms"
	cutWork   = "all servers cut, names seen before"
)

var (
	cpuPerQuestion = table.Metric{Name: "CPU us per question", Digits: 1}
	namesPerSecond = table.Metric{Name: "names per second of CPU time", More: true}
	medianTook     = table.Metric{Name: "median ms", Digits: 1}
	slowestTook    = table.Metric{Name: "99th percentile ms", Digits: 1}
	idleTook       = table.Metric{Name: "99th percentile ms, idle", Digits: 1}
	success        = table.Metric{Name: "answered %", More: true, Digits: 2}
	toVictim       = table.Metric{Name: "queries a second to the attacked zone"}
)

// resolvers measures each resolver on a tree of its own: none finds what another has
// left behind.
func (a *arena) resolvers(work string, rounds int, cfg tree.Config, measure func(*tree.Tree, *peer.Server, *table.Samples) error) (*table.Samples, error) {
	programs, err := a.choose(peer.PharosResolver(a.pharos()), peer.Unbound())
	if err != nil {
		return nil, err
	}
	t, err := tree.Serve(cfg)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	return a.hold(work, contest{
		programs: programs, rounds: rounds, job: peer.Job{Target: t.Root().String()},
		start: func() { t.Cut(false) },
		ready: func(s *peer.Server) error {
			told, err := tree.Ask(a.ctx, tree.Load{Server: address(s), First: 1 << 23, Count: 1, Domains: 7, Workers: 1})
			if err == nil && told.Good != 1 {
				err = fmt.Errorf("not ready: %s", told.First)
			}
			return err
		},
		measure: func(s *peer.Server, samples *table.Samples) error { return measure(t, s, samples) },
	})
}

// fewer returns n, or a hundredth of it in a quick run.
func (a *arena) fewer(n int) int {
	if a.o.quick {
		return max(1, n/100)
	}
	return n
}

// askAll has all of a load asked of a resolver, of which one in a thousand may go wrong,
// and returns what the clients were told and the CPU time that it took.
func (a *arena) askAll(s *peer.Server, l tree.Load) (*tree.Told, time.Duration, error) {
	l.Server = address(s)
	before, err := s.CPU()
	if err != nil {
		return nil, 0, err
	}
	told, err := tree.Ask(a.ctx, l)
	if err != nil {
		return nil, 0, err
	}
	after, err := s.CPU()
	if err != nil {
		return nil, 0, err
	}
	if told.Success() < 0.999 {
		return nil, 0, fmt.Errorf("%d wrong and %d lost of %d, the first: %s", told.Wrong, told.Lost, l.Count, told.First)
	}
	return told, after - before, nil
}

// cold has 100,000 names resolved that nobody has asked for, in 20,000 domains.
func (a *arena) cold() ([]table.Row, error) {
	count, domains := a.fewer(100_000), a.fewer(20_000)
	rounds := min(a.o.rounds, 3)
	samples, err := a.resolvers("cold", rounds, tree.Config{RTT: 20 * time.Millisecond, TTL: 86400}, func(_ *tree.Tree, s *peer.Server, samples *table.Samples) error {
		begin := time.Now()
		told, spent, err := a.askAll(s, tree.Load{Count: count, Domains: domains, Workers: 100})
		if err != nil {
			return err
		}
		micros := float64(spent) / 1e3 / float64(count)
		samples.Add(s.Name, cpuPerQuestion.Name, micros)
		samples.Add(s.Name, medianTook.Name, told.Quantile(500).Seconds()*1e3)
		samples.Add(s.Name, slowestTook.Name, told.Quantile(990).Seconds()*1e3)
		a.say("%-9s %6.1f us per question, median %v, p99 %v, %d in %v", s.Name, micros, told.Quantile(500), told.Quantile(990), count, time.Since(begin).Round(time.Millisecond))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []table.Row{samples.Row(coldWork, cpuPerQuestion), samples.Row(coldWork, medianTook), samples.Row(coldWork, slowestTook)}, nil
}

// bulk has `pharos resolve` resolve a list of names, and Unbound the same names for
// clients that keep it busy, who cost it nothing here.
func (a *arena) bulk() ([]table.Row, error) {
	count, domains := a.fewer(100_000), a.fewer(20_000)
	samples := a.samples()
	unbound, err := a.resolvers("bulk", min(a.o.rounds, 3), tree.Config{RTT: 20 * time.Millisecond, TTL: 86400}, func(t *tree.Tree, s *peer.Server, _ *table.Samples) error {
		if s.Name == table.Own { // the server is not what is measured
			return a.bulkOwn(t.Root(), count, domains, samples)
		}
		_, spent, err := a.askAll(s, tree.Load{Count: count, Domains: domains, Workers: bulkAtOnce})
		if err != nil {
			return err
		}
		samples.Add(s.Name, namesPerSecond.Name, float64(count)/spent.Seconds())
		a.say("%-9s %6.0f names per second of CPU time", s.Name, float64(count)/spent.Seconds())
		return nil
	})
	if err != nil || unbound == nil {
		return nil, err
	}
	return []table.Row{samples.Row(bulkWork, namesPerSecond)}, nil
}

// bulkAtOnce is how many questions are under way, as `pharos resolve` has it.
const bulkAtOnce = 500

// bulkOwn runs the command and checks what it wrote.
func (a *arena) bulkOwn(root netip.AddrPort, count, domains int, samples *table.Samples) error {
	dir, err := os.MkdirTemp(a.dir, "bulk-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var names strings.Builder
	for i := range count {
		names.WriteString(tree.Name(i, domains) + "\n")
	}
	hints := fmt.Sprintf(". 3600000 NS ns.root-bench.\nns.root-bench. 3600000 A %v\n", root.Addr())
	for file, text := range map[string]string{"names.txt": names.String(), "root.hints": hints} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			return err
		}
	}
	var on unix.CPUSet
	on.Set(serverCPU)
	_, cpu, err := runOn(on, dir, a.pharos(), []string{"resolve", "-f", "names.txt", "--hints", "root.hints", "--concurrency", fmt.Sprint(bulkAtOnce), "--out", "answers.jsonl"})
	if err != nil {
		return err
	}
	answers, err := os.ReadFile(filepath.Join(dir, "answers.jsonl"))
	if err != nil {
		return err
	}
	if got := bytes.Count(answers, []byte(`"NOERROR"`)); got < count*999/1000 {
		return fmt.Errorf("%d of %d names were resolved", got, count)
	}
	samples.Add(table.Own, namesPerSecond.Name, float64(count)/cpu.Seconds())
	a.say("%-9s %6.0f names per second of CPU time", table.Own, float64(count)/cpu.Seconds())
	return nil
}

// floodRate and floodNetworks are the flood's.
const (
	floodRate     = 20_000
	floodNetworks = 100
)

// flood has honest clients ask, first alone, then beside a flood of names in a zone
// whose servers take a second for each.
func (a *arena) flood() ([]table.Row, error) {
	// 50 clients, 10 questions a second each, for twelve seconds: one pause of the machine,
	// which holds a question of each client up, is less than 1 % of them then.
	honest := tree.Load{Count: a.fewer(600_000) / 100, Domains: 500, Workers: 50, Every: 100 * time.Millisecond}
	samples, err := a.resolvers("flood", min(a.o.rounds, 3), tree.Config{RTT: 10 * time.Millisecond, Slow: time.Second, TTL: 86400}, func(t *tree.Tree, s *peer.Server, samples *table.Samples) error {
		l := honest
		l.Server = address(s)
		l.Count = max(l.Count, l.Workers) // one for each in a quick run
		if _, err := tree.Ask(a.ctx, tree.Load{Server: l.Server, First: 1 << 22, Count: l.Domains, Domains: l.Domains, Workers: 50}); err != nil {
			return err // the delegations are known
		}
		a.say("%-9s knows the delegations; honest clients alone: %d questions", s.Name, l.Count)
		idle, err := tree.Ask(a.ctx, l)
		if err != nil {
			return err
		}
		a.say("%-9s alone: %.2f %%, p99 %v, slowest %v; now beside the flood", s.Name, 100*idle.Success(), idle.Quantile(990), idle.Quantile(1000))
		ctx, stop := context.WithCancel(a.ctx)
		defer stop()
		var flooding sync.WaitGroup
		sent, before, begin := 0, t.Slow(), time.Now()
		var floodErr error
		flooding.Go(func() { sent, floodErr = tree.Flood(ctx, l.Server, floodRate, floodNetworks) }) // ended by stop
		l.First = 1 << 21
		beside, err := tree.Ask(a.ctx, l)
		stop()
		flooding.Wait()
		if err := errors.Join(err, floodErr); err != nil {
			return err
		}
		rate := float64(t.Slow()-before) / time.Since(begin).Seconds()
		samples.Add(s.Name, success.Name, 100*beside.Success())
		samples.Add(s.Name, slowestTook.Name, beside.Quantile(990).Seconds()*1e3)
		samples.Add(s.Name, idleTook.Name, idle.Quantile(990).Seconds()*1e3)
		samples.Add(s.Name, toVictim.Name, rate)
		a.say("%-9s honest: %.2f %%, p99 %v (idle %v), slowest %v, %d of %d slower than 300 ms; flood of %.0f/s; %.0f/s to the attacked zone; %s", s.Name, 100*beside.Success(), beside.Quantile(990),
			idle.Quantile(990), beside.Quantile(1000), beside.SlowerThan(300*time.Millisecond), l.Count, float64(sent)/time.Since(begin).Seconds(), rate, beside.First)
		return nil
	})
	if err != nil {
		return nil, err
	}
	var rows []table.Row
	for _, m := range []table.Metric{success, slowestTook, idleTook, toVictim} {
		rows = append(rows, samples.Row(floodWork, m))
	}
	return rows, nil
}

// cutTTL is the TTL of the names that are asked for again after the cut.
const cutTTL = 2

// cut has names asked for, lets them expire, silences every server, and asks again.
func (a *arena) cut() ([]table.Row, error) {
	count, workers, ttl := 10_000, 20, cutTTL
	if a.o.quick {
		count, ttl = workers, 1 // one name for each: an answer without servers takes its time
	}
	samples, err := a.resolvers("cut", min(a.o.rounds, 3), tree.Config{TTL: uint32(ttl)}, func(t *tree.Tree, s *peer.Server, samples *table.Samples) error {
		l := tree.Load{Server: address(s), Count: count, Domains: 500, Workers: workers}
		if told, err := tree.Ask(a.ctx, l); err != nil {
			return err
		} else if told.Success() < 0.999 {
			return fmt.Errorf("filling the cache: %d of %d answered, the first problem: %s", told.Good, count, told.First)
		}
		select { // what was learnt expires
		case <-time.After(time.Duration(ttl+1) * time.Second):
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
		a.say("%-9s has %d names, which have expired; now every server is cut", s.Name, count)
		t.Cut(true)
		first := l
		first.Count, first.Workers = 5, 5
		begin := time.Now()
		if _, err := tree.Ask(a.ctx, first); err != nil {
			return err
		}
		select { // RFC 8767 §5: the patience of the first
		case <-time.After(time.Until(begin.Add(1800 * time.Millisecond))):
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
		told, err := tree.Ask(a.ctx, l)
		if err != nil {
			return err
		}
		samples.Add(s.Name, success.Name, 100*told.Success())
		samples.Add(s.Name, slowestTook.Name, told.Quantile(990).Seconds()*1e3)
		a.say("%-9s answered %.2f %%, median %v, p99 %v; %s", s.Name, 100*told.Success(), told.Quantile(500), told.Quantile(990), told.First)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []table.Row{samples.Row(cutWork, success), samples.Row(cutWork, slowestTook)}, nil
}
