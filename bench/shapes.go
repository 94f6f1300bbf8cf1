//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"pharos/bench/corpus"
	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// Names of the works about zones of other shapes than the usual.
const (
	shapeTLD     = "authoritative UDP, signed TLD of %s delegations, DO=1"
	shapeSigned  = "authoritative UDP, signed zone of %s names, DO=1, 30 %% NXDOMAIN"
	shapeMany    = "authoritative UDP, %s small zones"
	shapeRestart = "starting again with a zone of %s records"
)

// relative compares a server with itself.
var relative = table.Metric{Name: "CPU of an answer beside that with one zone", Digits: 2}

var (
	// tldShape: three of ten delegations are signed, one of five has glue.
	tldShape = corpus.Shape{Hosts: 300, Delegations: 500_000, Glue: 100_000, Secure: 3}
	tldMix   = corpus.Mix{Missing: 1, Referrals: 8, Signed: true}
	// signedShape has as many names as the usual zone.
	signedShape = corpus.Shape{Hosts: 50_000, Mail: 5_000, Delegations: 10_000, Glue: 10_000, Secure: 5}
	signedMix   = corpus.Mix{Missing: 3, Referrals: 1, Signed: true}
)

// manyZones is how many small zones are served.
const manyZones = 100_000

// shapeRounds is how often each server is measured at most: they load large zones
// for each round, and their CPU time per answer varies little.
const shapeRounds = 3

var shapes = []part{{"tld", (*arena).tld}, {"signed", (*arena).signed}, {"many", (*arena).many}, {"restart", (*arena).restart}, {"steered", (*arena).steered}}

// shapes measures authoritative servers with zones of other shapes.
func (a *arena) shapes() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosZones(a.pharos()), peer.Knot(), peer.NSD())
	if err != nil {
		return nil, err
	}
	return a.parts(shapes, programs)
}

// tld is a zone of delegations, most questions for names below them; NSEC3 with
// opt-out, as TLDs have it.
func (a *arena) tld(programs []peer.Program) ([]table.Row, error) {
	shape := tldShape
	if a.o.quick {
		shape = corpus.Shape{Hosts: 30, Delegations: 500, Glue: 100, Secure: 3}
	}
	zone := corpus.Zone{Origin: "tld.", Shape: shape}
	return a.signedWork(programs, fmt.Sprintf(shapeTLD, thousands(shape.Delegations)), zone, tldMix, "-3", "-", "-H", "0", "-A")
}

// signed is an ordinary zone with NSEC, asked by resolvers that validate.
func (a *arena) signed(programs []peer.Program) ([]table.Row, error) {
	shape := signedShape
	if a.o.quick {
		shape = corpus.Shape{Hosts: 300, Mail: 30, Delegations: 50, Glue: 50, Secure: 5}
	}
	zone := corpus.Zone{Origin: "signed.example.", Shape: shape}
	return a.signedWork(programs, signedWorkName(shape), zone, signedMix)
}

func signedWorkName(s corpus.Shape) string {
	return fmt.Sprintf(shapeSigned, thousands(s.Hosts+s.Delegations))
}

