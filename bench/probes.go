//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pharos/bench/peer"
	"pharos/bench/table"
)

// probeWork is the name of the work "probes".
const probeWork = "TCP checks of %s members, one in 5 s each"

// What is measured of probes.
var (
	processors  = table.Metric{Name: "processors in use", Digits: 2}
	cpuPerProbe = table.Metric{Name: "CPU us per probe", Digits: 1}
)

const (
	probedMembers = 100_000
	membersOfPool = 4000 // of those a pool may have
	probeInterval = 5 * time.Second
)

// probes measures what it costs to probe many members.
func (a *arena) probes() ([]table.Row, error) {
	members, interval := probedMembers, probeInterval
	if a.o.quick {
		members, interval = membersOfPool, time.Second
	}
	l, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	target := &probed{}
	go func() { // ends when l is closed
		for {
			c, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				target.taken.Add(1)
				c.Close()
			}
		}
	}()
	s, err := a.start(a.measured, pharosProbes(a.pharos(), members, interval, l.Addr().(*net.TCPAddr).Port), peer.Job{})
	if err != nil {
		return nil, err
	}
	defer s.Stop()
	if err := s.Await(a.ctx, func() error {
		n, err := target.count()
		if err == nil && n < int64(2*members) { // from then on they are spread over the interval
			return fmt.Errorf("%d probes of %d members were made", n, members)
		}
		return err
	}); err != nil {
		return nil, err
	}
	samples := a.samples()
	for range min(a.o.rounds, 3) {
		if err := a.probeFor(s, target, max(a.seconds(), 2*interval), samples); err != nil {
			return nil, err
		}
	}
	work := fmt.Sprintf(probeWork, thousands(members))
	return []table.Row{samples.Row(work, processors), samples.Row(work, cpuPerProbe)}, nil
}

// probed is what was probed, as it is seen there: the metrics of so many members cost more than
// their probes, and the prober is not to be believed.
type probed struct {
	taken atomic.Int64 // connections that came to be
	first int64        // EmbryonicRsts at the beginning
}

// count returns how many probes have come: connections that were taken, and those that were reset before
// they came to be. The kernel counts these for all of this machine; hardly anybody else makes any.
func (p *probed) count() (int64, error) {
	text, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		return 0, err
	}
	n, err := countIn(string(text), "TcpExt:", "EmbryonicRsts")
	if p.first == 0 {
		p.first = n
	}
	return p.taken.Load() + n - p.first, err
}

// countIn finds a number in a text of /proc/net: of two lines that begin alike, the first has the names.
func countIn(text, of, name string) (int64, error) {
	var names []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || fields[0] != of:
		case names == nil:
			names = fields
		default:
			if i := slices.Index(names, name); i > 0 && i < len(fields) {
				return strconv.ParseInt(fields[i], 10, 64)
			}
		}
	}
	return 0, fmt.Errorf("/proc/net/netstat has no %s", name)
}

// probeFor measures for a while.
func (a *arena) probeFor(s *peer.Server, target *probed, length time.Duration, samples *table.Samples) error {
	before, err1 := s.CPU()
	first, err3 := target.count()
	began := time.Now()
	select {
	case <-a.ctx.Done():
		return a.ctx.Err()
	case <-time.After(length):
	}
	after, err2 := s.CPU()
	last, err4 := target.count()
	took := time.Since(began)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	spent, made := after-before, last-first
	if made <= 0 {
		return errors.New("no probes were made")
	}
	samples.Add(s.Name, processors.Name, spent.Seconds()/took.Seconds())
	samples.Add(s.Name, cpuPerProbe.Name, float64(spent.Microseconds())/float64(made))
	a.say("%.0f probes a second, %.2f processors, %.1f us per probe", float64(made)/took.Seconds(), spent.Seconds()/took.Seconds(), float64(spent.Microseconds())/float64(made))
	return nil
}

// pharosProbes is Pharos with pools of many members, all on this machine.
func pharosProbes(binary string, members int, interval time.Duration, port int) peer.Program {
	return peer.Pharos(binary, func(j peer.Job) string {
		var b strings.Builder
		fmt.Fprintf(&b, "data: data\nlog: {level: error}\nstore: {enabled: false}\nlisten: {dns: [\"127.0.0.1:%d\"], admin: \"127.0.0.1:%d\"}\nresolver: {allow: []}\npools:\n", j.Port, j.Admin)
		for i := range members {
			if i%membersOfPool == 0 {
				fmt.Fprintf(&b, "  - name: p%d\n    check: {type: tcp, interval: %v}\n    members:\n", i/membersOfPool, interval)
			}
			fmt.Fprintf(&b, "      - {name: m%d, address: \"127.%d.%d.%d:%d\"}\n", i, 1+i>>16, i>>8&255, i&255, port)
		}
		return b.String()
	})
}
