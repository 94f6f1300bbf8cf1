package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

const ms = time.Millisecond

// network is a fake network: who answers at an address, and how. An address without
// an entry refuses.
type network struct {
	mu      sync.Mutex
	servers map[string]func(net.Conn) // nil: silent, not even a connection
	dials   map[string]int
}

func newNetwork() *network {
	return &network{servers: map[string]func(net.Conn){}, dials: map[string]int{}}
}

// serve makes address answer so from now on.
func (n *network) serve(address string, server func(net.Conn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers[address] = server
}

func (n *network) kill(address string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.servers, address)
}

func (n *network) dialed(address string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.dials[address]
}

func (n *network) dial(ctx context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	server, listens := n.servers[address]
	n.dials[address]++
	n.mu.Unlock()
	if !listens {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	if server == nil {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: ctx.Err()}
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		server(theirs)
	}()
	return ours, nil
}

// accepts is a server that takes connections and says nothing until they close.
func accepts(c net.Conn) { io.Copy(io.Discard, c) }

// says is a server that reads a request and answers with text.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		if _, err := c.Read(buf); err == nil {
			io.WriteString(c, text)
		}
		io.Copy(io.Discard, c)
	}
}

// history records what a Prober tells, with the time since it was made.
type history struct {
	mu     sync.Mutex
	began  time.Time
	events []string
	last   time.Time
}

func (h *history) note(changes []Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last = time.Now()
	for _, c := range changes {
		change := c.Transition
		h.events = append(h.events, fmt.Sprintf("%v %v > %v: %s", c.Target.Address, change.From, change.To, change.Cause))
		if c.Status.State != change.To {
			h.events = append(h.events, fmt.Sprintf("status %v after a change to %v", c.Status.State, change.To))
		}
	}
}

// take returns the events since the last take.
func (h *history) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	events := h.events
	h.events = nil
	return events
}

func (h *history) want(t *testing.T, want ...string) {
	t.Helper()
	if got := h.take(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("told %q, want %q", got, want)
	}
}

// start makes a Prober on n that is closed when the test ends.
func start(n *network, cfg Config) (*Prober, *history) {
	h := &history{began: time.Now()}
	cfg.Dial, cfg.OnChange = n.dial, h.note
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(1, 2))
	}
	return New(cfg), h
}

func targetAt(address string, c health.Check) health.Target {
	return health.Target{Address: netip.MustParseAddrPort(address), Check: c}
}

var (
	tcpCheck  = health.Check{Kind: health.TCP}
	httpCheck = health.Check{Kind: health.HTTP, Terms: health.Terms{Path: "/health"}.Once()}
)

// The life of a target: found up, dies, found down, comes back.
func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		p, h := start(n, Config{})
		defer p.Close()
		target := targetAt("10.0.0.1:80", tcpCheck)
		p.Set([]health.Target{target})

		time.Sleep(ms)
		h.want(t, "10.0.0.1:80 unknown > up: connected")
		time.Sleep(10 * time.Second)
		h.want(t)
		n.kill("10.0.0.1:80")
		time.Sleep(2 * time.Second)
		h.want(t, "10.0.0.1:80 up > down: connection refused")
		n.serve("10.0.0.1:80", accepts)
		time.Sleep(2 * time.Second)
		h.want(t, "10.0.0.1:80 down > up: 2 good probes in a row")
		if s := p.Status(target); s.State != health.Up || !s.LastOK || s.LastCause != "connected" {
			t.Errorf("status %+v", s)
		}
	})
}

// "Probe failure to changed answer <= 2 probe intervals + 50 ms", from the death of
// the target, whether it refuses, is silent, accepts and hangs, or answers 503; at
// any moment between two probes; up to the published view.
func TestTimeToDetect(t *testing.T) {
	for name, dead := range map[string]struct {
		server  func(net.Conn)
		refuses bool
		cause   string
	}{
		"refuses": {refuses: true, cause: "connection refused"},
		"silent":  {server: nil, cause: "timeout after 500ms connecting"},
		"hangs":   {server: accepts, cause: "timeout after 500ms waiting for a response"},
		"503":     {server: says("HTTP/1.1 503 Service Unavailable\r\n\r\n"), cause: "status 503"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				worst := time.Duration(0)
				for moment := range 20 {
					took, cause := detect(t, time.Duration(moment)*57*ms, dead.server, dead.refuses)
					worst = max(worst, took)
					if cause != dead.cause {
						t.Errorf("cause %q, want %q", cause, dead.cause)
					}
				}
				t.Logf("worst of 20: %v", worst)
				if promise := 2*time.Second + 50*ms; worst > promise {
					t.Errorf("it took %v, want <= %v", worst, promise)
				}
			})
		})
	}
}

