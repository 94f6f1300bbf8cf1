package masterfile

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// imageBench is a zone file with another one that it includes, and images of it.
type imageBench struct {
	t    *testing.T
	i    *Images
	name dnsname.Name
	file string
	said bytes.Buffer
	part string
}

func newImageBench(t *testing.T) *imageBench {
	dir := t.TempDir()
	b := &imageBench{t: t, part: filepath.Join(dir, "part")}
	b.name, b.file = dnsname.MustParse("example."), filepath.Join(dir, "zone")
	b.write(b.file, "@ 60 IN SOA ns.other. h.other. 7 2 3 4 5\n@ 60 IN NS ns.missing\n$INCLUDE part\nx.other. 60 IN A 192.0.2.1\n")
	b.write(b.part, "www 60 IN A 192.0.2.1\n")
	b.i = NewImages(filepath.Join(dir, "images"), slog.New(slog.NewTextHandler(&b.said, nil)))
	b.i.least = 0
	return b
}

func (b *imageBench) write(path, text string) {
	b.t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// put reads the zone file and writes its image.
func (b *imageBench) put() Source {
	b.t.Helper()
	s, err := Load(b.name, b.file, Limits{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.i.Put(b.name, b.file, s)
	b.i.writers.Wait()
	return s
}

// take reports whether there is an image that can be used.
func (b *imageBench) take() bool {
	_, ok := b.i.Take(b.name, b.file)
	return ok
}

// TestImages: a start takes the zone from its image, with what there was to say
// about the file, until one of the files changes.
func TestImages(t *testing.T) {
	b := newImageBench(t)
	if b.take() || b.said.Len() > 0 {
		t.Fatalf("without an image: %s", b.said.String())
	}
	read := b.put()
	got, ok := b.i.Take(b.name, b.file)
	if !ok {
		t.Fatal(b.said.String())
	}
	if len(read.Warnings) != 2 || strings.Join(got.Warnings, "\n") != strings.Join(read.Warnings, "\n") {
		t.Errorf("warnings %q, want %q", got.Warnings, read.Warnings)
	}
	if len(got.Stamps) != 2 || diskfile.Changed(got.Stamps) || got.Zone.Serial() != 7 {
		t.Errorf("stamps %v, serial %d", got.Stamps, got.Zone.Serial())
	}
	if st, err := os.Stat(b.i.fileOf(b.name, b.file)); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	b.write(b.part, "www 60 IN A 192.0.2.2\n") // of the same length, so only the time tells
	later := time.Now().Add(time.Second)
	if err := os.Chtimes(b.part, later, later); err != nil {
		t.Fatal(err)
	}
	if b.take() {
		t.Error("an image older than an included file was used")
	}
	b.put()
	if !b.take() {
		t.Error("the image was not written again")
	}
	if _, ok := b.i.Take(b.name, b.file+".other"); ok {
		t.Error("the image of another file was used")
	}
}

// TestImagesDamaged: an image that was changed, cut off or exchanged is not used, and
// that is said.
func TestImagesDamaged(t *testing.T) {
	b := newImageBench(t)
	b.put()
	file := b.i.fileOf(b.name, b.file)
	image, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.Clone(image)
	end[len(end)-40] ^= 1
	for what, octets := range map[string][]byte{
		"changed": end, "cut off": image[:len(image)/2], "almost empty": image[:20], "empty": nil, "no image": []byte(strings.Repeat("x", 500)),
	} {
		b.said.Reset()
		b.write(file, string(octets))
		if b.take() || !strings.Contains(b.said.String(), "zone file is read instead") {
			t.Errorf("%s: used, or nothing said: %s", what, b.said.String())
		}
	}
	b.write(file, string(image))
	if !b.take() {
		t.Error("the whole image is not used")
	}
}

// TestImagesPrune: what no zone of the configuration asks for goes, and what was not
// finished.
func TestImagesPrune(t *testing.T) {
	b := newImageBench(t)
	b.put()
	for _, name := range []string{"0123.image", "4567.image.tmp", "notes.txt"} {
		b.write(filepath.Join(b.i.folder, name), "x")
	}
	b.i = NewImages(b.i.folder, b.i.log) // a start
	b.take()
	b.i.Prune()
	entries, _ := os.ReadDir(b.i.folder)
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := []string{filepath.Base(b.i.fileOf(b.name, b.file)), "notes.txt"}; fmt.Sprint(left) != fmt.Sprint(want) {
		t.Errorf("left are %v, want %v", left, want)
	}
}

// TestImagesStop: a node that stops does not wait for an image, and leaves no half
// one.
func TestImagesStop(t *testing.T) {
	b := newImageBench(t)
	s, err := Load(b.name, b.file, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	b.i.closing.Store(true)
	if err := b.i.write(b.i.fileOf(b.name, b.file), s.Zone, imageNote{}); err == nil {
		t.Error("written all the same")
	}
	if entries, _ := os.ReadDir(b.i.folder); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}
