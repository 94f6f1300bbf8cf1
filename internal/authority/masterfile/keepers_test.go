package masterfile

import (
	"os"
	"strings"
	"testing"

	"pharos/internal/authority/zone"
)

// TestKeeperImages: an image is taken for just the records that it was made of, and what
// is wrong with one is said.
func TestKeeperImages(t *testing.T) {
	b := newImageBench(t)
	read, err := Load(b.name, b.file, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	sum, other := []byte("the sum of these records"), []byte("another sum")
	ledger := b.i.Of("ledger")
	if ledger.Take(b.name, sum) != nil || b.said.Len() > 0 {
		t.Fatalf("without an image: %s", b.said.String())
	}
	ledger.Put(read.Zone, sum)
	b.i.writers.Wait()
	for _, tt := range []struct {
		what string
		take func(i *Images) *zone.Zone
		want bool
	}{
		{"the same records", func(i *Images) *zone.Zone { return i.Of("ledger").Take(b.name, sum) }, true},
		{"other records", func(i *Images) *zone.Zone { return i.Of("ledger").Take(b.name, other) }, false},
		{"another keeper", func(i *Images) *zone.Zone { return i.Of("secondary ").Take(b.name, sum) }, false},
	} {
		for _, i := range []*Images{b.i, NewImages(b.i.folder, b.i.log)} { // in this process, and after a start
			if got := tt.take(i); (got != nil) != tt.want || got != nil && got.Serial() != read.Zone.Serial() {
				t.Errorf("%s: got %v, want one: %v", tt.what, got, tt.want)
			}
		}
	}
	if _, ok := b.i.Take(b.name, b.file); ok {
		t.Error("the image of a keeper is taken for that of a master file")
	}
	file := b.i.fileOf(b.name, "keeper ledger")
	image, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	image[len(image)-40] ^= 1
	b.write(file, string(image))
	b.said.Reset()
	if ledger.Take(b.name, sum) != nil || !strings.Contains(b.said.String(), "the records are read instead") {
		t.Errorf("a damaged image is used, or nothing said: %s", b.said.String())
	}
	var none *Images
	none.Of("ledger").Put(read.Zone, sum)
	if none.Of("ledger").Take(b.name, sum) != nil {
		t.Error("no images have one")
	}
}
