package signer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// hosts returns a zone that is too large to be built anew by an edit of it.
func hosts(t *testing.T) *zone.Zone {
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf("n%d A 192.0.2.1", i))
	}
	return parse(t, 1, lines...)
}

// TestCompact: versions go on while a zone is built anew beside them; the one that takes
// its place is equal, and no version waits.
func TestCompact(t *testing.T) {
	s := &Signers{compacts: make(chan struct{}, 1)}
	e := &entry{signed: signed{zone: hosts(t)}}
	for i := 0; s.Counts().Compacted < 2; i++ {
		if i > 5000 {
			t.Fatal("the zone is never built anew")
		}
		old := e.signed.zone
		name := dnsname.MustParse(fmt.Sprintf("new%d.example.com.", i%700))
		edit := old.Edit()
		soa := apexSOA(old)
		edit.Delete(soa)
		soa.Data = withSerial(soa.Data, old.Serial()+1)
		edit.Add(soa)
		edit.Add(rdata.Record{Name: name, Type: rdata.TypeTXT, Class: rdata.ClassIN, TTL: 60, Data: append([]byte{200}, strings.Repeat(string(rune('a'+i%26)), 200)...)})
		z, problems := edit.Finish()
		if z == nil || z.Edits() == 0 {
			t.Fatalf("edit %d: built anew while somebody waits, or %v", i, problems)
		}
		got := s.compact(e, z, journal.BetweenAt(old, z, []dnsname.Name{name}))
		if got != z && (got.Edits() >= z.Edits() || !journal.Same(got, z)) {
			t.Fatalf("edit %d: the zone that took the place is another, or no smaller", i)
		}
		e.signed.zone = got
		if i%10 == 0 {
			s.wait.Wait() // so that a few versions come while the zone is built
		}
	}
}

// apexSOA returns the SOA record of a zone.
func apexSOA(z *zone.Zone) rdata.Record {
	set, _ := z.RRset(z.Apex(), rdata.TypeSOA)
	data, _, _ := set.Record(0)
	return rdata.Record{Name: z.Origin(), Type: rdata.TypeSOA, Class: rdata.ClassIN, TTL: set.TTL, Data: data}
}

// imagesInMemory keeps the last image.
type imagesInMemory struct {
	zone  *zone.Zone
	key   []byte
	taken int
}

func (i *imagesInMemory) Take(name dnsname.Name, key []byte) *zone.Zone {
	if i.zone == nil || i.zone.Origin() != name || !bytes.Equal(i.key, key) {
		return nil
	}
	i.taken++
	return i.zone
}

func (i *imagesInMemory) Put(z *zone.Zone, key []byte) { i.zone, i.key = z, key }

// TestImageOfCopy: a start takes a signed version from the image that belongs to the copy,
// and from no other; a copy without one gets it.
func TestImageOfCopy(t *testing.T) {
	folder, images := t.TempDir(), new(imagesInMemory)
	s := &Signers{config: Config{Images: images}}
	first, second := parse(t, 1, "www A 192.0.2.1"), parse(t, 2, "www A 192.0.2.2")
	load := func(want *zone.Zone, fromImage bool) {
		t.Helper()
		before := images.taken
		z, a, err := loadCopy(folder, origin, images)
		if err != nil || !journal.Same(z, want) || a.Setup != "x" || (images.taken > before) != fromImage {
			t.Errorf("%v, setup %q, from the image: %v", err, a.Setup, images.taken > before)
		}
	}
	if err := s.writeSigned(folder, signed{zone: first, setup: "x"}); err != nil {
		t.Fatal(err)
	}
	load(first, true)
	old := *images
	if err := s.writeSigned(folder, signed{zone: second, setup: "x"}); err != nil {
		t.Fatal(err)
	}
	*images = old // as if the image had not been written
	load(second, false)
	load(second, true)
	path := filepath.Join(folder, copyFile)
	copied, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied[bytes.Index(copied, []byte(`"setup":"x"`))+9] = 'y'
	if err := os.WriteFile(path, copied, 0o600); err != nil {
		t.Fatal(err)
	}
	if z, _, err := loadCopy(folder, origin, images); err == nil || z != nil {
		t.Error("a copy that says something else than when it was written was used")
	}
}
