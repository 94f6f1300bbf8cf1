package zone

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"pharos/internal/dns/dnsname"
)

// imageOf returns z as an image.
func imageOf(t testing.TB, z *Zone) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := z.WriteImage(&b, []byte("a note")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestImage: a zone comes out of its image as it went in, and can be edited.
func TestImage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(11, 12))
	for i := range 600 {
		origin := []dnsname.Name{dnsname.Root, dnsname.MustParse("test."), dnsname.MustParse("a.long.er.Example.")}[i%3]
		z, _ := Build(origin, each(editBase(rnd, origin)))
		if z == nil {
			continue
		}
		var asked []dnsname.Name
		for range 20 {
			asked = append(asked, randomName(rnd, origin))
		}
		image := imageOf(t, z)
		if note, err := NoteOfImage(image[:len(image)/2]); err != nil || string(note) != "a note" {
			t.Fatalf("note %q, %v", note, err)
		}
		got, note, err := FromImage(image)
		if err != nil || string(note) != "a note" {
			t.Fatalf("note %q, %v, of %s", note, err, describe(z, nil))
		}
		if g, w := describe(got, asked), describe(z, asked); g != w {
			t.Fatal(difference(g, w))
		}
		if g, w := describeProblems(got.Warnings()), describeProblems(z.Warnings()); g != w || got.loose != z.loose || got.wild != z.wild || got.unindexed != z.unindexed {
			t.Fatalf("warnings\n%s\nwant\n%s", g, w)
		}
		edit := func(z *Zone) (*Zone, []Problem) {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			e := z.Edit()
			e.always = true
			for range 4 {
				e.Add(editRecord(rnd, origin))
			}
			return e.Finish()
		}
		g, gotProblems := edit(got)
		w, wantProblems := edit(z)
		if describeProblems(gotProblems) != describeProblems(wantProblems) || (g == nil) != (w == nil) || g != nil && describe(g, asked) != describe(w, asked) {
			t.Fatalf("edited: %v, want %v", gotProblems, wantProblems)
		}
		if g != nil { // an overlay is written as if it was built anew
			again, _, err := FromImage(imageOf(t, g))
			if err != nil || describe(again, asked) != describe(g, asked) {
				t.Fatalf("of an edited zone: %v", err)
			}
		}
	}
}

// TestImageDamaged: every octet that is changed, and every end that is missing, is
// noticed.
func TestImageDamaged(t *testing.T) {
	z := build(t, "example.", exampleText)
	image := imageOf(t, z)
	for i := range image {
		damaged := bytes.Clone(image)
		damaged[i] ^= 1 << (i % 8)
		if _, _, err := FromImage(damaged); err == nil && i >= imageSummed {
			t.Fatalf("octet %d is changed, and nothing said", i)
		}
	}
	for i := range image {
		if _, _, err := FromImage(image[:i:i]); err == nil {
			t.Fatalf("cut at octet %d, and nothing said", i)
		}
	}
	for _, tt := range []struct {
		at   int
		what string
		want error
	}{{0, "magic", errImageForeign}, {imageAtVersion, "version", errImageForeign}, {imageAtOrder, "order", errImageForeign}, {imageAtSize, "size", errImageCut}, {imageAtSum, "sum", errImageSum}} {
		damaged := bytes.Clone(image)
		damaged[tt.at]++
		if _, _, err := FromImage(damaged); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.what, err, tt.want)
		}
	}
	if _, _, err := FromImage(append(bytes.Clone(image), make([]byte, 8)...)); err != errImageCut {
		t.Errorf("too long: %v", err)
	}
}

// sealed gives an image the checksum and size that fit it.
func sealed(image []byte) []byte {
	if len(image) >= imageHeader {
		binary.LittleEndian.PutUint64(image[imageAtSize:], uint64(len(image)))
		binary.LittleEndian.PutUint32(image[imageAtSum:], crc32.Checksum(image[imageSummed:], castagnoli))
	}
	return image
}

// exercise reads all that can be read of a zone.
func exercise(z *Zone) {
	asked := []dnsname.Name{z.origin}
	for n := range z.Nodes() {
		asked = append(asked, z.Name(n))
		if child, err := z.Name(n).Child("x"); err == nil {
			asked = append(asked, child)
		}
	}
	describe(z, asked)
	e := z.Edit()
	e.always = true
	for r := range z.Records() {
		if r.Name != z.origin {
			e.Delete(r)
		}
	}
	e.Finish()
	z.Compact()
}

// TestImageHostile: an image whose checksum fits, whatever octets it has, is refused
// or can be read without harm.
func TestImageHostile(t *testing.T) {
	rnd := rand.New(rand.NewPCG(13, 14))
	taken := 0
	for i := range 6000 {
		if testing.Short() && i > 1000 {
			break
		}
		origin := dnsname.MustParse("test.")
		z, _ := Build(origin, each(editBase(rnd, origin)))
		if z == nil {
			continue
		}
		image := imageOf(t, z)
		for range 1 + rnd.IntN(2) {
			at := imageAtLengths + rnd.IntN(len(image)-imageAtLengths)
			image[at] = [...]byte{0, 1, 255, image[at] + 1, image[at] ^ 0x20, byte(rnd.Uint32())}[rnd.IntN(6)]
		}
		if z, _, err := FromImage(sealed(image)); err == nil {
			taken++
			exercise(z)
		}
	}
	t.Logf("%d taken", taken)
}

// FuzzFromImage takes any octets for an image, with a checksum that fits.
func FuzzFromImage(f *testing.F) {
	f.Add(imageOf(f, build(f, "example.", exampleText)))
	for _, nsec3 := range []bool{false, true} {
		z, _ := Build(dnsname.MustParse("example."), signedHosts(3, nsec3))
		f.Add(imageOf(f, z))
	}
	f.Add([]byte(imageMagic))
	f.Fuzz(func(t *testing.T, image []byte) {
		if z, _, err := FromImage(sealed(image)); err == nil {
			exercise(z)
		}
	})
}

// BenchmarkFromImage takes up the image of a zone of 500,000 records.
func BenchmarkFromImage(b *testing.B) {
	z, _ := Build(dnsname.MustParse("example."), mixed("example.", 500_000))
	image := imageOf(b, z)
	b.SetBytes(int64(len(image)))
	for b.Loop() {
		if _, _, err := FromImage(image); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/500_000, "ns/record")
}
