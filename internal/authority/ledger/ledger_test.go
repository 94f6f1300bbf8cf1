package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

var origin = dnsname.MustParse("example.com.")

const exampleText = `$TTL 1h
@    SOA ns1 hostmaster 1 1h 15m 1w 5m
@    NS  ns1
ns1  A   192.0.2.1
www  A   192.0.2.2
www  A   192.0.2.3
`

func parse(t testing.TB, name dnsname.Name, text string) *zone.Zone {
	t.Helper()
	b := zone.NewBuilder(name)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: name}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// text is all of a zone.
func text(z *zone.Zone) string {
	if z == nil {
		return "nothing"
	}
	var b strings.Builder
	for r := range z.Records() {
		b.WriteString(r.String() + "\n")
	}
	return b.String()
}

func record(t testing.TB, line string) rdata.Record {
	t.Helper()
	for r, err := range zonefile.Read(strings.NewReader("$TTL 1h\n"+line+"\n"), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Fatalf("no record in %q", line)
	return rdata.Record{}
}

// book is a ledger with what it told.
type book struct {
	*Ledger
	t testing.TB

	mu        sync.Mutex
	published []string
	problems  map[string]string
	failing   string
}

// open opens a ledger with the zones, each with exampleText at first.
func open(t testing.TB, c Config, names ...dnsname.Name) *book {
	t.Helper()
	b := &book{t: t, problems: map[string]string{}}
	c.Journal = 1 << 20
	c.Publish = func(name dnsname.Name) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if z := b.Version(name).Zone; z != nil { // else it is not ours any more
			b.published = append(b.published, fmt.Sprintf("%s %d", name, z.Serial()))
		}
	}
	c.Problem = func(name dnsname.Name, text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		key := "all"
		if !name.IsZero() {
			key = name.String()
		}
		if delete(b.problems, key); text != "" {
			b.problems[key] = text
		}
	}
	c.Failing = func(text string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.failing = text
	}
	l, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	b.Ledger = l
	t.Cleanup(func() { l.Close() })
	b.set(names...)
	return b
}

func (b *book) set(names ...dnsname.Name) {
	var zones []Zone
	for _, n := range names {
		zones = append(zones, Zone{Name: n, Keep: Keep{Versions: 1000, For: time.Hour, Size: 8 << 20}, Initial: func() (*zone.Zone, error) {
			return parse(b.t, n, exampleText), nil
		}})
	}
	b.Set(zones)
}

func (b *book) problem(about string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.problems[about]
}

// add adds records to a zone.
func (b *book) add(name dnsname.Name, lines ...string) (Receipt, error) {
	return b.Change(context.Background(), name, "test", func(*zone.Zone) (update.Change, error) {
		var c update.Change
		for _, line := range lines {
			r := record(b.t, line)
			var err error
			if r.Name, err = r.Name.ReplaceSuffix(origin, name); err != nil {
				b.t.Error(err)
			}
			c.Added = append(c.Added, r)
		}
		return c, nil
	})
}

func (b *book) mustAdd(name dnsname.Name, lines ...string) Receipt {
	b.t.Helper()
	r, err := b.add(name, lines...)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *book) remove(name dnsname.Name, lines ...string) (Receipt, error) {
	return b.Change(context.Background(), name, "test", func(*zone.Zone) (update.Change, error) {
		var c update.Change
		for _, line := range lines {
			c.Deleted = append(c.Deleted, record(b.t, line))
		}
		return c, nil
	})
}

// TestChange: a change is in the version that is published, in the history with its
// author and counts, and there after a restart, whether or not the ledger was closed.
func TestChange(t *testing.T) {
	folder := t.TempDir()
	b := open(t, Config{Folder: folder}, origin)
	if got := b.mustAdd(origin, "new TXT one", "www A 192.0.2.4"); got != (Receipt{1, 2, true}) {
		t.Errorf("receipt %+v", got)
	}
	if got := b.mustAdd(origin, "new TXT one"); got != (Receipt{2, 2, false}) {
		t.Errorf("receipt of nothing %+v", got)
	}
	if got, err := b.remove(origin, "www A 192.0.2.2", "www A 192.0.2.99"); err != nil || got != (Receipt{2, 3, true}) {
		t.Errorf("receipt %+v, %v", got, err)
	}
	want := text(b.Version(origin).Zone)
	for _, line := range []string{"new.example.com.\t3600\tIN\tTXT\t\"one\"", "www.example.com.\t3600\tIN\tA\t192.0.2.4", "hostmaster.example.com. 3 3600"} {
		if !strings.Contains(want, line) {
			t.Errorf("no %q in:\n%s", line, want)
		}
	}
	if strings.Contains(want, "192.0.2.2\n") {
		t.Error("the deleted record is there")
	}
	if want := []string{"example.com. 2", "example.com. 3"}; !slices.Equal(b.published, want) {
		t.Errorf("published %v, want %v", b.published, want)
	}
	checkHistory := func(b *book) {
		t.Helper()
		var got []string
		list, err := b.History(origin, 0)
		for _, p := range list {
			got = append(got, fmt.Sprintf("%d %s -%d +%d", p.Serial, p.By, p.Deleted, p.Added))
		}
		if want := []string{"3 test -1 +0", "2 test -0 +2", "1  -0 +0"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("history %q, %v; want %q", got, err, want)
		}
	}
	checkHistory(b)
	// As if the process had been killed: the files of now, without Close.
	killed := t.TempDir()
	copyFolder(t, folder, killed)
	for _, folder := range []string{killed, folder} {
		b.Close()
		b = open(t, Config{Folder: folder}, origin)
		v := b.Version(origin)
		if got := text(v.Zone); got != want {
			t.Errorf("after a restart:\n%s\nwant:\n%s", got, want)
		}
		if list, ok := v.Journal.Since(1); !ok || len(list) != 2 {
			t.Errorf("journal since 1: %v %v", list, ok)
		}
		checkHistory(b)
		if p := b.problem("example.com.") + b.problem("all"); p != "" {
			t.Error(p)
		}
	}
}

