package masterfile

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
)

// TestMain is the program that reads a zone for another, when a test starts it as one.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "read-zone" {
		if err := ReadAside(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// largeFile is a master file that is worth a process, of which a version is known.
type largeFile struct {
	t      *testing.T
	path   string
	images *Images
	said   *strings.Builder
	now    *Loaded
}

func newLargeFile(t *testing.T, program ...string) *largeFile {
	f := &largeFile{t: t, path: filepath.Join(t.TempDir(), "large.zone"), said: new(strings.Builder)}
	f.images = NewImages(filepath.Join(t.TempDir(), "images"), slog.New(slog.NewTextHandler(f.said, nil)))
	f.images.ReadWith(program...)
	t.Cleanup(f.images.Close)
	f.write(1, "")
	f.load()
	if f.now.Err != nil {
		t.Fatal(f.now.Err)
	}
	return f
}

// write writes a version of the zone, with more at its end.
func (f *largeFile) write(serial int, more string) {
	f.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "@ 60 IN SOA ns h %d 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\nalias 60 IN CNAME gone\n", serial)
	for b.Len() < leastAside {
		fmt.Fprintf(&b, "host%d 60 IN TXT \"some text that makes it large enough for a process of its own\"\n", b.Len())
	}
	b.WriteString(more)
	if err := os.WriteFile(f.path, []byte(b.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	later := time.Now().Add(time.Duration(serial) * time.Minute)
	if err := os.Chtimes(f.path, later, later); err != nil {
		f.t.Fatal(err)
	}
}

func (f *largeFile) wanted() Wanted {
	w := Wanted{Origin: dnsname.MustParse("large.example"), File: f.path}
	if f.now != nil {
		w.Known = f.now.Stamps
	}
	return w
}

func (f *largeFile) load() {
	f.t.Helper()
	if f.now = f.images.Load(f.wanted()); f.now == nil {
		f.t.Fatal("not loaded, as if nothing had changed")
	}
}

// handed returns what is in the folder of the images, once what is written is.
func (f *largeFile) kept() (names []string) {
	f.images.writers.Wait()
	entries, _ := os.ReadDir(f.images.folder)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestReadAside: a large zone that has changed is read by another process, and comes out
// as if it had been read here; its image is kept for the next start.
func TestReadAside(t *testing.T) {
	f := newLargeFile(t, os.Args[0], "read-zone")
	f.images.least = 0
	f.write(2, "")
	w := f.wanted()
	f.load()
	here, err := Load(w.Origin, w.File, w.Limits)
	if err != nil || f.now.Err != nil {
		t.Fatal(err, f.now.Err)
	}
	if got, want := fmt.Sprint(f.now.Stamps, f.now.Warnings), fmt.Sprint(here.Stamps, here.Warnings); got != want {
		t.Errorf("stamps and warnings %s, want %s", got, want)
	}
	gotNames, gotRecords, _ := f.now.Zone.Stats()
	names, records, _ := here.Zone.Stats()
	if f.now.Zone.Serial() != 2 || gotNames != names || gotRecords != records {
		t.Errorf("serial %d, %d names, %d records, want 2, %d, %d", f.now.Zone.Serial(), gotNames, gotRecords, names, records)
	}
	if got := f.kept(); len(got) != 1 || !strings.HasSuffix(got[0], ".image") {
		t.Errorf("kept %v, want an image", got)
	}
	if s, ok := f.images.Take(w.Origin, w.File); !ok || s.Zone.Serial() != 2 {
		t.Errorf("a start would take %v from it", s.Zone)
	}
	if again := f.images.Load(f.wanted()); again != nil {
		t.Error("loaded again without a change")
	}
	if f.said.Len() > 0 && strings.Contains(f.said.String(), "WARN") {
		t.Error(f.said)
	}
}

// TestReadAsideDropsSmallImage: the image of a zone that none is kept of is gone when it
// has been handed over.
func TestReadAsideDropsSmallImage(t *testing.T) {
	f := newLargeFile(t, os.Args[0], "read-zone")
	f.write(2, "")
	f.load()
	if got := f.kept(); len(got) > 0 || f.now.Err != nil || f.now.Zone.Serial() != 2 {
		t.Errorf("kept %v, loaded %v", got, f.now)
	}
}

// TestReadAsideMistake: a mistake is told as if the file had been read here, and leaves
// nothing behind but the stamps, so that the file is not read again and again.
func TestReadAsideMistake(t *testing.T) {
	f := newLargeFile(t, os.Args[0], "read-zone")
	f.write(2, "www 60 IN A not-an-address\n")
	w := f.wanted()
	f.load()
	_, want := Load(w.Origin, w.File, w.Limits)
	if f.now.Err == nil || want == nil || f.now.Err.Error() != want.Error() || f.now.Zone != nil {
		t.Errorf("said %v, want %v", f.now.Err, want)
	}
	if again := f.images.Load(f.wanted()); again != nil {
		t.Error("read again without a change")
	}
	if got := f.kept(); len(got) > 0 {
		t.Errorf("kept %v", got)
	}
}

// TestReadAsideFails: whatever is wrong with the other process, the zone is read here,
// and that is said.
func TestReadAsideFails(t *testing.T) {
	for _, program := range []string{"/does/not/exist", "/bin/false", "/bin/cat", "/bin/true"} {
		f := newLargeFile(t, program)
		f.write(2, "")
		f.load()
		if f.now.Err != nil || f.now.Zone.Serial() != 2 {
			t.Errorf("%s: loaded %v", program, f.now)
		}
		if !strings.Contains(f.said.String(), "zone read by the node itself") {
			t.Errorf("%s: said %q", program, f.said)
		}
		if got := f.kept(); len(got) > 0 {
			t.Errorf("%s: kept %v", program, got)
		}
	}
}

// TestReadAsideOnlyLarge: no process is started for a small zone, nor for one of which
// nothing is served yet.
func TestReadAsideOnlyLarge(t *testing.T) {
	images := NewImages(t.TempDir(), slog.New(slog.DiscardHandler))
	large, small := stampsOf([]imageFile{{Size: leastAside / 2}, {Size: leastAside / 2}}), stampsOf([]imageFile{{Size: leastAside - 1}})
	if images.aside(Wanted{Known: large}) {
		t.Error("read by a program, of which there is none")
	}
	images.ReadWith("program")
	for _, tt := range []struct {
		what  string
		w     Wanted
		aside bool
	}{{"two files that are large together", Wanted{Known: large}, true}, {"a small one", Wanted{Known: small}, false}, {"nothing served", Wanted{}, false}} {
		if got := images.aside(tt.w); got != tt.aside {
			t.Errorf("%s: %v, want %v", tt.what, got, tt.aside)
		}
	}
}
