package parentnotify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// world is a resolver and the servers of parents.
type world struct {
	mu      sync.Mutex
	records map[string][]string // "name type" -> RDATA in text
	zones   []string            // that negative answers come from
	asked   []string
	told    []string
	down    int // how many tries are in vain
}

func (w *world) resolve(_ context.Context, name dnsname.Name, t rdata.Type) (found Found, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := name.String() + " " + t.String()
	if t == rdata.TypeDSYNC {
		w.asked = append(w.asked, name.String())
	}
	for _, text := range w.records[key] {
		data, err := rdata.ParseText(t, dnsname.MustParse("."), text)
		if err != nil {
			return found, err
		}
		found.Data = append(found.Data, data)
	}
	if len(found.Data) > 0 {
		return found, nil
	}
	for n := name; !n.IsZero(); n = n.Parent() {
		if slices.Contains(w.zones, n.String()) {
			found.Zone = n
			return found, nil
		}
	}
	return found, errors.New("no server answers")
}

func (w *world) notify(_ context.Context, server netip.AddrPort, child dnsname.Name) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down > 0 {
		w.down--
		return errors.New("no answer")
	}
	w.told = append(w.told, fmt.Sprintf("%s %s", child, server))
	return nil
}

func (w *world) driver() *Driver {
	return New(Config{Resolve: w.resolve, Notify: w.notify, Log: slog.New(slog.DiscardHandler)})
}

// TestFind (RFC 9859 §4.1): the child's own record, that of a parent further up, that of the
// whole parent, and none.
func TestFind(t *testing.T) {
	const here = "CDS NOTIFY 5300 ns.parent.test."
	for _, tt := range []struct {
		about, child string
		zones        []string
		records      map[string][]string
		asked, to    string
	}{
		{"the child's", "child.parent.test.", []string{"parent.test."},
			map[string][]string{"child._dsync.parent.test. DSYNC": {here}},
			"child._dsync.parent.test.", "ns.parent.test. 5300"},
		{"of a parent two labels up", "city.ise.mie.jp.", []string{"jp."},
			map[string][]string{"city.ise.mie._dsync.jp. DSYNC": {"CDS NOTIFY 53 ns.jp."}},
			"city._dsync.ise.mie.jp. city.ise.mie._dsync.jp.", "ns.jp. 53"},
		{"of the whole parent", "child.parent.test.", []string{"parent.test."},
			map[string][]string{"_dsync.parent.test. DSYNC": {"CSYNC NOTIFY 53 other.test.", here}},
			"child._dsync.parent.test. _dsync.parent.test.", "ns.parent.test. 5300"},
		{"of the whole parent further up", "a.b.test.", []string{"test."},
			map[string][]string{"_dsync.test. DSYNC": {"CDS NOTIFY 53 ns.test."}},
			"a._dsync.b.test. a.b._dsync.test. _dsync.test.", "ns.test. 53"},
		{"the root is the parent", "test.", []string{"."}, map[string][]string{"test._dsync. DSYNC": {"CDS NOTIFY 53 ns.test."}}, "test._dsync.", "ns.test. 53"},
		{"none", "child.parent.test.", []string{"parent.test."}, nil, "child._dsync.parent.test. _dsync.parent.test.", errNone.Error()},
		{"others only", "child.parent.test.", []string{"parent.test."},
			map[string][]string{"child._dsync.parent.test. DSYNC": {"CSYNC NOTIFY 53 ns.parent.test.", "CDS 2 53 ns.parent.test.", "CDS NOTIFY 0 ns.parent.test.", "CDS NOTIFY 53 ."}},
			"child._dsync.parent.test. _dsync.parent.test.", errNone.Error()},
		{"nobody answers", "child.parent.test.", nil, nil, "child._dsync.parent.test.", "child._dsync.parent.test. DSYNC: no server answers"},
		{"too long a name", strings.Repeat(strings.Repeat("a", 49)+".", 5), []string{"."}, nil, "", errNone.Error()},
	} {
		t.Run(tt.about, func(t *testing.T) {
			w := &world{zones: tt.zones, records: tt.records}
			d := w.driver()
			defer d.Close()
			targets, err := d.find(t.Context(), dnsname.MustParse(tt.child))
			var to []string
			for _, at := range targets {
				to = append(to, fmt.Sprintf("%s %d", at.host, at.port))
			}
			if err != nil {
				to = append(to, err.Error())
			}
			if got := strings.Join(to, ", "); got != tt.to {
				t.Errorf("found %s, want %s", got, tt.to)
			}
			if got := strings.Join(w.asked, " "); got != tt.asked {
				t.Errorf("asked for %s, want %s", got, tt.asked)
			}
		})
	}
}