// signedWork signs a zone and measures what answers from it take.
func (a *arena) signedWork(programs []peer.Program, work string, zone corpus.Zone, mix corpus.Mix, how ...string) ([]table.Row, error) {
	path, err := a.writeZone(zone, "unsigned.zone")
	if err != nil {
		return nil, err
	}
	if path, err = a.sign(zone.Origin, path, how...); errors.Is(err, exec.ErrNotFound) && !required() {
		a.notes = append(a.notes, "Not measured, for dnssec-signzone is not installed: "+work+".")
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return a.answers(programs, work, []peer.ZoneFile{{Name: zone.Origin, Path: path}}, zone.First(), zone.Questions(questions, 1, mix))
}

// answers measures what answers take, in a few rounds.
func (a *arena) answers(programs []peer.Program, work string, zones []peer.ZoneFile, first dnsload.Query, queries []dnsload.Query) ([]table.Row, error) {
	samples, err := a.hold("shapes", contest{
		programs: programs, rounds: min(a.o.rounds, shapeRounds),
		job:     peer.Job{Zones: zones},
		ready:   asks(first),
		measure: a.answering(work, queries, a.rest),
	})
	if err != nil {
		return nil, err
	}
	return []table.Row{samples.Row(work, cpuPerAnswer), samples.Row(work, answersPerSecond), samples.Row(work, memory)}, nil
}

// answering measures what answers to queries take, once a server is prepared for them
// (nil: it is).
func (a *arena) answering(work string, queries []dnsload.Query, prepare func(*peer.Server) error) func(*peer.Server, *table.Samples) error {
	return func(s *peer.Server, samples *table.Samples) error {
		if prepare != nil {
			if err := prepare(s); err != nil {
				return err
			}
		}
		if err := a.load(s, queries, samples); err != nil {
			return err
		}
		if err := resident(s, samples, memory.Name, 1<<20); err != nil {
			return err
		}
		return a.profile(s, work, func(d time.Duration) error { return a.again(s, queries, d) })
	}
}

// sign signs a zone with BIND's tools, ECDSA on P-256, and returns where it is.
func (a *arena) sign(origin, path string, how ...string) (string, error) {
	keys, err := os.MkdirTemp(a.dir, "keys-")
	if err != nil {
		return "", err
	}
	began := time.Now()
	for _, args := range [][]string{
		{"dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "-K", keys, origin},
		{"dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-K", keys, origin},
		append(append([]string{"dnssec-signzone", "-q", "-P", "-S", "-K", keys, "-d", keys, "-o", origin, "-f", path + ".signed"}, how...), path),
	} {
		cmd := exec.CommandContext(a.ctx, args[0], args[1:]...)
		cmd.Dir = filepath.Dir(path)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", args[0], err, out)
		}
	}
	a.say("%s signed in %.1f s", origin, time.Since(began).Seconds())
	return path + ".signed", nil
}

// many is a great number of small zones. All are read from one file: what is
// measured is finding them, not the file system.
func (a *arena) many(programs []peer.Program) ([]table.Row, error) {
	many := corpus.Many(manyZones)
	if a.o.quick {
		many = 300
	}
	path := filepath.Join(a.dir, "many.zone")
	if err := os.WriteFile(path, []byte(many.Text()), 0o644); err != nil {
		return nil, err
	}
	zones := make([]peer.ZoneFile, many)
	for i := range zones {
		zones[i] = peer.ZoneFile{Name: many.Origin(i), Path: path}
	}
	work := fmt.Sprintf(shapeMany, thousands(int(many)))
	queries := many.Questions(questions, 1)
	last := corpus.Zone{Origin: many.Origin(int(many) - 1)}.Apex("192.0.2.3")
	rows, err := a.answers(programs, work, zones, last, queries)
	if err != nil {
		return nil, err
	}
	one, err := a.answers(programs, work, zones[:1], corpus.Zone{Origin: many.Origin(0)}.Apex("192.0.2.3"), corpus.Many(1).Questions(questions, 1))
	if err != nil {
		return nil, err
	}
	compared := table.Row{Work: work, Metric: relative}
	for i, v := range rows[0].Values {
		compared.Values = append(compared.Values, table.Value{Server: v.Server, Value: v.Value / one[0].Values[i].Value})
	}
	return append(rows, compared), nil
}

// restart measures how long it takes to serve a large zone again that was served
// before, with whatever the server has kept of it.
func (a *arena) restart(programs []peer.Program) ([]table.Row, error) {
	shape := loadShape
	if a.o.quick {
		shape = corpus.Shape{Hosts: 80_000, Delegations: 20_000} // large enough for Pharos to keep an image
	}
	zone := corpus.Zone{Origin: "large.example.", Shape: shape}
	path, err := a.writeZone(zone, "restart.zone")
	if err != nil {
		return nil, err
	}
	samples := a.samples()
	for _, p := range programs {
		if err := a.restarts(p, zone, path, samples); err != nil {
			return nil, fmt.Errorf("restart: %s: %w", p.Name, err)
		}
	}
	work := fmt.Sprintf(shapeRestart, thousands(zone.Records()))
	return []table.Row{samples.Row(work, loadWall), samples.Row(work, loadCPUTime), samples.Row(work, perRecord)}, nil
}

// restarts starts a server once, and then again in its folder as often as it is
// measured.
func (a *arena) restarts(p peer.Program, zone corpus.Zone, path string, samples *table.Samples) error {
	job, err := a.job(p, peer.Job{Zones: []peer.ZoneFile{{Name: zone.Origin, Path: path}}})
	if err != nil {
		return err
	}
	defer os.RemoveAll(job.Dir)
	for round := range 1 + min(a.o.rounds, loadRounds) {
		began := time.Now()
		s, err := a.measured.Start(p, job)
		if err != nil {
			return err
		}
		if err := s.Await(a.ctx, func() error { return asks(zone.First())(s) }); err != nil {
			s.Stop()
			return err
		}
		wall := time.Since(began)
		err = a.restarted(s, round, wall, zone.Records(), samples)
		s.Stop()
		if err != nil {
			return err
		}
	}
	return nil
}

// restarted measures a server that has started, but for the first time, when it is
// given the time to keep what it wants to.
func (a *arena) restarted(s *peer.Server, round int, wall time.Duration, records int, samples *table.Samples) error {
	if round == 0 {
		return a.awaitImages(s)
	}
	cpu, err := s.CPU()
	if err != nil {
		return err
	}
	octets, err := a.settled(s)
	if err != nil {
		return err
	}
	samples.Add(s.Name, loadWall.Name, wall.Seconds())
	samples.Add(s.Name, loadCPUTime.Name, cpu.Seconds())
	samples.Add(s.Name, perRecord.Name, float64(octets)/float64(records))
	a.say("%-9s started again with %d records in %.2f s, %.2f s on a processor, %.0f MiB", s.Name, records, wall.Seconds(), cpu.Seconds(), float64(octets)/(1<<20))
	return nil
}

// imageTimeout is how long Pharos may take to write an image: it syncs it to a disk,
// which may be busy with what other tests have written.
const imageTimeout = 3 * time.Minute

// awaitImages waits until Pharos has written the image of its zone.
func (a *arena) awaitImages(s *peer.Server) error {
	if s.Name != table.Own {
		return nil
	}
	deadline := time.Now().Add(imageTimeout)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if images, _ := filepath.Glob(filepath.Join(s.Dir, "data", "images", "*.image")); len(images) > 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("no image of the zone was written")
		}
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-tick.C:
		}
	}
}

// settle is how long after its first answer a server's memory is looked at:
// all of them give back some of what loading took, in the background.
const settle = time.Second

// Coming to rest: a slice of time in which a server works for less than a twentieth.
const (
	restSlice = 200 * time.Millisecond
	restMost  = 30 * time.Second // then it is measured as it is
)

// rest waits until a server has done what it does behind its first answer, such as
// giving back what loading took.
func (a *arena) rest(s *peer.Server) error {
	if a.o.quick {
		return nil
	}
	for began := time.Now(); time.Since(began) < restMost; {
		before, err := s.CPU()
		if err != nil {
			return err
		}
		select {
		case <-a.ctx.Done():
			return a.ctx.Err()
		case <-time.After(restSlice):
		}
		after, err := s.CPU()
		if err != nil {
			return err
		}
		if after-before < restSlice/20 {
			return nil
		}
	}
	return nil
}

// settled returns what a server occupies once it has come to rest.
func (a *arena) settled(s *peer.Server) (int64, error) {
	select {
	case <-a.ctx.Done():
		return 0, a.ctx.Err()
	case <-time.After(a.span(settle)):
	}
	return s.Memory()
}
