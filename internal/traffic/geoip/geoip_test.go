package geoip

import (
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/diskfile"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

// shared returns a database of the shared test data.
func shared(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("PHAROS_SHARED")
	if dir == "" {
		dir = "../../../../shared"
	}
	file := filepath.Join(dir, "data/geoip", name)
	if _, err := os.Stat(file); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("shared test data is absent: %v", err)
	}
	return file
}

// TestFind: countries, regions and coordinates of both families, and how far they reach; who is
// in no country, or of no family that the database has, is nowhere.
func TestFind(t *testing.T) {
	city, err := Open(shared(t, "GeoIP2-City-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	country, err := Open(shared(t, "GeoLite2-Country-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		d    *Database
		addr string
		want pool.Place
		bits int
	}{
		{city, "81.2.69.160", pool.Place{Continent: "EU", Country: "GB", Region: "ENG", Latitude: 51.5}, 27},
		{city, "::ffff:81.2.69.160", pool.Place{Continent: "EU", Country: "GB", Region: "ENG", Latitude: 51.5}, 27},
		{city, "216.160.83.56", pool.Place{Continent: "NA", Country: "US", Region: "WA", Latitude: 47.5, Longitude: -122.5}, 29},
		{city, "127.0.0.1", pool.Place{}, 8},
		{country, "81.2.69.160", pool.Place{Continent: "EU", Country: "GB"}, 27},
		{country, "2001:218::1", pool.Place{Continent: "AS", Country: "JP"}, 32},
	} {
		for range 2 { // the second time from memory
			place, bits := c.d.Find(netip.MustParseAddr(c.addr))
			got := pool.Place{}
			if place != nil {
				got = place.Place
			}
			if got != c.want || bits != c.bits {
				t.Errorf("%s in %s: %+v for %d bits, want %+v for %d", c.addr, c.d.Source(), got, bits, c.want, c.bits)
			}
		}
	}
	if place, bits := city.Find(netip.Addr{}); place != nil || bits != 0 {
		t.Errorf("no address: %v %d", place, bits)
	}
	addr := netip.MustParseAddr("81.2.69.160")
	if n := testing.AllocsPerRun(100, func() { city.Find(addr) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestOpenRefuses: what is no database, is cut short, is damaged within, or has no places.
func TestOpenRefuses(t *testing.T) {
	octets, err := os.ReadFile(shared(t, "GeoIP2-City-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := append([]byte(nil), octets...)
	for i := len(damaged) / 3; i < len(damaged)/3+2000; i++ {
		damaged[i] ^= 0xFF
	}
	for name, content := range map[string]string{
		"empty": "", "text": "no database", "cut": string(octets[:len(octets)/2]), "tail": string(octets[len(octets)-300:]), "damaged": string(damaged),
	} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(shared(t, "GeoLite2-ASN-Test.mmdb")); err == nil || !strings.Contains(err.Error(), "has no places") {
		t.Errorf("a database of autonomous systems: %v", err)
	}
	if _, err := Open("absent"); err == nil {
		t.Error("no file was opened")
	}
}

// TestFollower: a file that comes is read, one that is damaged or gone leaves what there was,
// and each is said once it is so, and no more when it is not.
func TestFollower(t *testing.T) {
	octets, err := os.ReadFile(shared(t, "GeoLite2-Country-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 100)
	atlas := steer.NewAtlas()
	f := New(atlas, func(text string) { said <- text })
	path := filepath.Join(t.TempDir(), "country.mmdb")
	networks := []steer.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Place: pool.Place{Zone: "here"}}}
	place := func(addr string) string {
		p, _ := atlas.Edition().Find(netip.MustParseAddr(addr))
		if p == nil {
			return "nowhere"
		}
		return p.Country + p.Zone
	}
	if err := f.Set(path, networks); err != nil {
		t.Fatal(err)
	}
	if text := <-said; !strings.Contains(text, "until then") || place("81.2.69.160") != "nowhere" || place("10.1.1.1") != "here" {
		t.Errorf("no file: %q, %s, %s", text, place("81.2.69.160"), place("10.1.1.1"))
	}
	look := func(content []byte) string {
		t.Helper()
		os.Remove(path)
		if content != nil {
			temporary := path + ".new"
			if err := os.WriteFile(temporary, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(temporary, path); err != nil {
				t.Fatal(err)
			}
		}
		deadline := time.After(time.Minute)
		for {
			f.Look()
			select {
			case text := <-said:
				return text
			case <-deadline:
				t.Fatal("nothing was said")
			default:
			}
		}
	}
	if text := look(octets); text != "" || place("81.2.69.160") != "GB" || !strings.HasPrefix(f.Source(), "GeoLite2-Country") {
		t.Errorf("a good file: %q, %s, %s", text, place("81.2.69.160"), f.Source())
	}
	if text := look(octets[:1000]); !strings.Contains(text, "the one read before is used on") || place("81.2.69.160") != "GB" {
		t.Errorf("a damaged file: %q, %s", text, place("81.2.69.160"))
	}
	if text := look(nil); !strings.Contains(text, "the one read before is used on") || place("81.2.69.160") != "GB" {
		t.Errorf("no file any more: %q, %s", text, place("81.2.69.160"))
	}
	if text := look(octets); text != "" {
		t.Errorf("a good file again: %q", text)
	}
	if err := f.Set("", nil); err != nil || place("81.2.69.160") != "nowhere" || place("10.1.1.1") != "nowhere" {
		t.Errorf("nothing to follow: %v, %s", err, place("81.2.69.160"))
	}
	if err := f.Set("", []steer.Network{{Prefix: netip.PrefixFrom(netip.MustParseAddr("10.1.1.1"), 8)}}); err == nil {
		t.Error("a network with bits behind its length was taken")
	}
}

// TestReplacedWhileRead: whatever is done to the file while it is read (renamed over, written
// over, cut, removed), clients are where one whole version says that they are; and what is
// there at last is what counts.
func TestReplacedWhileRead(t *testing.T) {
	octets, err := os.ReadFile(shared(t, "GeoLite2-Country-Test.mmdb"))
	if err != nil {
		t.Fatal(err)
	}
	atlas := steer.NewAtlas()
	var mu sync.Mutex
	last := ""
	f := New(atlas, func(text string) { mu.Lock(); last = text; mu.Unlock() })
	path := filepath.Join(t.TempDir(), "country.mmdb")
	write := func(name string, content []byte) {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Error(err)
		}
	}
	write(path, octets)
	if err := f.Set(path, nil); err != nil {
		t.Fatal(err)
	}
	where := func() string {
		p, _ := atlas.Edition().Find(netip.MustParseAddr("81.2.69.160"))
		if p == nil {
			return "nowhere"
		}
		return p.Country
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 60 {
			switch i % 4 {
			case 0:
				write(path, octets[:len(octets)/2]) // in place, the one half and then the other
				write(path, octets)
			case 1:
				write(path+".new", octets)
				os.Rename(path+".new", path)
			case 2:
				os.Truncate(path, int64(i))
			case 3:
				os.Remove(path)
			}
		}
		write(path, octets)
	}()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		f.Look()
		if got := where(); got != "GB" {
			t.Fatalf("meanwhile the client is %s", got)
		}
	}
	deadline := time.Now().Add(time.Minute)
	for {
		f.Look()
		f.mu.Lock()
		settled := !f.reading && f.stamp == diskfile.StampOf(path)
		f.mu.Unlock()
		mu.Lock()
		text := last
		mu.Unlock()
		if settled && text == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("what is there at last is not used: %q", text)
		}
		runtime.Gosched()
	}
	if got := where(); got != "GB" {
		t.Errorf("at last the client is %s", got)
	}
}

func BenchmarkFind(b *testing.B) {
	d, err := Open(shared(b, "GeoIP2-City-Test.mmdb"))
	if err != nil {
		b.Fatal(err)
	}
	addr := netip.MustParseAddr("81.2.69.160")
	b.ReportAllocs()
	for b.Loop() {
		d.Find(addr)
	}
}
