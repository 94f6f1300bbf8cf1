package ledger

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// TestRollback: any version in the history can be had, and made the newest with a
// serial above all, TTLs, case and SOA fields included.
func TestRollback(t *testing.T) {
	b := open(t, Config{Folder: t.TempDir()}, origin)
	steps := []func() (Receipt, error){
		func() (Receipt, error) { return b.add(origin, "a TXT one", "b TXT two") },
		func() (Receipt, error) { return b.remove(origin, "www A 192.0.2.2", "www A 192.0.2.3") },
		func() (Receipt, error) { return b.add(origin, "www 60 CNAME Elsewhere.example.net.") },
		func() (Receipt, error) { return b.add(origin, "a 30 TXT three") }, // lowers the TTL of both
		func() (Receipt, error) { return b.add(origin, "@ SOA ns9 other 77 2h 16m 2w 6m") },
		func() (Receipt, error) { return b.remove(origin, "b TXT two") },
	}
	known := map[rdata.Serial]string{1: text(b.Version(origin).Zone)}
	for i, step := range steps {
		r, err := step()
		if err != nil || !r.Changed {
			t.Fatalf("step %d: %+v %v", i, r, err)
		}
		known[r.To] = text(b.Version(origin).Zone)
	}
	newest := rdata.Serial(78)
	if got := b.Version(origin).Zone.Serial(); got != newest {
		t.Fatalf("serial %d", got)
	}
	for serial, want := range known {
		z, err := b.At(origin, serial)
		if err != nil || text(z) != want {
			t.Errorf("serial %d: %v\n%s\nwant\n%s", serial, err, text(z), want)
		}
	}
	for _, serial := range []rdata.Serial{1, 4, 5, 77, 3} {
		newest++
		r, err := b.Rollback(context.Background(), origin, "test", serial)
		if err != nil || r.To != newest {
			t.Fatalf("back to %d: %+v %v, want serial %d", serial, r, err, newest)
		}
		want := strings.Replace(known[serial], fmt.Sprintf(" %d ", serial), fmt.Sprintf(" %d ", newest), 1)
		if got := text(b.Version(origin).Zone); got != want {
			t.Errorf("back to %d:\n%s\nwant\n%s", serial, got, want)
		}
	}
	if _, err := b.Rollback(context.Background(), origin, "test", 50); !errors.Is(err, ErrNoHistory) {
		t.Errorf("got %v", err)
	}
}

// TestKeep: the history stays within its bounds however much is changed, and the files
// with it; what is kept can be had.
func TestKeep(t *testing.T) {
	d := newMemDisk(rand.New(rand.NewPCG(4, 4)))
	b := open(t, crashConfig(t, d))
	const size = 20_000
	b.Set([]Zone{{Name: origin, Keep: Keep{Versions: 10, For: 0, Size: size}, Initial: func() (*zone.Zone, error) { return parse(t, origin, exampleText), nil }}})
	versions := fill(b, 300)
	b.Close()
	b = open(t, Config{Folder: b.config.Folder, disk: d})
	b.Set([]Zone{{Name: origin, Keep: Keep{Versions: 10, For: 0, Size: size}}})
	list, err := b.History(origin, 0)
	if err != nil || len(list) < 10 || len(list) > 100 {
		t.Fatalf("%d versions, %v", len(list), err)
	}
	for _, p := range list {
		if z, err := b.At(origin, p.Serial); err != nil || text(z) != versions[p.Serial-1] {
			t.Errorf("serial %d: %v", p.Serial, err)
		}
	}
	if n := d.used(); n > 4*size+3*len(versions[300]) {
		t.Errorf("%d octets on disk", n)
	}
	_, chain, err := b.chain(origin)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, tt := range []struct {
		keep Keep
		at   time.Time
		want int
	}{
		{Keep{Versions: 3}, now.Add(time.Second), 3},
		{Keep{For: time.Hour}, now.Add(2 * time.Hour), 0},
		{Keep{For: time.Hour}, now, len(chain)},
		{Keep{For: time.Hour, Versions: 4}, now.Add(2 * time.Hour), 4},
		{Keep{Versions: 1000, Size: 1}, now, 0},
	} {
		if got := len(tt.keep.history(chain, tt.at)); got != tt.want {
			t.Errorf("%+v keeps %d of %d, want %d", tt.keep, got, len(chain), tt.want)
		}
	}
}

