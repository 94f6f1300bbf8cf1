//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// This file measures what those who ask notice of change: of reloads, of IXFR, of updates
// and of the collections that follow. Answers are asked for at a steady rate, from a server
// that is idle and then from the same one while it is not.

// changeCalm is the name of each.
const changeCalm = "answers at %d a second during %s of a zone of %s records"

// What a zone is busy with, as the works call it.
const (
	calmRest        = "rest"
	calmByReloads   = "reloads"
	calmByIXFR      = "transfers by IXFR"
	calmByUpdates   = "updates"
	calmBySigned    = "updates with signatures"
	calmByCollected = "updates with a collection every 2 MiB"
)

var (
	calm       = table.Metric{Name: "us, 99.9 % of the answers", Digits: 0}
	calmMedian = table.Metric{Name: "us, half of the answers", Digits: 0}
	ratioCalm  = table.Metric{Name: "99.9 % beside that of an idle server", Digits: 2}

	// The same of those answers that no standstill of the machine had to do with.
	calmRan    = table.Metric{Name: "us, 99.9 % of the answers while the machine ran", Digits: 0}
	ratioRan   = table.Metric{Name: "99.9 % beside that of an idle server, while the machine ran", Digits: 2}
	leftOut    = table.Metric{Name: "% of the answers left out as the machine stood still", Digits: 1}
	controlled = table.Metric{Name: "us late, 99.9 % of a control's beats on the same processor", Digits: 0}
)

const (
	calmRate    = 30_000 // questions a second: a fifth to a third of what one processor answers
	calmReloads = 3
	updateRate  = 200 // updates a second beside questions

	ixfrRate  = 20 // versions a second that a secondary is told of
	ixfrHosts = 50 // that each has more than the one before
)

// calmMix has no names that do not exist: denials have the serial, which changes.
var calmMix = corpus.Mix{}

// calmCell is what a zone is busy with, and who can be.
type calmCell struct {
	what  string
	shape corpus.Shape
	run   func(a *arena, zone corpus.Zone, busy, still *table.Samples) error
}

// work returns the name of the work, with the zone that it is about.
func (c calmCell) work(a *arena) (string, corpus.Zone) {
	zone := corpus.Zone{Origin: "calm.example.", Shape: c.shape}
	if a.o.quick {
		zone.Shape = corpus.Shape{Hosts: 3000}
	}
	records := zone.Records()
	if c.what == calmBySigned {
		records = signedRecords * zone.Hosts
	}
	return fmt.Sprintf(changeCalm, calmRate, c.what, thousands(records)), zone
}

var calmCells = []calmCell{
	{calmByReloads, changedHosts, func(a *arena, zone corpus.Zone, busy, still *table.Samples) error {
		return a.each(func(p peer.Program) error { return a.reloading(p, zone, busy, still) }, peer.PharosZones(a.pharos()), peer.Knot(), peer.NSD())
	}},
	{calmByIXFR, changedHosts, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		return a.each(func(p peer.Program) error { return a.transferring(p, zone, busy) }, peer.PharosSecondary(a.pharos()), peer.KnotSecondary(), peer.NSDSecondary())
	}},
	{calmByUpdates, changedHosts, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		return a.updating(pharosStore(a.pharos(), ""), zone, false, busy)
	}},
	{calmBySigned, signedHosts, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		return a.updating(pharosStore(a.pharos(), ", dnssec: default"), zone, true, busy)
	}},
	{calmByCollected, changedHosts, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		p := pharosStore(a.pharos(), "")
		// The zone has no pointers, but counts: some 2 of some 70 MiB.
		p.Env = []string{"GOGC=3"}
		return a.updating(p, zone, false, busy)
	}},
}

// calmly is the part "calm".
func (a *arena) calmly([]peer.Program) ([]table.Row, error) {
	still := a.samples()
	var rows []table.Row
	for _, cell := range calmCells {
		work, zone := cell.work(a)
		busy := a.samples()
		if err := cell.run(a, zone, busy, still); err != nil {
			return nil, fmt.Errorf("%s: %w", cell.what, err)
		}
		for _, m := range []table.Metric{calmMedian, calm, ratioCalm, calmRan, ratioRan, leftOut, controlled} {
			rows = append(rows, busy.Row(work, m))
		}
	}
	rested := calmCells[0]
	rested.what = calmRest
	work, _ := rested.work(a)
	for i, m := range []table.Metric{calmMedian, calm, calmRan, leftOut, controlled} {
		rows = slices.Insert(rows, i, still.Row(work, m))
	}
	return rows, nil
}

