package exports

import (
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

var (
	origin = dnsname.MustParse("example.com")
	app    = dnsname.MustParse("app.example.com")
)

// version returns the zone with a serial, with an address of the operator's own at app.
func version(t *testing.T, serial int) journal.Version {
	t.Helper()
	b := zone.NewBuilder(origin)
	for _, r := range []struct {
		owner dnsname.Name
		t     rdata.Type
		text  string
	}{
		{origin, rdata.TypeSOA, fmt.Sprintf("ns host %d 1 1 1 1", serial)}, {origin, rdata.TypeNS, "ns.example.net."},
		{app, rdata.TypeA, "192.0.2.99"}, {app, rdata.TypeTXT, "mine"},
	} {
		data, err := rdata.ParseText(r.t, origin, r.text)
		if err != nil {
			t.Fatal(err)
		}
		b.Add(rdata.Record{Name: r.owner, Type: r.t, Class: rdata.ClassIN, TTL: 60, Data: data})
	}
	b.Steer(app, zone.SteersAddresses)
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return journal.Version{Zone: z}
}

func answers(addresses ...string) []steered.Present {
	var records []rdata.Record
	for _, a := range addresses {
		records = append(records, rdata.Record{Name: app, Type: rdata.TypeA, Class: rdata.ClassIN, TTL: 5, Data: netip.MustParseAddr(a).AsSlice()})
	}
	return []steered.Present{steered.NewPresent(app, zone.SteersAddresses, records)}
}

// show returns the serial and what app has.
func show(v journal.Version) string {
	var all []string
	for r := range v.Zone.Records() {
		if r.Name == app {
			all = append(all, string(rdata.AppendText(nil, r.Type, r.Data)))
		}
	}
	slices.Sort(all)
	return fmt.Sprintf("%d %s", v.Zone.Serial(), strings.Join(all, " "))
}

// TestStage: the present answer stands in the place of the zone's own; changes make versions
// that go forward, and no sooner than the interval after each other; over a restart too.
func TestStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d *Driver
		file := filepath.Join(t.TempDir(), "exports.json")
		var told atomic.Int64
		open := func() {
			d = Open(Config{File: file, Log: slog.New(slog.DiscardHandler), Changed: func(dnsname.Name) { told.Add(1) }})
			d.SetInterval(5 * time.Second)
		}
		open()
		source := version(t, 10)
		step := func(what string, v journal.Version, a []steered.Present, want string) {
			t.Helper()
			got, err := d.Stage(origin, v, a)
			if err != nil || show(got) != want {
				t.Errorf("%s: %v, got %s, want %s", what, err, show(got), want)
			}
		}
		step("the first", source, answers("10.0.0.1", "10.0.0.2"), `10 "mine" 10.0.0.1 10.0.0.2`)
		step("the same in another order", source, answers("10.0.0.2", "10.0.0.1"), `10 "mine" 10.0.0.1 10.0.0.2`)
		step("too soon", source, answers("10.0.0.1"), `10 "mine" 10.0.0.1 10.0.0.2`)
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if changed := told.Load(); changed != 0 {
			t.Errorf("told %d times before the interval was over", changed)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if changed := told.Load(); changed != 1 {
			t.Errorf("told %d times, want once", changed)
		}
		step("when it is over", source, answers("10.0.0.1"), `11 "mine" 10.0.0.1`)
		time.Sleep(time.Minute)
		d.Poke(origin)
		d.Poke(origin)
		d.Poke(dnsname.MustParse("other.example"))
		synctest.Wait()
		if changed := told.Load(); changed != 2 {
			t.Errorf("poked after a calm minute: told %d times in all, want 2", changed)
		}
		step("nobody", source, answers(), `12 "mine"`)
		step("another source is not held up", version(t, 11), answers("10.0.0.1"), `13 "mine" 10.0.0.1`)
		source = version(t, 20)
		step("a source ahead", source, answers("10.0.0.1"), `20 "mine" 10.0.0.1`)
		time.Sleep(time.Minute)
		step("and on", source, answers("10.0.0.2"), `21 "mine" 10.0.0.2`)
		d.Close()
		open()
		step("after a restart, the same", version(t, 20), answers("10.0.0.2"), `21 "mine" 10.0.0.2`)
		time.Sleep(2 * time.Second) // written
		synctest.Wait()
		killed := d
		open()
		step("after a kill, well past what may have been served", version(t, 20), answers("10.0.0.2"), fmt.Sprintf(`%d "mine" 10.0.0.2`, 21+margin+1))
		step("steered no more", version(t, 20), nil, fmt.Sprintf(`%d "mine" 192.0.2.99`, 21+margin+2))
		d.Retain(func(dnsname.Name) bool { return false })
		step("nothing is known of it", version(t, 20), nil, `20 "mine" 192.0.2.99`)
		d.Close()
		killed.Close()
		d.Close()
	})
}
