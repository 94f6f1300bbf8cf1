//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"time"

	"pharos/bench/assault"
	"pharos/bench/httpload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// This file measures what honest clients have of a gateway that is attacked. The gateway has
// processor 0 for itself, attacker and honest clients have the other one; clients sleep between
// their requests, and the attacker runs when they do. The control is the same clients of a gateway
// at rest, while a process beside it on its processor reads what the attacker sends, and drops it:
// what is late then waits for the machine.

const (
	// honestRate is how often honest clients ask in a second, at a pace of their own, and
	// assaultRate how often the gateway is attacked meanwhile.
	honestRate, assaultRate = 300, 10 * honestRate
	honestConnections       = 16
	// assaultSpan is how long each attack is, in measurements: one in a hundred of the requests
	// of one would be two.
	assaultSpan = 4
	calmWork    = "300 requests a second, no attack"
)

var (
	// besideCalm compares honest clients with themselves.
	besideCalm = table.Metric{Name: "99 % of the responses beside that without an attack", Digits: 2}
	// besideSink compares them with those of the control.
	besideSink = table.Metric{Name: "99 % of the responses beside that with the attack on a process that reads and drops", Digits: 2}
	// ofSink is the control's.
	ofSink = table.Metric{Name: "us, 99 % of the responses with the attack on a process that reads and drops", Digits: 0}
	// assaultCPU is what a server spends on attack and clients.
	assaultCPU = table.Metric{Name: "% of the server's processor in use", Digits: 0}
)

func assaultWork(k assault.Kind) string {
	return fmt.Sprintf("300 requests a second, beside 3,000 attacks: %s", k.Name)
}