// each measures own and those of the peers that are asked for and installed.
func (a *arena) each(measure func(peer.Program) error, own peer.Program, peers ...peer.Program) error {
	programs, err := a.choose(own, peers...)
	if err != nil {
		return err
	}
	for _, p := range programs {
		if err := measure(p); err != nil {
			return fmt.Errorf("%s: %w", p.Name, err)
		}
	}
	return nil
}

// paced asks a server at a steady rate, while it rests and then while it is busy with
// what do does until it returns.
func (a *arena) paced(s *peer.Server, zone corpus.Zone, busy, still *table.Samples, do func(context.Context) error) error {
	g, err := dnsload.New(dnsload.Config{Server: address(s), Queries: zone.Questions(questions, 1, calmMix), Flows: 64, Window: 64})
	if err != nil {
		return err
	}
	defer g.Close()
	rest, err := a.pace(g, s, nil)
	if err != nil {
		return err
	}
	rest.addTo(still, s.Name)
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	done, failed := make(chan struct{}), make(chan error, 1)
	go func() { // ends with do, which ends with ctx
		failed <- do(ctx)
		close(done)
	}()
	work, err := a.pace(g, s, done)
	cancel()
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	work.addTo(busy, s.Name)
	for metric, m := range map[string][2]float64{ratioCalm.Name: {work.most, rest.most}, ratioRan.Name: {work.ran, rest.ran}} {
		if m[1] > 0 { // or the machine stood still all the time, and there is nothing to compare
			busy.Add(s.Name, metric, m[0]/m[1])
		}
	}
	a.say("%-9s at rest %s", s.Name, rest)
	a.say("%-9s busy    %s", s.Name, work)
	return nil
}

// calmness is how quick the answers were, in us.
type calmness struct {
	half, most float64
	ran        float64 // most, without what the machine's standing still had to do with
	left       float64 // % of them
	control    float64
}

func (c calmness) String() string {
	return fmt.Sprintf("%.0f us, 99.9 %% %.0f us; while the machine ran %.0f us, without %.1f %% of the answers; control %.0f us late", c.half, c.most, c.ran, c.left, c.control)
}

func (c calmness) addTo(s *table.Samples, server string) {
	s.Add(server, calmMedian.Name, c.half)
	s.Add(server, calm.Name, c.most)
	s.Add(server, calmRan.Name, c.ran)
	s.Add(server, leftOut.Name, c.left)
	s.Add(server, controlled.Name, c.control)
}

// pace asks at the rate, beside a metronome, until done is closed and for a time at least.
func (a *arena) pace(g *dnsload.Generator, s *peer.Server, done <-chan struct{}) (c calmness, err error) {
	var p dnsload.Paced
	m, err := beside(s, func() (err error) {
		p, err = g.Pace(a.ctx, 5*a.seconds(), calmRate, done)
		if err == nil && p.Wrong > 0 { // what is lost is in the times
			err = p.Err()
		}
		return err
	})
	if err != nil {
		return c, err
	}
	us := func(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
	ran, part := p.Without(slices.Concat(p.Gaps, m.spans(p.Began)))
	return calmness{us(p.Quantile(0.5)), us(p.Quantile(0.999)), us(ran.Quantile(0.999)), 100 * part, us(m.worst())}, nil
}

// reloading has a server reload a zone while it is asked.
func (a *arena) reloading(p peer.Program, zone corpus.Zone, busy, still *table.Samples) error {
	return a.held(p, zone, false, func(s *peer.Server) error {
		versions, err := a.versions3(zone)
		if err != nil {
			return err
		}
		return a.paced(s, zone, busy, still, func(ctx context.Context) error {
			for i, version := range versions {
				if err := os.Rename(version, filepath.Join(a.dir, "change.zone")); err != nil {
					return err
				}
				began := time.Now()
				if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
					return err
				}
				if err := awaitSerial(ctx, s, zone.Origin, uint32(i+2)); err != nil {
					return err
				}
				a.say("%s: served %.1f s after it was told", s.Name, time.Since(began).Seconds())
			}
			return nil
		})
	})
}

