//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pharos/bench/peer"
	"pharos/bench/table"
)

// crowdWork is the name of the work "routes".
const crowdWork = "gateway with %s routes to %s members in pools of 100"

const (
	crowdRoutes  = 100_000
	crowdMembers = 100_000
	crowdPool    = 100 // members
)

// What is measured of changes.
var (
	// as the operator sees it: with the start of the command
	afterApply = table.Metric{Name: "ms from a route's being applied to its being used"}
	// in the node alone, with what it does beside it until it is at rest
	appliedCPU = table.Metric{Name: "CPU ms of the node for a route that is applied", Digits: 1}
	listedCPU  = table.Metric{Name: "CPU ms for a member that a list adds or takes out", Digits: 1}
)

// routes measures what many routes and members take, and what changing one of them does.
func (a *arena) routes() ([]table.Row, error) {
	scale := 1
	if a.o.quick {
		scale = 50
	}
	program := pharosCrowd(a.pharos(), crowdRoutes/scale, crowdMembers/scale)
	samples := a.samples()
	for range min(a.o.rounds, 3) {
		if err := a.crowd(program, samples); err != nil {
			return nil, err
		}
	}
	work := fmt.Sprintf(crowdWork, thousands(crowdRoutes/scale), thousands(crowdMembers/scale))
	return []table.Row{samples.Row(work, memory), samples.Row(work, afterApply), samples.Row(work, appliedCPU), samples.Row(work, listedCPU)}, nil
}

// crowdRests is how long a node has to come to rest after its start and after a change: what reading took
// is given back behind it.
const crowdRests = 3 * time.Second

func (a *arena) crowd(program peer.Program, samples *table.Samples) error {
	s, err := a.start(a.measured, program, peer.Job{})
	if err != nil {
		return err
	}
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return routed(s, "host0.example", "/path0") }); err != nil {
		return err
	}
	if err := a.wait(a.span(crowdRests)); err != nil {
		return err
	}
	if err := resident(s, samples, memory.Name, 1<<20); err != nil {
		return err
	}
	if err := a.listMember(s, samples); err != nil {
		return err
	}
	const changes = 3
	idle, err := a.spent(s, func(context.Context) error { return a.wait(a.span(crowdRests)) })
	if err != nil {
		return err
	}
	began := time.Now()
	busy, err := a.spent(s, func(context.Context) error {
		for i := range changes {
			if err := a.applyRoute(s, fmt.Sprintf("new%d.example", i), samples); err != nil {
				return err
			}
		}
		return a.wait(max(0, a.span(crowdRests)-time.Since(began)))
	})
	if err != nil {
		return err
	}
	samples.Add(s.Name, appliedCPU.Name, max(0, busy-idle).Seconds()*1e3/changes)
	return nil
}

func (a *arena) wait(d time.Duration) error {
	select {
	case <-a.ctx.Done():
		return a.ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// routed reports an error unless there is a route for a host and path; where it leads to, nobody listens.
func routed(s *peer.Server, host, path string) error {
	request, err := http.NewRequest(http.MethodGet, "http://"+address(s).String()+path, nil)
	if err != nil {
		return err
	}
	request.Host = host
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Do(request)
	if err != nil {
		return err
	}
	r.Body.Close()
	if r.StatusCode != http.StatusBadGateway && r.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("status %d for %s%s, want that of a member that is not there", r.StatusCode, host, path)
	}
	return nil
}

// applyRoute adds a route by the command line, whose start is measured with it. It ends when the route is used.
func (a *arena) applyRoute(s *peer.Server, host string, samples *table.Samples) error {
	cmd := exec.CommandContext(a.ctx, a.pharos(), "apply", "-f", "-", "--admin", fmt.Sprintf("127.0.0.1:%d", s.Admin))
	cmd.Stdin = strings.NewReader("routes: [{host: " + host + ", path: /x, pool: pool0}]\n")
	began := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pharos apply: %w\n%s", err, out)
	}
	took := time.Since(began)
	samples.Add(s.Name, afterApply.Name, float64(took.Milliseconds()))
	a.say("%-9s a route is used %v after it was applied", s.Name, took.Round(time.Millisecond))
	return routed(s, host, "/x")
}