// detect lets a target die and returns how long it takes until it is out of the view,
// and the cause shown there.
func detect(t *testing.T, moment time.Duration, server func(net.Conn), refuses bool) (time.Duration, string) {
	n := newNetwork()
	n.serve("10.0.0.1:80", says("HTTP/1.1 200 OK\r\n\r\n"))
	n.serve("10.0.0.2:80", says("HTTP/1.1 200 OK\r\n\r\n"))
	spec := pool.Spec{Name: "web", Check: httpCheck, Members: []pool.MemberSpec{
		{Name: "a", Address: netip.MustParseAddrPort("10.0.0.1:80")}, {Name: "b", Address: netip.MustParseAddrPort("10.0.0.2:80")},
	}}
	registry, err := pool.NewRegistry([]pool.Spec{spec}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{}, 8)
	p := New(Config{Dial: n.dial, Rand: rand.New(rand.NewPCG(uint64(moment), 3)), OnChange: func(changes []Change) {
		for _, c := range changes {
			registry.Apply(c.Target, c.Status)
			changed <- struct{}{}
		}
	}})
	defer p.Close()
	p.Set(registry.Targets())
	<-changed
	<-changed // both are Up
	time.Sleep(3*time.Second + moment)
	if len(registry.Pool("web").View().Eligible) != 2 {
		t.Fatal("not both members are eligible at first")
	}
	died := time.Now()
	if n.serve("10.0.0.1:80", server); refuses {
		n.kill("10.0.0.1:80")
	}
	<-changed
	v := registry.Pool("web").View()
	if len(v.Eligible) != 1 || v.Eligible[0] != 1 {
		t.Errorf("eligible %v, want [1]", v.Eligible)
	}
	return time.Since(died), v.Members[0].Cause
}

// Failures of traffic: the third in a row changes the state at once; the first makes
// the probe look.
func TestPassiveReports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		p, h := start(n, Config{})
		defer p.Close()
		target := targetAt("10.0.0.1:80", tcpCheck)
		p.Set([]health.Target{target})
		time.Sleep(600 * ms)
		h.want(t, "10.0.0.1:80 unknown > up: connected")
		before := n.dialed("10.0.0.1:80")
		failed := health.Result{Cause: "connection reset"}
		p.Report(target, failed)
		synctest.Wait()
		if got := n.dialed("10.0.0.1:80"); got != before+1 {
			t.Errorf("%d probes right after a failed request, want 1", got-before)
		}
		p.Report(target, failed)
		p.Report(target, failed)
		synctest.Wait()
		h.want(t, "10.0.0.1:80 up > down: 3 failed requests in a row, last: connection reset; ejected for 10s")
		p.Report(target, health.Result{OK: true, At: time.Now()})
		p.Report(targetAt("10.0.0.9:80", tcpCheck), failed) // is not set
		synctest.Wait()
		h.want(t)
		time.Sleep(9 * time.Second)
		h.want(t) // the probes contradict the traffic
		time.Sleep(2 * time.Second)
		h.want(t, "10.0.0.1:80 down > up: ejection of 10s is over, and probes are good: on trial")
		if c := p.Counters(); c.Passive != 5 || c.Transitions != 3 {
			t.Errorf("counters %+v", c)
		}
	})
}

// Without a check nothing is dialed; an ejection ends by itself.
func TestEjection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		p, h := start(n, Config{})
		defer p.Close()
		target := targetAt("10.0.0.1:80", health.Check{Params: health.Params{Eject: 2 * time.Second}.Once()})
		p.Set([]health.Target{target})
		time.Sleep(time.Minute)
		h.want(t)
		for range 3 {
			p.Report(target, health.Result{At: time.Now(), Cause: "connection refused"})
		}
		synctest.Wait()
		h.want(t, "10.0.0.1:80 up > down: 3 failed requests in a row, last: connection refused; ejected for 2s")
		time.Sleep(2*time.Second + ms)
		h.want(t, "10.0.0.1:80 down > up: ejection of 2s is over: on trial")
		if got := n.dialed("10.0.0.1:80"); got != 0 {
			t.Errorf("%d probes without a check", got)
		}
	})
}

