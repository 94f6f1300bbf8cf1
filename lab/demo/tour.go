package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// Limits of the tour: each wait ends with an error, not with patience.
const (
	waitTimeout  = 5 * time.Second
	pollInterval = 2 * time.Millisecond
	loadClients  = 4
	loadInterval = 5 * time.Millisecond // between two requests of one client: light load
)

// tour shows the world at work and returns an error if something did not go as it
// should.
type tour struct {
	w   *world
	out io.Writer
	url string
	ctx context.Context
}

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.out, format+"\n", args...) }

func (t *tour) run() error {
	for _, part := range []func() error{t.waitHealthy, t.prime, t.tenSteps, t.loseOrigin, t.explain} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// waitHealthy waits until every member has passed its checks.
func (t *tour) waitHealthy() error {
	return t.until("all three origins are up", func() bool {
		return !slices.ContainsFunc(t.w.edge().Pools()[0].Members, func(m api.Member) bool { return m.State != "up" })
	})
}

// prime lets the resolver ask the root for its servers first (RFC 9609), which it
// does once and not for any name.
func (t *tour) prime() error {
	a, err := t.w.resolver().Resolve(t.ctx, dnsname.Root, rdata.TypeNS)
	if err == nil && len(a.Answer) == 0 {
		err = fmt.Errorf("the root does not answer: %s %v", a.Rcode, a.Errors)
	}
	return err
}

// until waits for a condition, looking often.
func (t *tour) until(what string, holds func() bool) error {
	deadline, tick := time.After(waitTimeout), time.NewTicker(pollInterval)
	defer tick.Stop()
	for !holds() {
		select {
		case <-t.ctx.Done():
			return t.ctx.Err()
		case <-deadline:
			return fmt.Errorf("waited %v in vain until %s", waitTimeout, what)
		case <-tick.C:
		}
	}
	return nil
}

// tenSteps prints the steps of one lookup and the page at its end.
func (t *tour) tenSteps() error {
	const name = "www.shop.example."
	t.say("\n== One lookup, from nothing: %s ==\n", name)
	began := time.Now()
	answer, err := t.w.resolver().Resolve(t.ctx, dnsname.MustParse(name), rdata.TypeA)
	if err != nil {
		return err
	}
	resolved := time.Since(began)
	if len(answer.Answer) == 0 {
		return fmt.Errorf("%s was not resolved: %s %v", name, answer.Rcode, answer.Errors)
	}
	address, _ := netip.AddrFromSlice(answer.Answer[len(answer.Answer)-1].Data)
	number := 0
	step := func(at time.Duration, format string, args ...any) {
		number++
		t.say("%3d. %9s  %s", number, at.Round(time.Microsecond), fmt.Sprintf(format, args...))
	}
	step(0, "the client asks the resolver %s for the address of %s", t.w.resolverAddress(), name)
	for _, s := range lookupSteps(answer) {
		step(s.at, "%s", s.text)
	}
	step(resolved, "the resolver answers the client: %s has the address %s", name, address)
	asked := time.Now()
	origin, status, size, err := fetch(t.w.browser(), t.url)
	if err != nil {
		return fmt.Errorf("fetching %s: %w", t.url, err)
	}
	if status != http.StatusOK || origin == "" {
		return fmt.Errorf("fetching %s: status %d from origin %q", t.url, status, origin)
	}
	took := time.Since(asked)
	step(resolved, "the client sends GET %s to the gateway at that address", t.url)
	step(resolved+took, "the gateway carries it to origin %s; %d, %d octets, in %s", origin, status, size, took.Round(time.Microsecond))
	if number != 10 {
		return fmt.Errorf("the lookup took %d steps, and should take 10", number)
	}
	return nil
}

// timed is a line with its time since the question.
type timed struct {
	at   time.Duration
	text string
}

// lookupSteps tells the questions and replies on the way to an answer. What the
// resolver asks for its own sake, such as the root for its servers, is left out.
func lookupSteps(a iterate.Answer) []timed {
	var steps []timed
	for _, s := range a.Trace {
		if s.Depth > 0 {
			continue
		}
		switch s.Kind {
		case iterate.StepSent:
			steps = append(steps, timed{s.At, fmt.Sprintf("the resolver asks %s (%s), a server of zone %s", s.ServerName, s.Server.Addr(), s.Zone)})
		case iterate.StepReferral:
			steps = append(steps, timed{s.At, fmt.Sprintf("it does not know, but refers to the servers of %s (%s)", s.Target, s.RTT.Round(time.Microsecond))})
		case iterate.StepAnswer:
			steps = append(steps, timed{s.At, fmt.Sprintf("it has the answer (%s)", s.RTT.Round(time.Microsecond))})
		}
	}
	return steps
}

// load is light traffic on the gateway.
type load struct {
	mu       sync.Mutex
	served   map[string]int       // by origin
	lastSeen map[string]time.Time // by origin
	failures []string
}

// drive sends requests until ctx ends.
func (t *tour) drive(ctx context.Context) (l *load, wait func()) {
	l = &load{served: map[string]int{}, lastSeen: map[string]time.Time{}}
	var clients sync.WaitGroup
	browser := t.w.browser()
	for range loadClients {
		clients.Go(func() {
			tick := time.NewTicker(loadInterval)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
					origin, status, _, err := fetch(browser, t.url)
					l.note(origin, status, err)
				}
			}
		})
	}
	return l, clients.Wait
}

