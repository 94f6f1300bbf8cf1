//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"pharos/bench/corpus"
	"pharos/bench/peer"
	"pharos/bench/table"
)

// This file measures what change costs: how soon an update is answered by, and how many a
// second are durable. What those who ask notice of it is in calm.go.

// Names of the works about change.
const (
	changeSigned = "update of a signed zone of %s records, ECDSA P-256, TCP"
	changeMany   = "updates of a zone of %s records, TCP, 64 clients"
)

// Metrics of change.
var (
	visible      = table.Metric{Name: "ms to the signed answer, half of the updates", Digits: 1}
	visibleWorst = table.Metric{Name: "ms to the signed answer, 99 % of the updates", Digits: 1}
	durable      = table.Metric{Name: "durable updates per second", More: true}
	perUpdate    = table.Metric{Name: "us for a durable update, the clients together", Digits: 0}
)

const (
	updatesSeen  = 200 // updates whose answer is waited for
	clientsAtOne = 64  // that send updates at a time
)

// signedHosts has, signed, a million records: each host two addresses, NSEC, and the
// signatures of all three: signedRecords to a host. changedHosts has a million as it is.
const signedRecords = 6

var (
	signedHosts  = corpus.Shape{Hosts: 167_000}
	changedHosts = corpus.Shape{Hosts: 500_000}
)

// change is the work "change".
func (a *arena) change() ([]table.Row, error) {
	programs, err := a.choose(peer.PharosZones(a.pharos()), peer.Knot(), peer.NSD())
	if err != nil {
		return nil, err
	}
	return a.parts(changes, programs)
}

var changes = []part{{"seen", (*arena).updated}, {"updates", (*arena).manyUpdates}, {"calm", (*arena).calmly}}

// pharosStore is Pharos with zones that are changed by updates.
func pharosStore(binary, more string) peer.Program {
	return peer.Pharos(binary, func(j peer.Job) string {
		var b strings.Builder
		fmt.Fprintf(&b, "data: data\nlog: {level: warn}\nstore: {enabled: false}\nlisten: {dns: [\"127.0.0.1:%d\"], admin: \"127.0.0.1:%d\"}\ndns: {udpWorkers: 1}\nresolver: {allow: []}\nzones:\n", j.Port, j.Admin)
		for _, z := range j.Zones {
			fmt.Fprintf(&b, "  - {name: %q, kind: store, file: %q, updates: [{network: 127.0.0.0/8}], transfer: [{network: 127.0.0.0/8}]%s}\n", z.Name, z.Path, more)
		}
		return b.String()
	})
}

// held starts a program with one zone for as long as do takes, once it answers and,
// for a signed zone, has signed it.
func (a *arena) held(p peer.Program, zone corpus.Zone, signed bool, do func(*peer.Server) error) error {
	path, err := a.writeZone(zone, "change.zone")
	if err != nil {
		return err
	}
	s, err := a.start(a.measured, p, peer.Job{Zones: []peer.ZoneFile{{Name: zone.Origin, Path: path}}})
	if err != nil {
		return err
	}
	defer os.RemoveAll(s.Dir)
	defer s.Stop()
	if err := s.Await(a.ctx, func() error { return asks(zone.First())(s) }); err != nil {
		return err
	}
	if signed {
		ctx, cancel := context.WithTimeout(a.ctx, signTimeout)
		defer cancel()
		for !isSigned(s, zone.Origin, dns.TypeSOA) {
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is not signed: %w", zone.Origin, ctx.Err())
			case <-time.After(restSlice):
			}
		}
	}
	if err := a.rest(s); err != nil {
		return err
	}
	return do(s)
}

// signTimeout is how long signing a large zone may take on one busy processor.
const signTimeout = 5 * time.Minute