func copyFolder(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// TestRefused: an error of decide or of the gate is its caller's alone.
func TestRefused(t *testing.T) {
	mine, gate := errors.New("not this one"), errors.New("no TXT here")
	b := open(t, Config{Folder: t.TempDir(), Check: func(old, now *zone.Zone, _ *journal.Difference) error {
		if strings.Contains(text(now), "TXT") {
			return gate
		}
		return nil
	}}, origin)
	if _, err := b.Change(context.Background(), origin, "test", func(*zone.Zone) (update.Change, error) { return update.Change{}, mine }); !errors.Is(err, mine) {
		t.Errorf("got %v", err)
	}
	if _, err := b.add(origin, "x TXT y"); !errors.Is(err, gate) || !errors.Is(err, ErrRefused) {
		t.Errorf("got %v", err)
	}
	if _, err := b.add(origin, "www CNAME elsewhere"); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "CNAME") {
		t.Errorf("got %v", err)
	}
	if _, err := b.add(dnsname.MustParse("example.net."), "x A 192.0.2.1"); !errors.Is(err, ErrNoZone) {
		t.Errorf("got %v", err)
	}
	if got := b.mustAdd(origin, "x A 192.0.2.1"); got.To != 2 {
		t.Errorf("got %+v", got)
	}
}

// TestUnset: a zone that is taken out of the configuration, while changes are on their
// way, and put back, has every change that was acknowledged, also after a restart.
func TestUnset(t *testing.T) {
	folder := t.TempDir()
	b := open(t, Config{Folder: folder, limits: limits{checkpoint: 1000, entry: 10_000, fold: 1000}}, origin)
	acked := rdata.Serial(1)
	var work sync.WaitGroup
	var mu sync.Mutex
	for w := range 4 {
		work.Go(func() {
			for i := range 40 {
				r, err := b.add(origin, fmt.Sprintf("n%d-%d TXT x", w, i))
				mu.Lock()
				if err == nil {
					acked = max(acked, r.To)
				} else if !errors.Is(err, ErrNoZone) {
					t.Error(err)
				}
				mu.Unlock()
			}
		})
	}
	for range 20 {
		b.set(other)
		b.set(origin, other)
		b.Version(origin)
	}
	work.Wait()
	if got := b.Version(origin).Zone.Serial(); got != acked {
		t.Errorf("serial %d, %d was acknowledged", got, acked)
	}
	b.set(other) // not ours any more when it is closed
	b.Close()
	b = open(t, Config{Folder: folder}, origin)
	if got := b.Version(origin).Zone.Serial(); got != acked {
		t.Errorf("after a restart: serial %d, %d was acknowledged", got, acked)
	}
}

// memoryImages are images in memory.
type memoryImages struct {
	zones map[string]*zone.Zone // by the header of their base
	taken int
}

func (m *memoryImages) Take(_ dnsname.Name, header []byte) *zone.Zone {
	z := m.zones[string(header)]
	if z != nil {
		m.taken++
	}
	return z
}

func (m *memoryImages) Put(z *zone.Zone, header []byte) { m.zones[string(header)] = z }

// TestImages: a start takes the base from its image, with the changes since, and reads it
// when the image is of another one.
func TestImages(t *testing.T) {
	folder, name := t.TempDir(), dnsname.MustParse("example.")
	images := &memoryImages{zones: map[string]*zone.Zone{}}
	begin := func() *Ledger {
		l, err := Open(Config{Folder: folder, Images: images})
		if err != nil {
			t.Fatal(err)
		}
		l.Set([]Zone{{Name: name, Keep: Keep{Versions: 10, Size: 1 << 20}, Initial: func() (*zone.Zone, error) { return large(t, name, 100), nil }}})
		return l
	}
	change := func(l *Ledger, i int) {
		_, err := l.Change(context.Background(), name, "test", func(*zone.Zone) (update.Change, error) {
			owner, err := name.Child(fmt.Sprintf("n%d", i))
			return update.Change{Added: []rdata.Record{{Name: owner, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 60, Data: number(i)}}}, err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	l := begin()
	l.Version(name)
	for i := range 5 {
		change(l, i)
	}
	want := l.Version(name).Zone
	l.Close()
	if len(images.zones) == 0 {
		t.Fatal("no image of the first version")
	}
	for _, lost := range []bool{false, true} {
		if images.taken = 0; lost {
			clear(images.zones)
		}
		l = begin()
		got := l.Version(name).Zone
		if got == nil || !journal.Same(got, want) || got.Serial() != want.Serial() {
			t.Errorf("image lost: %v: another version after the start", lost)
		}
		if (images.taken == 0) != lost {
			t.Errorf("image lost: %v: taken %d times", lost, images.taken)
		}
		if len(images.zones) == 0 {
			t.Error("no image is made of what was read")
		}
		l.Close()
	}
}