func (l *load) note(origin string, status int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || status != http.StatusOK {
		l.failures = append(l.failures, fmt.Sprintf("status %d, error %v", status, err))
		return
	}
	l.served[origin]++
	l.lastSeen[origin] = time.Now()
}

func (l *load) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	sum := 0
	for _, n := range l.served {
		sum += n
	}
	return sum
}

func (l *load) last(origin string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lastSeen[origin]
}

// loseOrigin kills an origin under load, shows when everything turned away from
// it, and brings it back.
func (t *tour) loseOrigin() error {
	const name = "app.shop.example."
	victim := t.w.origins[1]
	address := netip.MustParseAddrPort(victim.addr).Addr()
	answered := func() bool {
		addrs, err := lookup(t.ctx, t.w.edgeAddress(), name)
		return err == nil && slices.Contains(addrs, address)
	}
	t.say("\n== Origin %s (%s) is killed under load ==\n", victim.name, address)
	ctx, stop := context.WithCancel(t.ctx)
	defer stop()
	l, wait := t.drive(ctx)
	if err := t.until("each origin served requests, and all are answered", func() bool {
		return answered() && l.total() >= 60 && !l.last(victim.name).IsZero()
	}); err != nil {
		return err
	}
	killed := time.Now()
	victim.stop()
	if err := t.until("the DNS answer turned away", func() bool { return !answered() }); err != nil {
		return err
	}
	turned := time.Since(killed)
	before := l.total()
	if err := t.until("the others served on", func() bool { return l.total() >= before+60 }); err != nil {
		return err
	}
	lastServed := l.last(victim.name).Sub(killed)
	t.say("  %-52s %s after the kill", "the DNS answer of "+name+" turned away", turned.Round(time.Millisecond))
	t.say("  %-52s %s after the kill", "the last response of origin "+victim.name+" through the gateway", max(0, lastServed).Round(time.Millisecond))
	if err := victim.start(); err != nil {
		return err
	}
	restarted := time.Now()
	if err := t.until("the origin is answered and serves again", func() bool {
		return answered() && l.last(victim.name).After(restarted)
	}); err != nil {
		return err
	}
	t.say("  %-52s %s after its start", "origin "+victim.name+" is answered and serves again", time.Since(restarted).Round(time.Millisecond))
	stop()
	wait()
	t.say("  requests: %d served, %d failed  (a %d, b %d, c %d)", l.total(), len(l.failures), l.served["a"], l.served["b"], l.served["c"])
	if len(l.failures) > 0 {
		return fmt.Errorf("%d requests failed, the first with: %s", len(l.failures), l.failures[0])
	}
	return nil
}

// explain prints why the steered name is answered as it is, and what the gateway
// does.
func (t *tour) explain() error {
	t.say("\n== Why? ==\n")
	var errs []error
	for _, r := range []api.ExplainRequest{{Name: "app.shop.example"}, {URL: "http://www.shop.example/"}} {
		r.From = netip.MustParseAddr("127.0.0.1")
		e, err := t.w.edge().Explain(t.ctx, r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var b strings.Builder
		errs = append(errs, e.WriteText(&b))
		t.say("%s", b.String())
	}
	return errors.Join(errs...)
}