// Set: kept targets keep state, those asked at other times too; removed ones are not
// probed any more, and a probe of them that is under way is not listened to.
func TestSetKeepsAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		n.serve("10.0.0.2:80", accepts)
		n.serve("10.0.0.3:80", nil)     // a probe of it is under way when it is removed
		n.serve("10.0.0.4:80", accepts) // the next of it is due later
		p, h := start(n, Config{})
		defer p.Close()
		kept, retimed, removed := targetAt("10.0.0.1:80", tcpCheck), targetAt("10.0.0.2:80", tcpCheck), targetAt("10.0.0.3:80", tcpCheck)
		p.Set([]health.Target{kept, retimed, removed, kept, targetAt("10.0.0.4:80", tcpCheck)})
		time.Sleep(100 * ms)
		if got := len(h.take()); got != 3 {
			t.Fatalf("%d targets came up, want 3", got)
		}
		since := p.Status(kept).Since

		slower := retimed
		params := slower.Check.Params.Get()
		params.Interval = 5 * time.Second
		slower.Check.Params = params.Once()
		p.Set([]health.Target{kept, slower})
		for _, target := range []health.Target{kept, slower} {
			if s := p.Status(target); s.State != health.Up {
				t.Errorf("%v is %v after the reload, want up", target.Address, s.State)
			}
		}
		if got := p.Status(kept).Since; !got.Equal(since) {
			t.Errorf("kept target up since %v, want %v", got, since)
		}
		if s := p.Status(removed); s.State != health.Unknown || s.Cause != "not probed yet" {
			t.Errorf("removed target is %+v", s)
		}
		before := [4]int{n.dialed("10.0.0.1:80"), n.dialed("10.0.0.2:80"), n.dialed("10.0.0.3:80"), n.dialed("10.0.0.4:80")}
		time.Sleep(20 * time.Second)
		h.want(t)
		if silent, up := n.dialed("10.0.0.3:80"), n.dialed("10.0.0.4:80"); silent != before[2] || up != before[3] {
			t.Errorf("removed targets were probed %d and %d times more", silent-before[2], up-before[3])
		}
		if got := n.dialed("10.0.0.1:80") - before[0]; got < 20 || got > 23 {
			t.Errorf("kept target was probed %d times in 20 s", got)
		}
		if got := n.dialed("10.0.0.2:80") - before[1]; got < 4 || got > 6 {
			t.Errorf("slower target was probed %d times in 20 s, want about 5", got)
		}
	})
}

// Two pools with one address and check are one target, probed once.
func TestSharedTargetIsProbedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		member := []pool.MemberSpec{{Address: netip.MustParseAddrPort("10.0.0.1:80")}}
		registry, err := pool.NewRegistry([]pool.Spec{
			{Name: "web", Check: tcpCheck, Members: member}, {Name: "api", Check: tcpCheck, Members: member},
		}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := New(Config{Dial: n.dial, OnChange: func(changes []Change) {
			for _, c := range changes {
				registry.Apply(c.Target, c.Status)
			}
		}})
		defer p.Close()
		p.Set(registry.Targets())
		time.Sleep(500 * ms)
		if got := n.dialed("10.0.0.1:80"); got != 1 {
			t.Errorf("%d probes, want 1", got)
		}
		for _, name := range []string{"web", "api"} {
			if s := registry.Pool(name).View().Members[0].State; s != health.Up {
				t.Errorf("%s: %v", name, s)
			}
		}
	})
}

// A restart with the states of the last run, through their JSON, changes nothing
// until probes say otherwise.
func TestRestoreOverRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		up, down := targetAt("10.0.0.1:80", tcpCheck), targetAt("10.0.0.2:80", tcpCheck)
		first, _ := start(n, Config{})
		first.Set([]health.Target{down, up})
		time.Sleep(5 * time.Second)
		first.Close()
		text, err := json.Marshal(first.Snapshot())
		if err != nil {
			t.Fatal(err)
		}
		var known []Known
		if err := json.Unmarshal(text, &known); err != nil || len(known) != 2 || known[0].Target != up {
			t.Fatalf("%v, %s", err, text)
		}

		second, h := start(n, Config{})
		defer second.Close()
		second.Restore(known)
		second.Set([]health.Target{up, down})
		if a, b := second.Status(up).State, second.Status(down).State; a != health.Up || b != health.Down {
			t.Errorf("restored %v and %v, want up and down", a, b)
		}
		time.Sleep(5 * time.Second)
		h.want(t)
	})
}

// A target that is drained in the prober shows it, and comes back as it is.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		p, h := start(n, Config{})
		defer p.Close()
		target := targetAt("10.0.0.1:80", tcpCheck)
		p.Set([]health.Target{target})
		time.Sleep(ms)
		h.take()
		if !p.Drain(target, true) || p.Drain(targetAt("10.0.0.9:80", tcpCheck), true) {
			t.Error("Drain does not know its targets")
		}
		synctest.Wait()
		h.want(t, "10.0.0.1:80 up > draining: drained by the operator")
		p.Drain(target, false)
		synctest.Wait()
		h.want(t, "10.0.0.1:80 draining > up: no longer drained; connected")
	})
}

