//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
	local "pharos/lab/peers"
)

// The two processors: servers are measured on one, everything else is on the other.
const (
	serverCPU = 0
	loadCPU   = 1
)

// arena is where servers are measured.
type arena struct {
	// Constant after newArena.
	ctx      context.Context
	o        options
	root     string         // of the repository
	dir      string         // for configurations, zones and logs; made anew by each run
	measured *peer.Launcher // on serverCPU
	aside    *peer.Launcher // on loadCPU
	restore  func()         // gives priority back

	// Found on the way.
	versions map[string]string
	missing  []string // peers that are not installed
	notes    []string
	profiled map[string]bool // works
	started  int             // servers, which numbers their folders

	collected []*table.Samples // made by samples
	losses    losses
}

func newArena(ctx context.Context, o options, root string) (*arena, error) {
	if runtime.NumCPU() < 2 {
		return nil, errors.New("two processors are needed: one for the server, one for the load")
	}
	if err := peer.PinProcess(loadCPU); err != nil {
		return nil, err
	}
	a := &arena{ctx: ctx, o: o, root: root, restore: func() {}, versions: map[string]string{}, profiled: map[string]bool{}}
	if !o.quick {
		a.restore = peer.Raise()
	}
	var err error
	if a.measured, err = peer.NewLauncher(serverCPU); err != nil {
		return nil, err
	}
	if a.aside, err = peer.NewLauncher(loadCPU); err != nil {
		return nil, err
	}
	work := filepath.Join(root, "bench", "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return nil, err
	}
	a.dir, err = os.MkdirTemp(work, "run-")
	return a, err
}

func (a *arena) close() {
	a.measured.Close()
	a.aside.Close()
	_ = os.RemoveAll(a.dir)
	a.restore()
}

// pharos returns the path of the program under test.
func (a *arena) pharos() string {
	if filepath.IsAbs(a.o.pharos) {
		return a.o.pharos
	}
	return filepath.Join(a.root, a.o.pharos)
}

func (a *arena) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

// seconds returns the length of a measurement.
func (a *arena) seconds() time.Duration { return time.Duration(a.o.seconds * float64(time.Second)) }

// start starts a server for job, with a folder and ports of its own.
func (a *arena) start(on *peer.Launcher, p peer.Program, job peer.Job) (*peer.Server, error) {
	job, err := a.job(p, job)
	if err != nil {
		return nil, err
	}
	return on.Start(p, job)
}

// job gives a job a folder and ports of its own.
func (a *arena) job(p peer.Program, job peer.Job) (peer.Job, error) {
	if err := a.ctx.Err(); err != nil {
		return job, err
	}
	a.started++
	job.Dir = filepath.Join(a.dir, strconv.Itoa(a.started)+"-"+p.Name)
	if err := os.Mkdir(job.Dir, 0o755); err != nil {
		return job, err
	}
	var err error
	if job.Port, err = freePort(); err != nil {
		return job, err
	}
	job.Admin, err = freePort()
	return job, err
}

// freePort returns a port of 127.0.0.1 that is free for both UDP and TCP, and that neither
// another server nor a connection gets before it is used.
func freePort() (int, error) {
	at, err := local.FreePort()
	return int(at.Port()), err
}

// contest is a work in rounds.
type contest struct {
	programs []peer.Program
	job      peer.Job
	rounds   int
	start    func() // called when a server is about to start; nil: nothing to do
	ready    func(s *peer.Server) error
	measure  func(s *peer.Server, samples *table.Samples) error
	parted   bool // measure looks itself at what was lost for its parts
}

// hold runs the rounds of a contest: every server once, then every server again,
// so that what drifts over the minutes drifts for all. Each round begins with
// another one, so that nobody always comes after the same.
func (a *arena) hold(name string, c contest) (*table.Samples, error) {
	samples := a.samples()
	for round := range c.rounds {
		for i := range c.programs {
			p := c.programs[(i+round)%len(c.programs)]
			visit := func() error { return a.visit(p, c, samples) }
			if !c.parted {
				visit = func() error { return a.undisturbed(name+": "+p.Name, func() error { return a.visit(p, c, samples) }) }
			}
			if err := visit(); err != nil {
				return nil, fmt.Errorf("%s: %s: %w", name, p.Name, err)
			}
		}
		a.say("%s: round %d of %d done", name, round+1, c.rounds)
	}
	return samples, nil
}

