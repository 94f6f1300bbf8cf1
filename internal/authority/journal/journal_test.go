package journal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// parse makes the version with the given serial of the lines.
func parse(t testing.TB, serial uint32, lines ...string) *zone.Zone {
	t.Helper()
	text := fmt.Sprintf("$ORIGIN example.\n$TTL 60\n@ SOA ns hostmaster %d 3600 600 86400 300\n@ NS ns\nns A 192.0.2.53\n%s\n", serial, strings.Join(lines, "\n"))
	b := zone.NewBuilder(dnsname.MustParse("example."))
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{}) {
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

func text(records func(func(rdata.Record) bool)) []string {
	var all []string
	for r := range records {
		all = append(all, strings.ReplaceAll(r.String(), "\t", " "))
	}
	slices.Sort(all)
	return all
}

func TestBetween(t *testing.T) {
	old := parse(t, 1, "a A 192.0.2.1", "a A 192.0.2.2", "b TXT \"x\"", "c MX 10 Mail", "z 60 A 192.0.2.9")
	now := parse(t, 3, "a A 192.0.2.2", "a A 192.0.2.3", "b TXT \"x\"", "c MX 10 mail", "d AAAA 2001:db8::1", "z 61 A 192.0.2.9")
	d, ok := Between(old, now, 1<<20)
	if !ok {
		t.Fatal("no difference")
	}
	wantDeleted := []string{"a.example. 60 IN A 192.0.2.1", "c.example. 60 IN MX 10 Mail.example.", "z.example. 60 IN A 192.0.2.9"}
	wantAdded := []string{"a.example. 60 IN A 192.0.2.3", "c.example. 60 IN MX 10 mail.example.", "d.example. 60 IN AAAA 2001:db8::1", "z.example. 61 IN A 192.0.2.9"}
	if got := text(d.Deleted()); !slices.Equal(got, wantDeleted) {
		t.Errorf("deleted %q, want %q", got, wantDeleted)
	}
	if got := text(d.Added()); !slices.Equal(got, wantAdded) {
		t.Errorf("added %q, want %q", got, wantAdded)
	}
	if d.From != 1 || d.To != 3 || !strings.Contains(d.OldSOA.String(), " 1 3600") || !strings.Contains(d.NewSOA.String(), " 3 3600") {
		t.Errorf("from %d to %d, %v, %v", d.From, d.To, d.OldSOA, d.NewSOA)
	}
	if deleted, added := d.Len(); deleted != 3 || added != 4 {
		t.Errorf("%d deleted, %d added", deleted, added)
	}
}

// TestNoDifference: RFC 1982: a serial that does not go forward cannot be told,
// and what is too much is not kept.
func TestNoDifference(t *testing.T) {
	for _, tt := range []struct {
		from, to uint32
		limit    int
		want     bool
	}{
		{1, 2, 1 << 20, true}, {2, 2, 1 << 20, false}, {2, 1, 1 << 20, false},
		{0xFFFFFFFF, 0, 1 << 20, true}, {0, 1 << 31, 1 << 20, false}, {1, 2, 220, false},
	} {
		_, ok := Between(parse(t, tt.from, "a A 192.0.2.1"), parse(t, tt.to, "b A 192.0.2.1"), tt.limit)
		if ok != tt.want {
			t.Errorf("%+v: %v", tt, ok)
		}
	}
}

// TestRandomVersions: what a difference says leads from one version to the other,
// by a naive second way of telling.
func TestRandomVersions(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	version := func(serial uint32) *zone.Zone {
		var lines []string
		for range rnd.IntN(30) {
			lines = append(lines, fmt.Sprintf("%c%d %d A 192.0.2.%d", 'a'+rnd.IntN(3), rnd.IntN(5), 60, rnd.IntN(4)))
			lines = append(lines, fmt.Sprintf("%c%d TXT \"%d\"", 'a'+rnd.IntN(3), rnd.IntN(5), rnd.IntN(3)))
		}
		return parse(t, serial, lines...)
	}
	for serial := range uint32(200) {
		old, now := version(serial), version(serial+1)
		d, ok := Between(old, now, 1<<20)
		if !ok {
			t.Fatal("no difference")
		}
		got := map[string]bool{}
		for _, r := range text(old.Records()) {
			got[r] = true
		}
		for _, r := range append(text(d.Deleted()), strings.ReplaceAll(d.OldSOA.String(), "\t", " ")) {
			if !got[r] {
				t.Fatalf("deletes %s, which is not there", r)
			}
			delete(got, r)
		}
		for _, r := range append(text(d.Added()), strings.ReplaceAll(d.NewSOA.String(), "\t", " ")) {
			if got[r] {
				t.Fatalf("adds %s, which is there", r)
			}
			got[r] = true
		}
		want := text(now.Records())
		for _, r := range want {
			if !got[r] {
				t.Fatalf("lacks %s", r)
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
	}
}

func TestJournal(t *testing.T) {
	var j *Journal
	if _, ok := j.Since(0); ok {
		t.Error("an empty journal knows something")
	}
	between := func(from, to uint32) *Difference {
		d, ok := Between(parse(t, from, "a A 192.0.2.1"), parse(t, to, "b A 192.0.2.1"), 1<<20)
		if !ok {
			t.Fatal("no difference")
		}
		return d
	}
	size := between(1, 2).Size()
	for serial := range uint32(10) {
		j = j.With(between(serial, serial+1), 4*size+size/2)
	}
	for from, want := range map[rdata.Serial]int{10: 0, 9: 1, 6: 4, 5: 0} {
		if list, _ := j.Since(from); len(list) != want {
			t.Errorf("since %d: %d differences, want %d", from, len(list), want)
		}
	}
	if n, octets := j.Stats(); n != 4 || octets != 4*size {
		t.Errorf("%d differences in %d octets", n, octets)
	}
	if k := j.With(between(11, 12), 1<<20); len(k.All()) != 1 {
		t.Error("a gap was bridged")
	}
	if j.With(nil, 1<<20) != nil || j.With(between(10, 11), 10) != nil {
		t.Error("what cannot be told does not end the journal")
	}
}