func (w *world) parent() *world {
	w.zones = []string{"parent.test."}
	w.records = map[string][]string{
		"child._dsync.parent.test. DSYNC": {"CDS NOTIFY 5300 ns.parent.test."},
		"ns.parent.test. A":               {"192.0.2.1"}, "ns.parent.test. AAAA": {"2001:db8::1"},
	}
	return w
}

// TestTell: one address of the parent's server is told once of the same keys, and of others again.
func TestTell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := (&world{}).parent()
		d := w.driver()
		defer d.Close()
		child := dnsname.MustParse("child.parent.test.")
		if _, ok := d.Notice(child); ok {
			t.Error("there is something to tell from the start")
		}
		for _, keys := range []string{"", "a", "a", "b", "", "b"} {
			d.Wanted(child, keys)
			synctest.Wait()
		}
		const one = "child.parent.test. [2001:db8::1]:5300"
		if want := []string{one, one, one}; !slices.Equal(w.told, want) {
			t.Errorf("told %v, want %v: of a, of b, and of b once more", w.told, want)
		}
		if n, _ := d.Notice(child); n.To != "ns.parent.test. port 5300" || n.Tries != 1 || !n.Done || n.Error != "" {
			t.Errorf("notice %+v", n)
		}
		if got := d.Counts(); got != (Counts{Told: 3}) {
			t.Errorf("counts %+v", got)
		}
	})
}

// TestTellAgain: a parent's server that is down is told later, but not for ever; what is abandoned
// is not told any more.
func TestTellAgain(t *testing.T) {
	child := dnsname.MustParse("child.parent.test.")
	for _, tt := range []struct {
		down  int // each try has two addresses
		tries int
		error string
		told  int
	}{{1, 1, "", 1}, {4, 3, "", 1}, {2 * tries, tries, "192.0.2.1:5300: no answer", 0}} {
		synctest.Test(t, func(t *testing.T) {
			w := (&world{down: tt.down}).parent()
			d := w.driver()
			defer d.Close()
			d.Wanted(child, "a")
			time.Sleep(time.Hour)
			synctest.Wait()
			if n, _ := d.Notice(child); n.Tries != tt.tries || !n.Done || n.Error != tt.error || len(w.told) != tt.told {
				t.Errorf("down for %d: %+v, told %v", tt.down, n, w.told)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := (&world{down: 4}).parent()
		d := w.driver()
		defer d.Close()
		d.Wanted(child, "a")
		synctest.Wait()
		d.Forget(func(dnsname.Name) bool { return false })
		time.Sleep(time.Hour)
		synctest.Wait()
		if _, ok := d.Notice(child); ok || len(w.told) != 0 || w.down != 2 {
			t.Errorf("a zone that is gone: told %v, %d tries left", w.told, w.down)
		}
	})
}

// TestMostTargets: a parent cannot have NOTIFY sent to as many as it likes.
func TestMostTargets(t *testing.T) {
	w := &world{zones: []string{"parent.test."}, records: map[string][]string{}, down: 1000}
	const at = "child._dsync.parent.test. DSYNC"
	for i := range 2 * mostTargets {
		host := fmt.Sprintf("ns%d.parent.test.", i)
		w.records[at] = append(w.records[at], "CDS NOTIFY 53 "+host)
		for j := range mostAddresses {
			w.records[host+" A"] = append(w.records[host+" A"], fmt.Sprintf("192.0.2.%d", j))
			w.records[host+" AAAA"] = append(w.records[host+" AAAA"], fmt.Sprintf("2001:db8::%d", j))
		}
	}
	d := w.driver()
	defer d.Close()
	if _, err := d.tellOnce(t.Context(), dnsname.MustParse("child.parent.test.")); err == nil || 1000-w.down != mostTargets*mostAddresses {
		t.Errorf("%d messages, want %d: %v", 1000-w.down, mostTargets*mostAddresses, err)
	}
}

// TestWithout: a parent without a DSYNC record is asked once for the same keys.
func TestWithout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{zones: []string{"parent.test."}}
		d := w.driver()
		defer d.Close()
		d.Wanted(dnsname.MustParse("child.parent.test."), "a")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if n, _ := d.Notice(dnsname.MustParse("child.parent.test.")); !n.Done || n.Error != errNone.Error() || len(w.asked) != 2 || d.Counts() != (Counts{Without: 1}) {
			t.Errorf("notice %+v, asked %v", n, w.asked)
		}
	})
}

// FuzzParseDSYNC: RDATA of others is no danger.
func FuzzParseDSYNC(f *testing.F) {
	f.Add([]byte("\x00\x3b\x01\x00\x35\x02ns\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if at, ok := parseDSYNC(data); ok && (at.port == 0 || at.host.IsZero()) {
			t.Errorf("%x: %+v", data, at)
		}
	})
}
