package children

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
	"time"

	"pharos/internal/authority/childkeys"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/lab/zonetest"
)

var (
	parent = dnsname.MustParse("example.")
	child  = dnsname.MustParse("child.example.")
)

// world is a parent with a child that has two name servers.
type world struct {
	t        *testing.T
	config   Config
	old, new *sign.Key
	signal   func() (secure bool, err error)

	mu      sync.Mutex // guards what follows
	version *zone.Zone
	rules   childkeys.Rules
	asks    *sign.Key // whose DS the child wants
	since   time.Time // of its signatures
	differs bool      // its second server says nothing of that
	by      []string  // who has changed the zone
	problem string
}

func newWorld(t *testing.T, withDS bool) *world {
	w := &world{t: t, since: time.Now().Add(-time.Hour)}
	for _, k := range []**sign.Key{&w.old, &w.new} {
		var err error
		if *k, err = sign.Generate(257, dnssec.Ed25519, 0); err != nil {
			t.Fatal(err)
		}
	}
	text := "@ SOA ns h 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.9\nchild NS ns1.child\nchild NS ns.provider.test.\nns1.child A 192.0.2.1\n"
	if withDS {
		data, err := w.old.DS(child, 2)
		if err != nil {
			t.Fatal(err)
		}
		text += "child DS " + string(rdata.AppendText(nil, rdata.TypeDS, data)) + "\n"
	}
	w.asks, w.version = w.new, zonetest.Zone(t, "example.", text)
	w.config = Config{
		File: filepath.Join(t.TempDir(), "children.json"), Log: slog.New(slog.DiscardHandler), Ask: w.ask, Change: w.change,
		Zones: func() []Zone {
			w.mu.Lock()
			defer w.mu.Unlock()
			return []Zone{{Name: parent, Version: w.version, Every: time.Hour, Rules: w.rules}}
		},
		Addresses: func(_ context.Context, host dnsname.Name) []netip.AddrPort {
			last := map[string]byte{"ns1.child.example.": 1, "ns.provider.test.": 2}[host.String()]
			return []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, last}), 53)}
		},
		Signal: func(_ context.Context, name dnsname.Name, rr rdata.Type) ([][]byte, bool, error) {
			if name.String() != "_dsboot.child.example._signal.ns.provider.test." {
				t.Errorf("asked for the signal %s", name)
			}
			secure, err := w.signal()
			return w.says(rr), secure, err
		},
		Problem: func(_ dnsname.Name, text string) { w.mu.Lock(); w.problem = text; w.mu.Unlock() },
	}
	return w
}

func (w *world) says(t rdata.Type) [][]byte {
	data, err := w.asks.DS(child, 2)
	if err != nil {
		w.t.Fatal(err)
	}
	return map[rdata.Type][][]byte{rdata.TypeCDS: {data}, rdata.TypeCDNSKEY: {w.asks.RDATA()}, rdata.TypeDNSKEY: {w.old.RDATA(), w.new.RDATA()}}[t]
}

// ask is the child's name servers: both keys sign everything.
func (w *world) ask(_ context.Context, at netip.AddrPort, name dnsname.Name, t rdata.Type) (*dnswire.Message, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := &dnswire.Message{AA: true}
	if w.differs && at.Addr().As4()[3] == 2 && t != rdata.TypeDNSKEY {
		return m, nil
	}
	set := rdata.RRset{Name: name, Type: t, Class: rdata.ClassIN, TTL: 60, Data: w.says(t)}
	for _, data := range set.Data {
		m.Answer = append(m.Answer, rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: 60, Data: data})
	}
	for _, k := range []*sign.Key{w.old, w.new} {
		sig, err := k.SignRRset(set, child, w.since, time.Now().Add(time.Hour))
		if err != nil {
			return nil, err
		}
		m.Answer = append(m.Answer, rdata.Record{Name: name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: 60, Data: sig})
	}
	return m, nil
}

func (w *world) change(_ context.Context, _ dnsname.Name, by string, decide func(*zone.Zone) (update.Change, error)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, err := decide(w.version)
	if err != nil {
		return err
	}
	edit := w.version.Edit()
	for _, r := range c.Deleted {
		edit.Delete(r)
	}
	for _, r := range c.Added {
		edit.Add(r)
	}
	next, problems := edit.Finish()
	if next == nil {
		w.t.Fatal(problems)
	}
	w.version, w.by = next, append(w.by, by)
	return nil
}

// look asks the child, and returns what came of it, and whether the parent now has the DS of a
// key and of no other.
func (w *world) look(d *Driver, key *sign.Key) (outcome childkeys.Outcome, why string, has bool) {
	w.t.Helper()
	if err := d.Look(w.t.Context(), parent, child); err != nil {
		w.t.Fatal(err)
	}
	state := d.State(parent)
	if len(state) != 1 || state[0].Name != child {
		w.t.Fatalf("the children are %v", state)
	}
	want, _ := key.DS(child, 2)
	ds := dsOf(w.version, child)
	return state[0].Outcome, state[0].Why, len(ds) == 1 && string(ds[0]) == string(want)
}

