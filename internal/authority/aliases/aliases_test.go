package aliases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/authority/alias"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// world is what a Driver is told of: zones of ours, and what the resolver finds.
type world struct {
	t      *testing.T
	driver *Driver
	folder string

	mu       sync.Mutex
	zones    map[dnsname.Name]journal.Version // sources
	served   map[dnsname.Name]*zone.Zone
	found    map[string]string // addresses by name, or why there are none
	cuts     []string
	problems map[string]string
	steering int
	gone     bool
}

func newWorld(t *testing.T) *world {
	return &world{t: t, folder: t.TempDir(), zones: map[dnsname.Name]journal.Version{}, served: map[dnsname.Name]*zone.Zone{},
		found: map[string]string{}, problems: map[string]string{}}
}

// open starts a driver until close is called.
func (w *world) open(terms Terms) (close func()) {
	if terms.MaxPerZone == 0 {
		terms.MaxPerZone = 100
	}
	terms.Limits = alias.Limits{Least: time.Second, Most: time.Minute}
	terms.Refuse = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	w.driver = Open(Config{
		File: filepath.Join(w.folder, "alias.json"), Terms: terms, Log: slog.New(slog.DiscardHandler),
		Names: func() Names {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.gone {
				return nil
			}
			return w
		},
		Changed:  func(name dnsname.Name) { w.stage(name) },
		Steering: func() { w.mu.Lock(); w.steering++; w.mu.Unlock() },
		Problem:  func(name dnsname.Name, text string) { w.mu.Lock(); w.problems[name.String()] = text; w.mu.Unlock() },
	})
	w.mu.Lock()
	var names []dnsname.Name
	for name := range w.zones {
		names = append(names, name)
	}
	w.mu.Unlock()
	for _, name := range names {
		w.stage(name)
	}
	w.driver.Start()
	return w.driver.Close
}

// stage publishes what the driver makes of a zone now.
func (w *world) stage(name dnsname.Name) error {
	w.mu.Lock()
	v := w.zones[name]
	w.mu.Unlock()
	v, err := w.driver.Stage(name, v)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.served[name] = v.Zone
	}
	return err
}

func (w *world) Find(name dnsname.Name) (*zone.Zone, *Driver) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ; !name.IsZero(); name = name.Parent() {
		if z := w.served[name]; z != nil {
			return z, w.driver
		}
	}
	return nil, nil
}

func (w *world) Cut(z *zone.Zone, cut zone.Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cuts = append(w.cuts, z.Name(cut).String())
}

func (w *world) Resolve(_ context.Context, name dnsname.Name, t rdata.Type) (all []rdata.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	text, ok := w.found[name.String()]
	if !ok {
		return nil, fmt.Errorf("%s %s is answered NXDOMAIN", name, t)
	}
	for word := range strings.FieldsSeq(text) {
		addr, err := netip.ParseAddr(word)
		if err != nil {
			return nil, errors.New(text)
		}
		if addr.Is4() == (t == rdata.TypeA) {
			all = append(all, rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: 20, Data: addr.AsSlice()})
		}
	}
	return all, nil
}

// say changes what the resolver finds.
func (w *world) say(name, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.found[name] = what
}

const head = "@ 3600 SOA ns1 hostmaster %d 3600 900 604800 300\n@ 3600 NS ns1\nns1 60 A 192.0.2.1\n"

// source puts a version of a zone into the world, with serial 10.
func (w *world) source(origin, text string, steered ...string) dnsname.Name {
	w.t.Helper()
	name := dnsname.MustParse(origin)
	b := zone.NewBuilder(name)
	for r, err := range zonefile.Read(strings.NewReader(fmt.Sprintf(head, 10)+text), zonefile.Options{Origin: name}) {
		if err != nil {
			w.t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		w.t.Fatal(problems)
	}
	if len(steered) > 0 {
		edit := z.Edit()
		for _, s := range steered {
			edit.Steer(dnsname.MustParse(s), zone.SteersAddresses)
		}
		z, _ = edit.Finish()
	}
	w.zones[name] = journal.Version{Zone: z}
	return name
}

// told returns the addresses that a name is served with, and whether its ALIAS is
// still there.
func (w *world) told(name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	owner := dnsname.MustParse(name)
	for apex := owner; !apex.IsZero(); apex = apex.Parent() {
		z := w.served[apex]
		if z == nil {
			continue
		}
		var all []string
		for r := range z.Records() {
			if addr, ok := netip.AddrFromSlice(r.Data); ok && r.Name == owner {
				all = append(all, addr.String())
			}
			if r.Name == owner && r.Type == rdata.TypeALIAS {
				all = append(all, "ALIAS")
			}
		}
		return strings.Join(all, " ")
	}
	return "no zone"
}

// whyNot returns the problem of the target that a name of example. has.
func (w *world) whyNot(owner string) string {
	target, ok := w.driver.targetAt(dnsname.MustParse("example."), dnsname.MustParse(owner))
	if !ok {
		return "no ALIAS"
	}
	w.driver.mu.Lock()
	defer w.driver.mu.Unlock()
	return w.driver.book.Problem(target)
}

// TestRefresh: a name has the addresses of its target, which change by themselves, each
// time with a serial of its own. What was good stays while the target fails, and is
// there again under its serial after a restart.
func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		apex := w.source("example.", "www 300 ALIAS web.test.\n")
		w.say("web.test.", "192.0.2.1 2001:db8::1")
		close := w.open(Terms{})
		if got := w.told("www.example."); got != "ALIAS" {
			t.Errorf("before the target is known: %s", got)
		}
		synctest.Wait()
		if got, serial := w.told("www.example."), w.served[apex].Serial(); got != "192.0.2.1 2001:db8::1" || serial != 11 {
			t.Errorf("serial %d, %s", serial, got)
		}
		w.say("web.test.", "192.0.2.2")
		time.Sleep(21 * time.Second) // its TTL
		if got, serial := w.told("www.example."), w.served[apex].Serial(); got != "192.0.2.2" || serial != 12 {
			t.Errorf("changed: serial %d, %s", serial, got)
		}
		w.say("web.test.", "nobody answers")
		time.Sleep(time.Minute)
		if got, problem := w.told("www.example."), w.problems["example."]; got != "192.0.2.2" || problem != "www.example. ALIAS web.test.: nobody answers; its last good addresses are served on" {
			t.Errorf("failing: %s, problem %q", got, problem)
		}
		close()

		close = w.open(Terms{})
		defer close()
		if got, serial := w.told("www.example."), w.served[apex].Serial(); got != "192.0.2.2" || serial != 12 {
			t.Errorf("after a restart: serial %d, %s", serial, got)
		}
		w.say("web.test.", "192.0.2.3")
		time.Sleep(10 * time.Minute)
		if got, serial, problem := w.told("www.example."), w.served[apex].Serial(), w.problems["example."]; got != "192.0.2.3" || serial != 13 || problem != "" {
			t.Errorf("well again: serial %d, %s, problem %q", serial, got, problem)
		}
	})
}