// assaults measures what honest clients have of each gateway while it is attacked.
func (a *arena) assaults() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosGateway(a.pharos()), peer.NginxBoth(), peer.HAProxy())
	if err != nil {
		return nil, err
	}
	loop, err := httpload.Start(httpload.ShortContent)
	if err != nil {
		return nil, err
	}
	defer loop.Close()
	requests := gatewayRequests()
	calm := a.samples()
	perKind := make([]*table.Samples, len(assault.Kinds))
	for i := range perKind {
		perKind[i] = a.samples()
	}
	_, err = a.hold("assault", contest{
		programs: programs, rounds: a.o.rounds, parted: true,
		job:   peer.Job{Target: loop.Origin().String()},
		ready: func(s *peer.Server) error { return a.fetches(loop, s, requests) },
		measure: func(s *peer.Server, _ *table.Samples) error {
			t := trial{a: a, loop: loop, s: s, requests: requests, calm: calm}
			for i, k := range assault.Kinds {
				if a.o.part != "all" && a.o.part != k.Part {
					continue
				}
				if err := a.undisturbed(s.Name+", "+k.Name, func() error { return t.of(i, perKind[i]) }); err != nil {
					return fmt.Errorf("%s: %w", k.Name, err)
				}
			}
			return nil
		},
	})
	if err != nil {
		return nil, err
	}
	rows := []table.Row{calm.Row(calmWork, latencyHalf), calm.Row(calmWork, latencyMost), calm.Row(calmWork, assaultCPU)}
	for i, k := range assault.Kinds {
		for _, m := range []table.Metric{latencyHalf, latencyMost, besideCalm, ofSink, besideSink, assaultCPU} {
			if row := perKind[i].Row(assaultWork(k), m); len(row.Values) > 0 {
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// trial is of one server in one round.
type trial struct {
	a        *arena
	loop     *httpload.Loop
	s        *peer.Server
	requests [][]byte
	calm     *table.Samples
}

// of has honest clients ask without an attack, beside one on another process, and beside one on
// the server, right after one another.
func (t *trial) of(kind int, samples *table.Samples) error {
	a, s := t.a, t.s
	calm, err := t.honestly("no attack", t.calm)
	if err != nil {
		return err
	}
	sink, err := a.start(a.measured, drain(kind), peer.Job{})
	if err != nil {
		return err
	}
	defer os.RemoveAll(sink.Dir)
	defer sink.Stop()
	if err := sink.Await(a.ctx, func() error { return connects(address(sink)) }); err != nil {
		return err
	}
	control, err := t.beside(kind, address(sink), a.samples(), "control")
	if err != nil {
		return err
	}
	sink.Stop()
	to := address(s)
	if s.Name == peer.NginxBoth().Name && assault.Kinds[kind].HTTP2 {
		to = netip.AddrPortFrom(to.Addr(), uint16(s.Admin))
	}
	attacked, err := t.beside(kind, to, samples, "attacked")
	if err != nil {
		return err
	}
	samples.Add(s.Name, besideCalm.Name, float64(attacked)/float64(calm))
	samples.Add(s.Name, ofSink.Name, float64(control.Microseconds()))
	samples.Add(s.Name, besideSink.Name, float64(attacked)/float64(control))
	return nil
}

// connects reports whether somebody listens.
func connects(to netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp", to.String(), time.Second)
	if err != nil {
		return err
	}
	return conn.Close()
}

// drain is the process that reads and drops what an attack sends.
func drain(kind int) peer.Program {
	self, err := os.Executable()
	if err != nil {
		self = os.Args[0]
	}
	return peer.Program{Name: "sink", Binary: self, Files: func(j peer.Job) (map[string]string, []string) {
		return nil, []string{drainCommand, strconv.Itoa(kind), strconv.Itoa(j.Port)}
	}}
}

// beside has honest clients ask while somebody is attacked.
func (t *trial) beside(kind int, to netip.AddrPort, samples *table.Samples, how string) (time.Duration, error) {
	end, err := t.a.attack(to, kind)
	if err != nil {
		return 0, err
	}
	took, err := t.honestly(how+": "+assault.Kinds[kind].Name, samples)
	made, endErr := end()
	if err := errors.Join(err, endErr); err != nil {
		return 0, err
	}
	if wanted := int(assaultRate * t.a.assaulted().Seconds()); made < wanted*9/10 {
		t.a.say("%-9s only %d of %d attacks were made", t.s.Name, made, wanted)
	}
	return took, nil
}

// assaulted is how long honest clients ask.
func (a *arena) assaulted() time.Duration { return time.Duration(a.assaultSpan()) * a.seconds() }

func (a *arena) assaultSpan() int {
	if a.o.quick {
		return 1
	}
	return assaultSpan
}

// honestly asks at a pace on connections of its own, which are opened now. It returns how long
// all but one in a hundred took at most.
func (t *trial) honestly(how string, samples *table.Samples) (time.Duration, error) {
	a, s := t.a, t.s
	c, err := t.loop.Connect(address(s), honestConnections, t.requests)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.Sleeping()
	var r httpload.Result
	var used float64
	if err := a.given(func(d time.Duration) error {
		d *= time.Duration(a.assaultSpan())
		before, _ := s.CPU()
		r, err = c.Pace(a.ctx, honestRate, d)
		after, _ := s.CPU()
		used = 100 * float64(after-before) / float64(d)
		return errors.Join(err, r.Err())
	}); err != nil {
		return 0, err
	}
	half, most := r.Latency.Quantile(0.5), r.Latency.Quantile(0.99)
	samples.Add(s.Name, latencyHalf.Name, float64(half.Microseconds()))
	samples.Add(s.Name, latencyMost.Name, float64(most.Microseconds()))
	samples.Add(s.Name, assaultCPU.Name, used)
	a.say("%-9s %-45s half within %v, 99 %% within %v, all within %v, %2.0f %% of the processor", s.Name, how, half, most, r.Latency.Quantile(1-1e-9), used)
	return most, nil
}

// attack attacks an address in one way for as long as is measured. The process for it has what is left of the
// processor that the honest clients are on. end waits for it, and returns how often it has attacked.
func (a *arena) attack(to netip.AddrPort, kind int) (end func() (int, error), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	span := a.assaulted() + 200*time.Millisecond
	// SCHED_IDLE: whoever wakes up gets the processor at once.
	cmd := exec.CommandContext(a.ctx, "chrt", "-i", "0", self, assaultCommand, strconv.Itoa(kind), to.String(), strconv.Itoa(assaultRate), strconv.Itoa(int(span.Milliseconds())))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() (int, error) {
		var made int
		_, readErr := fmt.Fscan(out, &made)
		if err := errors.Join(readErr, cmd.Wait()); err != nil {
			return 0, fmt.Errorf("the attack: %w", err)
		}
		if made == 0 {
			return 0, errors.New("nobody has attacked")
		}
		return made, nil
	}, nil
}

// Commands that have the bench itself attack, and be attacked: see package assault.
const (
	assaultCommand = "assault"
	drainCommand   = "drain"
)
