// Package dnsload puts a DNS server under load over UDP and checks what it answers.
//
// It owns the sockets of the load and the bookkeeping of each question under way:
//
//	Query      one question and the right answer
//	Generator  flows (connected sockets), each with a window of questions under way
//	Result     answered, lost, wrong
//
// It makes no questions (package corpus does) and measures no server.
//
// One thread does everything: it fills each flow's window with one sendmmsg and
// empties its socket with one recvmmsg, and never sleeps while a server is at work,
// so that the server pays for no wake-up of the load. A window is filled again only
// as answers come or are given up, so a question that got lost costs its slot for
// Config.Timeout: loss never looks like speed.
//
// Every answer is checked for its ID, QR, RCODE, TC, the number of its answer
// records and the question it repeats; one in Config.Sample is unpacked by another
// DNS library and its records compared with the right ones.
//
// Entry points: New, Generator.Run, Generator.Each.
//
// Concurrency: a Generator belongs to one goroutine.
package dnsload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Config says whom to load and how.
type Config struct {
	Server  netip.AddrPort
	Queries []Query
	Flows   int // sockets; 0: 16
	// Window: 16 flows of 8 keep a server busy (two of Pharos's batches) and fit into
	// a receive buffer of Linux's default size, which BIND and Knot leave as it is:
	// 208 KiB hold some 250 small datagrams, and what is lost is not free.
	Window  int           // questions under way per flow, a power of two up to 64; 0: 8
	Timeout time.Duration // until a question counts as lost; 0: 2 s, as a stub resolver waits or longer
	Sample  int           // every how many-th answer is compared in full; 0: 1024
}

// complete puts what is meant in the place of zeros, of which sample is what Sample is.
func (c *Config) complete(sample int) error {
	if len(c.Queries) == 0 {
		return errors.New("no questions to ask")
	}
	c.Flows, c.Window, c.Sample = cmp.Or(c.Flows, 16), cmp.Or(c.Window, 8), cmp.Or(c.Sample, sample)
	c.Timeout = cmp.Or(c.Timeout, 2*time.Second)
	return nil
}

// Result is what became of the questions.
type Result struct {
	Sent, Answered, Lost int
	Wrong                int           // of those answered
	Stray                int           // datagrams that answer nothing under way: late or twice
	Compared             int           // answers that were compared in full
	First                string        // the first wrong answer, described
	Elapsed              time.Duration // to the last answer
	Syscalls             int           // recvmmsg calls that returned something
}

// ErrWrong is in the error of a result with wrong answers.
var ErrWrong = errors.New("answers were wrong")

// tolerated is the part of questions that may be lost: the kernel may drop a
// datagram when the server has no processor for a while.
const tolerated = 0.001

// Err returns an error if an answer was wrong, or too many were missing for the
// figures to mean anything.
func (r Result) Err() error {
	switch {
	case r.Wrong > 0:
		return fmt.Errorf("%d of %d %w, the first: %s", r.Wrong, r.Answered, ErrWrong, r.First)
	case r.Answered == 0:
		return errors.New("no question was answered")
	case float64(r.Lost) > tolerated*float64(r.Sent)+float64(64):
		return fmt.Errorf("%d of %d questions were lost", r.Lost, r.Sent)
	}
	return nil
}

// Add returns the sum of two results.
func (r Result) Add(o Result) Result {
	r.Sent += o.Sent
	r.Answered += o.Answered
	r.Lost += o.Lost
	r.Wrong += o.Wrong
	r.Stray += o.Stray
	r.Compared += o.Compared
	r.Syscalls += o.Syscalls
	r.Elapsed += o.Elapsed
	if r.First == "" {
		r.First = o.First
	}
	return r
}

const (
	maxQuery    = 512  // octets; longer questions are refused by New
	maxResponse = 4096 // octets; more than any server sends to EDNS size 1232
	maxWindow   = 64   // slots are numbered by 6 bits of the ID
)

// Generator is the load.
type Generator struct {
	cfg   Config
	flows []*flow
	next  int // query
	now   int64
	began time.Time
	stop  bool // no more questions
	limit int  // how many questions may still be sent; -1: no limit
	res   Result
}

// New opens the flows.
func New(cfg Config) (*Generator, error) {
	if err := cfg.complete(1024); err != nil {
		return nil, err
	}
	if cfg.Window > maxWindow || cfg.Window&(cfg.Window-1) != 0 {
		return nil, fmt.Errorf("window %d is not a power of two up to %d", cfg.Window, maxWindow)
	}
	for _, q := range cfg.Queries {
		if len(q.Msg) > maxQuery {
			return nil, fmt.Errorf("a question has %d octets, over %d", len(q.Msg), maxQuery)
		}
	}
	g := &Generator{cfg: cfg}
	for range cfg.Flows {
		f, err := newFlow(cfg)
		if err != nil {
			g.Close()
			return nil, err
		}
		g.flows = append(g.flows, f)
	}
	return g, nil
}

// Close closes the flows.
func (g *Generator) Close() {
	for _, f := range g.flows {
		unix.Close(f.fd)
	}
}

// Run asks for the given time, going round the questions, and waits for the last
// answers. The error is that of a socket, or ctx's.
func (g *Generator) Run(ctx context.Context, d time.Duration) (Result, error) {
	return g.run(ctx, d, -1)
}

// Each asks every question once.
func (g *Generator) Each(ctx context.Context) (Result, error) {
	g.next = 0
	return g.run(ctx, time.Hour, len(g.cfg.Queries))
}

// run is the loop of the load. Its thread is its own for that time; the runtime
// hears of no system call in it, which keeps the thread's processor with it.
func (g *Generator) run(ctx context.Context, d time.Duration, limit int) (Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g.res, g.began, g.stop, g.limit, g.now = Result{}, time.Now(), false, limit, 0
	var last int64 // when an answer came
	for {
		g.now = int64(time.Since(g.began))
		if g.now >= int64(d) || g.limit == 0 || ctx.Err() != nil {
			g.stop = true
		}
		before, busy := g.res.Answered, 0
		for _, f := range g.flows {
			if err := g.turn(f); err != nil {
				return g.res, err
			}
			busy += f.busy()
		}
		if g.res.Answered != before {
			last = g.now
		}
		if g.stop && busy == 0 {
			g.res.Elapsed = time.Duration(max(last, 1))
			return g.res, ctx.Err()
		}
	}
}

// turn takes what has come for a flow, gives up what has not, and fills the window
// again.
func (g *Generator) turn(f *flow) error {
	n, err := f.receive()
	if err != nil {
		return err
	}
	if n > 0 {
		g.res.Syscalls++
	}
	for i := range n {
		g.arrived(f, f.message(i))
	}
	f.rearm(n)
	if g.now > f.checked+int64(g.cfg.Timeout)/4 {
		f.checked = g.now
		g.res.Lost += f.expire(g.now - int64(g.cfg.Timeout))
	}
	if g.stop {
		return nil
	}
	room := len(f.free)
	if g.limit >= 0 {
		room = min(room, g.limit)
	}
	sent, err := f.send(g, room)
	g.res.Sent += sent
	if g.limit >= 0 {
		g.limit -= sent
	}
	return err
}

// arrived finds the question that msg answers and checks the answer.
func (g *Generator) arrived(f *flow, msg []byte) {
	query, ok := f.settle(msg)
	if !ok {
		g.res.Stray++
		return
	}
	g.res.answered(&g.cfg.Queries[query], msg, g.cfg.Sample)
}