// listed is the file of a list that one pool has its members from.
const listed = "members.json"

// listMember has a list get longer and shorter by one.
func (a *arena) listMember(s *peer.Server, samples *table.Samples) error {
	changed := func() int {
		text, _ := os.ReadFile(filepath.Join(s.Dir, "output.log"))
		return bytes.Count(text, []byte("members discovered"))
	}
	for n := crowdPool - 3; n < crowdPool; n++ {
		idle, err := a.spent(s, func(context.Context) error { return a.wait(a.span(crowdRests)) })
		if err != nil {
			return err
		}
		was := changed()
		busy, err := a.spent(s, func(ctx context.Context) error {
			began := time.Now()
			if err := replaceFile(filepath.Join(s.Dir, listed), crowdList(n)); err != nil {
				return err
			}
			for changed() == was {
				if time.Since(began) > time.Minute {
					return fmt.Errorf("the list of %d members is not taken over", n)
				}
				if err := a.wait(50 * time.Millisecond); err != nil {
					return err
				}
			}
			return a.wait(max(0, a.span(crowdRests)-time.Since(began)))
		})
		if err != nil {
			return err
		}
		millis := max(0, busy-idle).Seconds() * 1e3
		samples.Add(s.Name, listedCPU.Name, millis)
		a.say("%-9s %.1f ms of CPU time for one member (at rest %.1f ms)", s.Name, millis, idle.Seconds()*1e3)
	}
	return nil
}

// spent returns the CPU time that a server takes while f runs.
func (a *arena) spent(s *peer.Server, f func(context.Context) error) (time.Duration, error) {
	before, err := s.CPU()
	if err != nil {
		return 0, err
	}
	if err := f(a.ctx); err != nil {
		return 0, err
	}
	after, err := s.CPU()
	return after - before, err
}

func replaceFile(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// crowdList is a list of n members in the form of Prometheus.
func crowdList(n int) string {
	var b strings.Builder
	b.WriteString(`[{"targets": [`)
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `"127.255.0.%d:9"`, i+1)
	}
	b.WriteString("]}]\n")
	return b.String()
}

// pharosCrowd is Pharos with many routes to many members, none of which is there, and one pool that has its
// members from a list.
func pharosCrowd(binary string, routes, members int) peer.Program {
	p := peer.Pharos(binary, func(j peer.Job) string {
		var b strings.Builder
		fmt.Fprintf(&b, "data: data\nlog: {level: info}\nlisten: {dns: [], http: [\"127.0.0.1:%d\"], admin: \"127.0.0.1:%d\"}\nresolver: {allow: []}\npools:\n"+
			"  - {name: listed, check: {type: none}, discover: [{type: file, file: %s, networks: [127.0.0.0/8]}]}\n", j.Port, j.Admin, listed)
		for i := range members {
			if i%crowdPool == 0 {
				fmt.Fprintf(&b, "  - name: pool%d\n    check: {type: none}\n    members:\n", i/crowdPool)
			}
			fmt.Fprintf(&b, "      - {name: m%d, address: \"127.%d.%d.%d:9\"}\n", i, 1+i>>16, i>>8&255, i&255)
		}
		b.WriteString("routes:\n  - {host: listed.example, pool: listed}\n")
		for i := range routes - 1 {
			fmt.Fprintf(&b, "  - {host: host%d.example, path: /path%d, pool: pool%d}\n", i/10, i%10, i%(members/crowdPool))
		}
		return b.String()
	})
	files := p.Files
	p.Files = func(j peer.Job) (map[string]string, []string) {
		f, args := files(j)
		f[listed] = crowdList(crowdPool)
		return f, args
	}
	return p
}
