//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
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
	calmByCollected = "updates with a collection every 2 MiB"
)

var (
	calm       = table.Metric{Name: "us, 99.9 % of the answers", Digits: 0}
	calmMedian = table.Metric{Name: "us, half of the answers", Digits: 0}
	beside     = table.Metric{Name: "99.9 % beside that of an idle server", Digits: 2}
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

// calmCells are what a zone is busy with, and who can be.
var calmCells = []struct {
	what string
	run  func(a *arena, zone corpus.Zone, busy, still *table.Samples) error
}{
	{calmByReloads, func(a *arena, zone corpus.Zone, busy, still *table.Samples) error {
		return a.each(func(p peer.Program) error { return a.reloading(p, zone, busy, still) }, peer.PharosZones(a.pharos()), peer.Knot(), peer.NSD())
	}},
	{calmByIXFR, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		return a.each(func(p peer.Program) error { return a.transferring(p, zone, busy) }, peer.PharosSecondary(a.pharos()), peer.KnotSecondary(), peer.NSDSecondary())
	}},
	{calmByUpdates, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		return a.updating(pharosStore(a.pharos(), ""), zone, busy)
	}},
	{calmByCollected, func(a *arena, zone corpus.Zone, busy, _ *table.Samples) error {
		p := pharosStore(a.pharos(), "")
		// The zone has no pointers, but counts: some 2 of some 70 MiB.
		p.Env = []string{"GOGC=3"}
		return a.updating(p, zone, busy)
	}},
}

// calmly is the part "calm".
func (a *arena) calmly([]peer.Program) ([]table.Row, error) {
	zone := corpus.Zone{Origin: "calm.example.", Shape: changedHosts}
	if a.o.quick {
		zone.Shape = corpus.Shape{Hosts: 3000}
	}
	still := &table.Samples{}
	var rows []table.Row
	for _, cell := range calmCells {
		busy := &table.Samples{}
		if err := cell.run(a, zone, busy, still); err != nil {
			return nil, fmt.Errorf("%s: %w", cell.what, err)
		}
		work := fmt.Sprintf(changeCalm, calmRate, cell.what, thousands(zone.Records()))
		rows = append(rows, busy.Row(work, calmMedian), busy.Row(work, calm), busy.Row(work, beside))
	}
	work := fmt.Sprintf(changeCalm, calmRate, calmRest, thousands(zone.Records()))
	return append([]table.Row{still.Row(work, calmMedian), still.Row(work, calm)}, rows...), nil
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
	ask := func(done <-chan struct{}) (float64, float64, error) {
		p, err := g.Pace(a.ctx, 5*a.seconds(), calmRate, done)
		if err == nil && p.Wrong > 0 { // what is lost is in the times
			err = p.Err()
		}
		return float64(p.Quantile(0.5).Microseconds()), float64(p.Quantile(0.999).Microseconds()), err
	}
	half, most, err := ask(nil)
	if err != nil {
		return err
	}
	still.Add(s.Name, calmMedian.Name, half)
	still.Add(s.Name, calm.Name, most)
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	done, failed := make(chan struct{}), make(chan error, 1)
	go func() { // ends with do, which ends with ctx
		failed <- do(ctx)
		close(done)
	}()
	halfBusy, mostBusy, err := ask(done)
	cancel()
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	busy.Add(s.Name, calmMedian.Name, halfBusy)
	busy.Add(s.Name, calm.Name, mostBusy)
	busy.Add(s.Name, beside.Name, mostBusy/most)
	a.say("%-9s at rest %.0f us, 99.9 %% %.0f us; busy %.0f us, 99.9 %% %.0f us", s.Name, half, most, halfBusy, mostBusy)
	return nil
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
				if err := syscall.Kill(s.PID(), syscall.SIGHUP); err != nil {
					return err
				}
				if err := awaitSerial(ctx, s, zone.Origin, uint32(i+2)); err != nil {
					return err
				}
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
	return a.paced(s, zone, busy, &table.Samples{}, func(ctx context.Context) error {
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
func (a *arena) updating(p peer.Program, zone corpus.Zone, busy *table.Samples) error {
	return a.held(p, zone, false, func(s *peer.Server) error {
		u, err := newUpdater(s, zone.Origin)
		if err != nil {
			return err
		}
		defer u.conn.Close()
		return a.paced(s, zone, busy, &table.Samples{}, func(ctx context.Context) error {
			return u.steadily(ctx, int(updateRate*5*a.seconds().Seconds()), updateRate, 1)
		})
	})
}