// When our own machine is short of something, nobody goes down.
func TestOurShortageIsNoEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", accepts)
		var short atomic.Bool
		p, h := start(n, Config{})
		defer p.Close()
		p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if short.Load() {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EMFILE}
			}
			return n.dial(ctx, network, address)
		}
		target := targetAt("10.0.0.1:80", tcpCheck)
		p.Set([]health.Target{target})
		time.Sleep(ms)
		h.want(t, "10.0.0.1:80 unknown > up: connected")
		short.Store(true)
		time.Sleep(time.Minute)
		h.want(t)
		if s := p.Status(target); s.LastCause != "not sent: too many open files" {
			t.Errorf("status %+v", s)
		}
		if c := p.Counters(); c.Unsent < 60 || c.Failures != 0 {
			t.Errorf("counters %+v", c)
		}
	})
}

// Close ends probes that are under way, and every goroutine (the bubble would not
// end otherwise). Nothing is told after it.
func TestCloseEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		n.serve("10.0.0.1:80", nil)
		n.serve("10.0.0.2:80", accepts)
		slow := health.Check{Kind: health.HTTP, Params: health.Params{Interval: time.Hour, Timeout: time.Hour}.Once()}
		p, h := start(n, Config{})
		p.Set([]health.Target{targetAt("10.0.0.1:80", slow), targetAt("10.0.0.2:80", slow)})
		time.Sleep(10 * ms)
		if c := p.Counters(); c.InFlight != 2 {
			t.Errorf("%d probes under way, want 2", c.InFlight)
		}
		began := time.Now()
		p.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		h.want(t)
		if c, s := p.Counters(), p.Status(targetAt("10.0.0.1:80", slow)); c.Probes != 0 || !s.LastProbe.IsZero() {
			t.Errorf("probes ended by Close were counted: %+v, %+v", c, s)
		}
		p.Set([]health.Target{targetAt("10.0.0.3:80", tcpCheck)})
		p.Report(targetAt("10.0.0.3:80", tcpCheck), health.Result{})
		p.Close()
	})
}

// Ten thousand targets at one probe per second: each is probed about once per second,
// spread over it, in good time.
func TestTenThousandTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const targets, seconds = 10_000, 5
		var dials [seconds * 10]int // by tenths of a second
		var mu sync.Mutex
		began := time.Now()
		ours, theirs := net.Pipe()
		defer theirs.Close()
		p := New(Config{Rand: rand.New(rand.NewPCG(4, 4)), Dial: func(context.Context, string, string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			if tenth := int(time.Since(began) / (100 * ms)); tenth < len(dials) {
				dials[tenth]++
			}
			return ours, nil // closed again and again; nobody reads it
		}})
		var set []health.Target
		for i := range targets {
			addr := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
			set = append(set, health.Target{Address: netip.AddrPortFrom(addr, 80), Check: tcpCheck})
		}
		p.Set(set)
		time.Sleep(seconds * time.Second)
		p.Close()
		total := 0
		for tenth, n := range dials {
			total += n
			if n < targets/10*6/10 || n > targets/10*14/10 {
				t.Errorf("%d probes in tenth %d, want about %d", n, tenth, targets/10)
			}
		}
		if total < targets*seconds || total > targets*seconds*11/10 {
			t.Errorf("%d probes in %d s, want about %d", total, seconds, targets*seconds)
		}
		if c := p.Counters(); c.Behind != 0 || c.Targets != targets || c.Transitions != targets {
			t.Errorf("counters %+v", c)
		}
	})
}

// Past the limit probes wait their turn, and all are made.
func TestConcurrencyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		var underWay, most atomic.Int64
		p, _ := start(n, Config{Concurrency: 3})
		defer p.Close()
		p.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			most.Store(max(most.Load(), underWay.Add(1)))
			defer underWay.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		var set []health.Target
		for i := range 12 {
			set = append(set, targetAt(fmt.Sprintf("10.0.0.%d:80", i), tcpCheck))
		}
		p.Set(set)
		time.Sleep(1900 * ms)
		if c := p.Counters(); most.Load() != 3 || c.InFlight != 3 || c.Behind == 0 {
			t.Errorf("at most %d under way, counters %+v", most.Load(), c)
		}
		time.Sleep(200 * ms)
		if c := p.Counters(); c.Probes != 12 || c.Failures != 12 {
			t.Errorf("counters %+v, want 12 probes that failed", c)
		}
	})
}