// isSigned reports whether a server answers for a name and type with a signature.
func isSigned(s *peer.Server, name string, t uint16) bool {
	m := new(dns.Msg).SetQuestion(name, t)
	m.SetEdns0(1232, true)
	c := dns.Client{Timeout: 200 * time.Millisecond}
	r, _, err := c.Exchange(m, address(s).String())
	return err == nil && slices.ContainsFunc(r.Answer, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
}

// updater sends updates over one connection.
type updater struct {
	conn   *dns.Conn
	origin string
}

func newUpdater(s *peer.Server, origin string) (*updater, error) {
	conn, err := dns.DialTimeout("tcp", address(s).String(), time.Second)
	return &updater{conn, origin}, err
}

// add adds a host, and returns its name when the server says that it has.
func (u *updater) add(n int) (string, error) { return u.addMany(n, 1) }

// addMany adds so many hosts by one update.
func (u *updater) addMany(first, count int) (name string, err error) {
	m := new(dns.Msg).SetUpdate(u.origin)
	for n := first; n < first+count; n++ {
		name = fmt.Sprintf("new%d.%s", n, u.origin)
		m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, byte(n>>16), byte(n>>8), byte(n))}})
	}
	u.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := u.conn.WriteMsg(m); err != nil {
		return name, err
	}
	r, err := u.conn.ReadMsg()
	if err != nil {
		return name, err
	}
	if r.Rcode != dns.RcodeSuccess {
		return name, fmt.Errorf("update: %s", dns.RcodeToString[r.Rcode])
	}
	return name, nil
}

// updated measures how long it takes from sending an update until a question is
// answered by it, with its signature.
func (a *arena) updated([]peer.Program) ([]table.Row, error) {
	zone := corpus.Zone{Origin: "signed.example.", Shape: signedHosts}
	if a.o.quick {
		zone.Shape = corpus.Shape{Hosts: 300}
	}
	p := pharosStore(a.pharos(), ", dnssec: default")
	var times []float64
	err := a.held(p, zone, true, func(s *peer.Server) error {
		u, err := newUpdater(s, zone.Origin)
		if err != nil {
			return err
		}
		defer u.conn.Close()
		for n := range max(10, a.fewer(updatesSeen)) {
			began := time.Now()
			name, err := u.add(n)
			if err != nil {
				return err
			}
			for !isSigned(s, name, dns.TypeA) {
				if time.Since(began) > 10*time.Second {
					return fmt.Errorf("%s is not answered", name)
				}
			}
			times = append(times, float64(time.Since(began).Microseconds())/1000)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(times)
	work := fmt.Sprintf(changeSigned, thousands(signedRecords*zone.Hosts))
	samples := a.samples()
	samples.Add(p.Name, visible.Name, times[len(times)/2])
	samples.Add(p.Name, visibleWorst.Name, times[len(times)*99/100])
	a.say("updates of a signed zone seen after %.1f ms, the slowest after %.1f ms", times[len(times)/2], times[len(times)-1])
	return []table.Row{samples.Row(work, visible), samples.Row(work, visibleWorst)}, nil
}

// manyUpdates measures how many updates are durable in a second, each acknowledged by
// itself.
func (a *arena) manyUpdates([]peer.Program) ([]table.Row, error) {
	zone := corpus.Zone{Origin: "changed.example.", Shape: changedHosts}
	if a.o.quick {
		zone.Shape = corpus.Shape{Hosts: 300}
	}
	p := pharosStore(a.pharos(), "")
	samples := a.samples()
	err := a.held(p, zone, false, func(s *peer.Server) error {
		for range min(a.o.rounds, loadRounds) {
			rate, err := a.updateFor(s, zone.Origin, 3*a.seconds())
			if err != nil {
				return err
			}
			samples.Add(p.Name, durable.Name, rate)
			samples.Add(p.Name, perUpdate.Name, 1e6/rate)
			a.say("%.0f updates per second", rate)
		}
		return nil
	})
	work := fmt.Sprintf(changeMany, thousands(zone.Records()))
	return []table.Row{samples.Row(work, durable), samples.Row(work, perUpdate)}, err
}

// updateFor has many clients send updates for a time, and returns how many a second
// were acknowledged.
func (a *arena) updateFor(s *peer.Server, origin string, d time.Duration) (rate float64, err error) {
	var made atomic.Int64
	var clients sync.WaitGroup
	errs := make([]error, clientsAtOne)
	began := time.Now()
	for i := range clientsAtOne {
		u, err := newUpdater(s, origin)
		if err != nil {
			return 0, err
		}
		defer u.conn.Close()
		clients.Go(func() { // ends with the time
			for time.Since(began) < d && errs[i] == nil && a.ctx.Err() == nil {
				_, errs[i] = u.add(int(made.Add(1)))
			}
		})
	}
	clients.Wait()
	return float64(made.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}