// TestFailures: a target that cannot be resolved leaves its record, with a reason.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.source("example.", `nx 60 ALIAS nx.test.
empty    60 ALIAS nothing.test.
local    60 ALIAS local.test.
loop1    60 ALIAS loop2
loop2    60 ALIAS loop1
self     60 ALIAS self
none     60 ALIAS missing
circle   60 ALIAS c1
c1       60 CNAME c2
c2       60 CNAME c1
`)
		w.say("nothing.test.", "")
		w.say("local.test.", "127.0.0.53")
		defer w.open(Terms{})()
		synctest.Wait()
		for name, want := range map[string]string{
			"nx": "answered NXDOMAIN", "empty": "no addresses", "local": "alias.refuse", "loop1": "in a circle", "loop2": "in a circle", "self": "in a circle",
			"none": "the zone here answers nxdomain", "circle": "CNAME records lead in a circle",
		} {
			if got := w.told(name + ".example."); got != "ALIAS" {
				t.Errorf("%s is served with %s", name, got)
			}
			if got := w.whyNot(name + ".example."); !strings.Contains(got, want) {
				t.Errorf("%s: problem %q, want one with %q", name, got, want)
			}
		}
		if got := w.problems["example."]; !strings.Contains(got, "SERVFAIL until there are addresses; and 7 more") {
			t.Errorf("problem %q", got)
		}
	})
}

// TestOwnZones: a target in a zone of ours is found there, through CNAME and ALIAS
// records and down to a delegation; one that is steered is said to be.
func TestOwnZones(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.source("example.", `own 60 ALIAS www.other.test.
chain    60 ALIAS own
out      60 ALIAS out.other.test.
below    60 ALIAS www.sub.other.test.
pool     60 ALIAS www.steered.test.
`)
		w.source("other.test.", "www 60 CNAME real\nreal 60 A 192.0.2.7\nout 60 CNAME web.outside.\nsub 60 NS ns.sub\nns.sub 60 A 192.0.2.53\n")
		w.source("steered.test.", "", "www.steered.test.")
		w.say("web.outside.", "192.0.2.1")
		w.say("www.sub.other.test.", "192.0.2.8")
		defer w.open(Terms{})()
		time.Sleep(time.Minute) // the zones come one after the other
		for name, want := range map[string]string{"own": "192.0.2.7", "chain": "192.0.2.7", "out": "192.0.2.1", "below": "192.0.2.8", "pool": ""} {
			if got := w.told(name + ".example."); got != want {
				t.Errorf("%s: %s, want %s (%s)", name, got, want, w.whyNot(name+".example."))
			}
		}
		if got := fmt.Sprint(w.driver.Steered()); got != "[{pool.example. www.steered.test.}]" || w.steering != 1 {
			t.Errorf("steered %d times: %s", w.steering, got)
		}
		if len(w.cuts) == 0 || w.cuts[0] != "sub.other.test." {
			t.Errorf("cuts told of: %v", w.cuts)
		}
	})
}

// TestBounds: records beyond the limit, zones and views that are gone, and zones that
// are signed already have nothing asked for them.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		apex := w.source("example.", "a 60 ALIAS web.test.\nb 60 ALIAS other.test.\n")
		w.say("web.test.", "192.0.2.1")
		w.say("other.test.", "192.0.2.2")
		defer w.open(Terms{MaxPerZone: 1})()
		synctest.Wait()
		if a, b, problem := w.told("a.example."), w.told("b.example."), w.problems["example."]; a != "192.0.2.1" || b != "ALIAS" || !strings.Contains(problem, "b.example. ALIAS other.test.: beyond alias.maxPerZone, 1") {
			t.Errorf("a %s, b %s, problem %q", a, b, problem)
		}
		w.mu.Lock()
		w.gone = true
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if got := w.whyNot("a.example."); got != "its view is gone" {
			t.Errorf("problem %q", got)
		}
		w.driver.Retain(func(name dnsname.Name) bool { return name != apex })
		if got := w.whyNot("a.example."); got != "no ALIAS" {
			t.Errorf("a zone that is gone: %s", got)
		}
		signed := w.source("signed.", "@ 60 RRSIG SOA 15 1 60 20300101000000 20200101000000 1 signed. AAAA\nwww 60 ALIAS web.test.\n")
		if err := w.stage(signed); err == nil || !strings.Contains(err.Error(), "signed already") {
			t.Errorf("a signed zone: %v", err)
		}
	})
}