// versions3 writes the next versions of a zone.
func (a *arena) versions3(zone corpus.Zone) (paths []string, err error) {
	text, err := os.ReadFile(filepath.Join(a.dir, "change.zone"))
	if err != nil {
		return nil, err
	}
	for i := range calmReloads {
		next := strings.Replace(string(text), " 1 7200 ", fmt.Sprintf(" %d 7200 ", i+2), 1)
		path := filepath.Join(a.dir, fmt.Sprintf("change.zone.%d", i+2))
		if err := os.WriteFile(path, []byte(next), 0o644); err != nil || next == string(text) {
			return nil, errors.Join(err, errors.New("the zone's serial is not 1"))
		}
		at := time.Now().Add(time.Duration(i) * time.Second) // or small ones come out with one time
		if err := os.Chtimes(path, at, at); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// awaitSerial waits until a server has a version of a zone.
func awaitSerial(ctx context.Context, s *peer.Server, origin string, serial uint32) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
	defer cancel()
	c := dns.Client{Timeout: time.Second}
	m := new(dns.Msg).SetQuestion(origin, dns.TypeSOA)
	for {
		if r, _, err := c.ExchangeContext(ctx, m, address(s).String()); err == nil && len(r.Answer) == 1 {
			if soa, ok := r.Answer[0].(*dns.SOA); ok && soa.Serial >= serial {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("serial %d is not served: %w", serial, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// transferring has a secondary get version after version by IXFR, from a primary beside
// the load, while it is asked.
func (a *arena) transferring(p peer.Program, zone corpus.Zone, busy *table.Samples) error {
	path, err := a.writeZone(zone, "change.zone")
	if err != nil {
		return err
	}
	files := []peer.ZoneFile{{Name: zone.Origin, Path: path}}
	job, err := a.job(p, peer.Job{Zones: files})
	if err != nil {
		return err
	}
	primary, err := a.start(a.aside, pharosStore(a.pharos(), fmt.Sprintf(", notify: [{address: %q}]", localAt(job.Port))), peer.Job{Zones: files})
	if err != nil {
		return err
	}
	defer primary.Stop()
	if err := primary.Await(a.ctx, func() error { return asks(zone.First())(primary) }); err != nil {
		return err
	}
	job.Target = localAt(primary.Port)
	s, err := a.measured.Start(p, job)
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.Dir)
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return asks(zone.First())(s) }); err != nil {
		return err
	}
	if err := a.rest(s); err != nil {
		return err
	}
	u, err := newUpdater(primary, zone.Origin)
	if err != nil {
		return err
	}
	defer u.conn.Close()
	changes := int(ixfrRate * 5 * a.seconds().Seconds())
	return a.paced(s, zone, busy, a.samples(), func(ctx context.Context) error {
		if err := u.steadily(ctx, changes, ixfrRate, ixfrHosts); err != nil {
			return err
		}
		return awaitSerial(ctx, s, zone.Origin, uint32(changes)) // less one or two that may not have been told of yet
	})
}

func localAt(port int) string {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)).String()
}

// steadily makes so many updates, evenly, each of some hosts.
func (u *updater) steadily(ctx context.Context, updates, rate, hosts int) error {
	tick := time.NewTicker(time.Second / time.Duration(rate))
	defer tick.Stop()
	for n := range updates {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if _, err := u.addMany(n*hosts, hosts); err != nil {
			return err
		}
	}
	return nil
}

// updating has a server carry out updates while it is asked.
func (a *arena) updating(p peer.Program, zone corpus.Zone, signed bool, busy *table.Samples) error {
	return a.held(p, zone, signed, func(s *peer.Server) error {
		u, err := newUpdater(s, zone.Origin)
		if err != nil {
			return err
		}
		defer u.conn.Close()
		return a.paced(s, zone, busy, a.samples(), func(ctx context.Context) error {
			return u.steadily(ctx, int(updateRate*5*a.seconds().Seconds()), updateRate, 1)
		})
	})
}