// TestGroup: changes of many callers to several zones, each of which counts by what it
// sees: none is lost, none is seen twice, the serial counts them, and the history and
// the journal have each.
func TestGroup(t *testing.T) {
	const writers, each = 16, 25
	names := []dnsname.Name{origin, other, dnsname.MustParse("third.test.")}
	folder := t.TempDir()
	b := open(t, Config{Folder: folder}, names...)
	counter := dnsname.MustParse("counter.example.com.")
	var work sync.WaitGroup
	refused := errors.New("every tenth is refused")
	for w := range writers {
		work.Go(func() {
			for i := range each {
				name := names[(w+i)%len(names)]
				_, err := b.Change(context.Background(), name, fmt.Sprintf("writer %d", w), func(now *zone.Zone) (update.Change, error) {
					if (w*each+i)%10 == 0 {
						return update.Change{}, refused
					}
					return count(now, counter, name)
				})
				if err != nil && !errors.Is(err, refused) {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	total := 0
	for range 2 { // and once more from disk
		total = 0
		for _, name := range names {
			v := b.Version(name)
			n := counted(v.Zone, counter, name)
			total += n
			if int(v.Zone.Serial()) != n+1 {
				t.Errorf("%s: serial %d after %d changes", name, v.Zone.Serial(), n)
			}
			if list, err := b.History(name, 0); err != nil || len(list) != n+1 {
				t.Errorf("%s: %d versions in the history of %d changes: %v", name, len(list), n, err)
			}
			if list, ok := v.Journal.Since(1); !ok || len(list) != n {
				t.Errorf("%s: %d differences of %d changes", name, len(list), n)
			}
		}
		if want := writers * each * 9 / 10; total != want {
			t.Errorf("%d changes, want %d", total, want)
		}
		b.Close()
		b = open(t, Config{Folder: folder}, names...)
	}
}

// count adds one to the number in a TXT record.
func count(now *zone.Zone, owner, name dnsname.Name) (update.Change, error) {
	owner, err := owner.ReplaceSuffix(origin, name)
	if err != nil {
		return update.Change{}, err
	}
	r := rdata.Record{Name: owner, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 1}
	n := counted(now, owner, owner)
	old, next := r, r
	old.Data, next.Data = number(n), number(n+1)
	if n == 0 {
		return update.Change{Added: []rdata.Record{next}}, nil
	}
	return update.Change{Deleted: []rdata.Record{old}, Added: []rdata.Record{next}}, nil
}

func number(n int) []byte { s := fmt.Sprint(n); return append([]byte{byte(len(s))}, s...) }

func counted(z *zone.Zone, owner, name dnsname.Name) (n int) {
	if owner != name {
		owner, _ = owner.ReplaceSuffix(origin, name)
	}
	if set, ok := z.RRset(z.Lookup(owner).Exact, rdata.TypeTXT); ok {
		data, _, _ := set.Record(0)
		fmt.Sscan(string(data[1:]), &n)
	}
	return n
}

// TestLargeReplace: a version that has little in common with the one before becomes a
// new base; what comes after it has a history again. Every operation on the disk is
// the last one once.
func TestLargeReplace(t *testing.T) {
	var lines strings.Builder
	lines.WriteString(exampleText)
	for i := range 60 {
		fmt.Fprintf(&lines, "large%d TXT %040d\n", i, i)
	}
	rnd := rand.New(rand.NewPCG(6, 6))
	for crashAt := 1; ; crashAt++ {
		d := newMemDisk(rnd)
		c := crashConfig(t, d)
		b := open(t, c, origin)
		b.mustAdd(origin, "a TXT one")
		before := text(b.Version(origin).Zone)
		d.mu.Lock()
		d.crashAt = d.ops + crashAt
		d.mu.Unlock()
		r, err := b.Replace(context.Background(), origin, "test", parse(t, origin, lines.String()), false)
		want := before
		if err == nil {
			want = text(b.Version(origin).Zone)
			if r != (Receipt{2, 3, true}) {
				t.Fatalf("receipt %+v", r)
			}
		} else if !errors.Is(err, ErrNotKept) {
			t.Fatal(err)
		}
		d.mu.Lock()
		finished := d.ops < d.crashAt
		if finished {
			d.crashAt = 0
		}
		d.mu.Unlock()
		if finished {
			b.mustAdd(origin, "b TXT two")
			want = text(b.Version(origin).Zone)
			if list, err := b.History(origin, 0); err != nil || len(list) != 2 {
				t.Errorf("history %v %v", list, err)
			}
		}
		c.disk = d.powerless()
		b.Close()
		b = open(t, c, origin)
		got := text(b.Version(origin).Zone)
		if got != want && (err == nil || !strings.Contains(got, "large59")) {
			t.Fatalf("crash at %d: %v:\n%s", crashAt, err, got)
		}
		if p := b.problem("example.com."); p != "" {
			t.Fatalf("crash at %d: %s", crashAt, p)
		}
		b.mustAdd(origin, "c TXT three")
		if finished {
			break
		}
	}
}