// TestFollow: the parent's DS record becomes the one that all servers of the child ask for, by
// one change that says who asked; then nothing more is to be done.
func TestFollow(t *testing.T) {
	w := newWorld(t, true)
	d := Open(w.config)
	w.differs = true
	if got, why, has := w.look(d, w.old); got != childkeys.Refused || !has || !strings.Contains(w.problem, "different things") {
		t.Errorf("with servers that differ: %s (%s), the old DS is there: %v; problem %q", got, why, has, w.problem)
	}
	w.differs = false
	if got, why, has := w.look(d, w.new); got != childkeys.Change || !has || w.problem != "" {
		t.Errorf("%s (%s), the new DS is there: %v; problem %q", got, why, has, w.problem)
	}
	if got, why, has := w.look(d, w.new); got != childkeys.Agrees || !has || strings.Join(w.by, ";") != "CDS of child.example." {
		t.Errorf("again: %s (%s), the new DS is there: %v; changes by %q", got, why, has, w.by)
	}
	if err := d.Look(t.Context(), parent, dnsname.MustParse("ns.example.")); err == nil {
		t.Error("a name that is no delegation is asked")
	}
	if got := d.Counts(); got != (Counts{Asked: 3, Changed: 1, Refused: 1}) {
		t.Errorf("counts %+v", got)
	}
}

// TestReplay: what a child said before something newer is not believed again, after a restart
// neither (RFC 7344 §6.2).
func TestReplay(t *testing.T) {
	w := newWorld(t, true)
	if got, why, _ := w.look(Open(w.config), w.new); got != childkeys.Change {
		t.Fatalf("%s (%s)", got, why)
	}
	w.asks, w.since = w.old, w.since.Add(-time.Hour)
	if got, why, has := w.look(Open(w.config), w.new); got != childkeys.Refused || !strings.Contains(why, "said before") || !has {
		t.Errorf("%s (%s), the new DS is there: %v", got, why, has)
	}
	w.since = time.Now().Add(-time.Minute)
	if got, why, has := w.look(Open(w.config), w.old); got != childkeys.Change || !has {
		t.Errorf("said anew: %s (%s), the old DS is there: %v", got, why, has)
	}
}

// TestBootstrap: a first DS record comes by the signal of the name server outside of the child,
// if that is secure.
func TestBootstrap(t *testing.T) {
	w := newWorld(t, false)
	d := Open(w.config)
	w.signal = func() (bool, error) { t.Error("asked, though it is not allowed"); return true, nil }
	if got, _, _ := w.look(d, w.new); got != childkeys.Left {
		t.Errorf("not allowed: %s", got)
	}
	w.rules.Bootstrap = true
	for _, tt := range []struct {
		secure bool
		err    error
		want   childkeys.Outcome
	}{{false, nil, childkeys.Refused}, {true, errors.New("timeout"), childkeys.Refused}, {true, nil, childkeys.Change}} {
		w.signal = func() (bool, error) { return tt.secure, tt.err }
		if got, why, has := w.look(d, w.new); got != tt.want || has != (tt.want == childkeys.Change) {
			t.Errorf("secure %v, %v: %s (%s), the DS is there: %v", tt.secure, tt.err, got, why, has)
		}
	}
}

// TestMoved: a decision about DS records that are no longer those of the zone changes nothing.
func TestMoved(t *testing.T) {
	w := newWorld(t, true)
	have := dsOf(w.version, child)
	other := [][]byte{append([]byte{1}, have[0][1:]...)}
	for what, from := range map[string][][]byte{"another": other, "none": nil, "more": append(other, have...)} {
		if _, err := change(w.version, child, from, other); !errors.Is(err, errMoved) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := change(w.version, dnsname.MustParse("ns.example."), nil, other); !errors.Is(err, errMoved) {
		t.Errorf("no delegation: %v", err)
	}
	if c, err := change(w.version, child, have, nil); err != nil || len(c.Deleted) != 1 || len(c.Added) != 0 {
		t.Errorf("removal: %+v, %v", c, err)
	}
}

// TestManyChildren: of a zone with more delegations than are looked after the first are, and
// that there are more is said.
func TestManyChildren(t *testing.T) {
	var text strings.Builder
	text.WriteString("@ SOA ns h 1 3600 900 604800 300\n@ NS ns\nns A 192.0.2.9\n")
	for i := range MaxChildren + 1 {
		fmt.Fprintf(&text, "c%d NS ns\n", i)
	}
	z := zonetest.Zone(t, "example.", text.String())
	if names, more := children(z); len(names) != MaxChildren || !more {
		t.Errorf("%d children, more: %v", len(names), more)
	}
	w := newWorld(t, true)
	w.version = z
	w.config.Ask = func(context.Context, netip.AddrPort, dnsname.Name, rdata.Type) (*dnswire.Message, error) {
		return &dnswire.Message{AA: true}, nil
	}
	if err := Open(w.config).Look(t.Context(), parent, dnsname.MustParse("c1.example.")); err != nil || !strings.Contains(w.problem, "more than 10000") {
		t.Errorf("%v; problem %q", err, w.problem)
	}
	few := newWorld(t, true)
	if names, more := children(few.version); len(names) != 1 || more {
		t.Errorf("%v, more: %v", names, more)
	}
}

// TestManyServers: no more addresses of a child are asked than there may be.
func TestManyServers(t *testing.T) {
	w := newWorld(t, true)
	w.config.Addresses = func(context.Context, dnsname.Name) (all []netip.AddrPort) {
		for i := range 2 * maxServers {
			all = append(all, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 53))
		}
		return all
	}
	if got := len(Open(w.config).ask(t.Context(), child, []dnsname.Name{child})); got != maxServers {
		t.Errorf("%d were asked, want %d", got, maxServers)
	}
}