// The same seed gives the same times; another seed others. Intervals differ, so that
// targets get out of step, and are never longer than configured.
func TestJitterIsSeeded(t *testing.T) {
	times := func(seed uint64) (out []time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			p := New(Config{Rand: rand.New(rand.NewPCG(seed, 1)), Dial: func(context.Context, string, string) (net.Conn, error) {
				out = append(out, time.Since(began))
				return nil, errors.New("nobody is there")
			}})
			p.Set([]health.Target{targetAt("10.0.0.1:80", tcpCheck)})
			time.Sleep(8 * time.Second)
			p.Close()
		})
		return out
	}
	a, b, c := times(1), times(1), times(2)
	if !slices.Equal(a, b) || slices.Equal(a, c) {
		t.Errorf("seed 1: %v\nseed 1: %v\nseed 2: %v", a, b, c)
	}
	var gaps []time.Duration
	for i := 3; i < len(a); i++ { // once it is down
		gaps = append(gaps, a[i]-a[i-1])
	}
	if low, high := slices.Min(gaps), slices.Max(gaps); low < 900*ms || high > time.Second || low == high {
		t.Errorf("intervals %v, want different ones from 900ms to 1s", gaps)
	}
}

// Everything at once, for the race detector.
func TestAtOnce(t *testing.T) {
	n := newNetwork()
	fast := health.Check{Kind: health.TCP, Params: health.Params{Interval: 10 * ms}.Once()}
	var set []health.Target
	for i := range 20 {
		address := fmt.Sprintf("10.0.0.%d:80", i)
		if set = append(set, targetAt(address, fast)); i%2 == 0 {
			n.serve(address, accepts)
		}
	}
	told := make(chan struct{}, 1000)
	var p *Prober
	p = New(Config{Dial: n.dial, OnChange: func(changes []Change) {
		p.Status(changes[0].Target)
		told <- struct{}{}
	}})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 100 {
				target := set[(g*7+i)%len(set)]
				p.Report(target, health.Result{OK: i%3 == 0, At: time.Now()})
				p.Set(set[i%5:])
				p.Snapshot()
				p.Counters()
				p.Drain(target, i%2 == 0)
			}
		})
	}
	<-told
	wg.Wait()
	p.Close()
}

// Whatever becomes of a list, those in it are probed and no others, and who stays is the same target: also
// one that is in it twice, or moves.
func TestSetOfChangedLists(t *testing.T) {
	p := newStopped(Config{})
	keyOf := func(i int) health.Target {
		return health.Target{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(i)}), 80), Check: health.Check{Kind: health.TCP}}
	}
	before := map[health.Target]*target{}
	for step, list := range [][]int{
		{1, 2, 3}, {1, 2, 3}, {1, 9, 3}, {1, 3}, {}, {4}, {4, 4, 5}, {4, 5}, {5, 4}, {5, 4, 6, 7, 8}, {8, 5, 4, 6, 7}, {6}, {1, 6, 1}, {6, 1}, {1},
	} {
		targets, want := make([]health.Target, 0, len(list)), map[health.Target]bool{}
		for _, i := range list {
			targets = append(targets, keyOf(i))
			want[keyOf(i)] = true
		}
		p.Set(targets)
		now := map[health.Target]*target{}
		for key, is := range p.targets {
			if !want[key] || is.gone || !is.item.IsIn() {
				t.Errorf("step %d: %v is in the list: %v, gone: %v, in the wheel: %v", step, key.Address, want[key], is.gone, is.item.IsIn())
			}
			if was := before[key]; was != nil && was != is {
				t.Errorf("step %d: %v, which stayed, is another target", step, key.Address)
			}
			now[key] = is
		}
		for key, was := range before {
			if now[key] == nil && (!was.gone || was.item.IsIn()) {
				t.Errorf("step %d: %v has left, gone: %v, in the wheel: %v", step, key.Address, was.gone, was.item.IsIn())
			}
		}
		if len(now) != len(want) {
			t.Errorf("step %d: %d targets are probed, want %d", step, len(now), len(want))
		}
		before = now
	}
}

// BenchmarkSet is a list of 100,000 targets of which one has another port each time.
func BenchmarkSet(b *testing.B) {
	p := newStopped(Config{})
	var lists [2][]health.Target
	for i := range 100_000 {
		t := health.Target{Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(i >> 16), byte(i >> 8), byte(i)}), 80), Check: health.Check{Kind: health.TCP}}
		lists[0] = append(lists[0], t)
	}
	lists[1] = slices.Clone(lists[0])
	lists[1][50_000].Address = netip.AddrPortFrom(lists[1][50_000].Address.Addr(), 81)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.Set(lists[i%2])
	}
}