// visit measures one server once.
func (a *arena) visit(p peer.Program, c contest, samples *table.Samples) error {
	if c.start != nil {
		c.start()
	}
	s, err := a.start(a.measured, p, c.job)
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.Dir) // logs of millions of requests
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return c.ready(s) }); err != nil {
		return err
	}
	return c.measure(s, samples)
}

// asks returns a probe that is content when the server answers a question right.
func asks(q dnsload.Query) func(*peer.Server) error {
	return func(s *peer.Server) error {
		conn, err := net.Dial("udp4", address(s).String())
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(200 * time.Millisecond)); err != nil {
			return err
		}
		if _, err := conn.Write(q.Msg); err != nil {
			return err
		}
		buf := make([]byte, dns.MaxMsgSize)
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		return q.Verify(buf[:n])
	}
}

func address(s *peer.Server) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(s.Port))
}

// Metrics that several works have.
var (
	cpuPerAnswer     = table.Metric{Name: "CPU us per answer", Digits: 2}
	answersPerSecond = table.Metric{Name: "answers per second", More: true}
	memory           = table.Metric{Name: "memory MiB", Digits: 1}
)

// warmUp is how long a server is under load before it is measured.
const warmUp = 300 * time.Millisecond

// result is what a load generator found.
type result interface{ Err() error }

// measure runs a load on s, first for a while that does not count, and returns
// what came of it and the CPU time it took.
func measure[R result](a *arena, s *peer.Server, run func(context.Context, time.Duration) (R, error)) (r R, spent time.Duration, err error) {
	err = a.given(func(d time.Duration) error {
		if !a.o.quick {
			if r, err = run(a.ctx, warmUp); err != nil || r.Err() != nil {
				return errors.Join(err, r.Err())
			}
		}
		before, err := s.CPU()
		if err != nil {
			return err
		}
		if r, err = run(a.ctx, d); err != nil {
			return err
		}
		after, err := s.CPU()
		if err != nil {
			return err
		}
		if spent = after - before; spent == 0 && r.Err() == nil {
			return errUnmeasured
		}
		return r.Err()
	})
	return r, spent, err
}

// load puts a DNS server under load and takes its CPU time per answer and rate.
func (a *arena) load(s *peer.Server, queries []dnsload.Query, samples *table.Samples) error {
	g, err := dnsload.New(dnsload.Config{Server: address(s), Queries: queries, Flows: a.o.flows, Window: a.o.window})
	if err != nil {
		return err
	}
	defer g.Close()
	r, spent, err := measure(a, s, g.Run)
	if err != nil {
		return err
	}
	micros := float64(spent) / 1e3 / float64(r.Answered)
	rate := float64(r.Answered) / r.Elapsed.Seconds()
	samples.Add(s.Name, cpuPerAnswer.Name, micros)
	samples.Add(s.Name, answersPerSecond.Name, rate)
	a.say("%-9s %6.2f us per answer, %7.0f/s, on its processor %3.0f %% of the time, %d lost of %d, %d compared in full",
		s.Name, micros, rate, 100*spent.Seconds()/r.Elapsed.Seconds(), r.Lost, r.Sent, r.Compared)
	return nil
}

// again puts a server under the same load without measuring it.
func (a *arena) again(s *peer.Server, queries []dnsload.Query, d time.Duration) error {
	g, err := dnsload.New(dnsload.Config{Server: address(s), Queries: queries, Flows: a.o.flows, Window: a.o.window})
	if err != nil {
		return err
	}
	defer g.Close()
	_, err = g.Run(a.ctx, d)
	return err
}

// writeZone writes a zone's master file and returns where it is.
func (a *arena) writeZone(z corpus.Zone, name string) (string, error) {
	path := filepath.Join(a.dir, name)
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	if _, err := z.WriteTo(f); err != nil {
		f.Close()
		return "", err
	}
	return path, f.Close()
}

// resident samples a server's memory.
func resident(s *peer.Server, samples *table.Samples, metric string, scale float64) error {
	octets, err := s.Memory()
	if err != nil {
		return err
	}
	samples.Add(s.Name, metric, float64(octets)/scale)
	return nil
}
