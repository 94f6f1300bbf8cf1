package masterfile

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
)

// manyFiles is a folder of zones that are loaded together.
type manyFiles struct {
	t      *testing.T
	folder string
	images *Images
	before []*Loaded // by zone: what it was loaded as last
}

func newManyFiles(t *testing.T, count int) *manyFiles {
	f := &manyFiles{t: t, folder: t.TempDir(), before: make([]*Loaded, count)}
	f.images = NewImages(filepath.Join(f.folder, "images"), slog.New(slog.DiscardHandler))
	for i := range count {
		f.write(i, 1)
	}
	return f
}

func (f *manyFiles) path(i int) string { return filepath.Join(f.folder, fmt.Sprintf("z%d.zone", i)) }

func (f *manyFiles) write(i, serial int) {
	f.t.Helper()
	text := fmt.Sprintf("@ 60 IN SOA ns h %d 2 3 4 5\n@ 60 IN NS ns\nns 60 IN A 192.0.2.1\n", serial)
	if err := os.WriteFile(f.path(i), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	later := time.Now().Add(time.Duration(serial) * time.Minute)
	if err := os.Chtimes(f.path(i), later, later); err != nil {
		f.t.Fatal(err)
	}
}

// load loads all zones but each tenth, which has no file, and returns the indexes of
// those that were loaded.
func (f *manyFiles) load() (indexes []int) {
	f.t.Helper()
	loaded := f.images.LoadAll(len(f.before), 3, func(i int) (Wanted, bool) {
		w := Wanted{Origin: dnsname.MustParse(fmt.Sprintf("z%d.example", i)), File: f.path(i)}
		if f.before[i] != nil {
			w.Known = f.before[i].Stamps
		}
		return w, i%10 != 9
	}, func(int) {})
	for i, l := range loaded {
		if l != nil {
			f.before[i] = l
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// TestLoadAll: each zone is loaded once, as by itself, and then only those whose files
// are others, or are gone.
func TestLoadAll(t *testing.T) {
	const count = 3*turn + 7
	f := newManyFiles(t, count)
	if got, want := len(f.load()), count-count/10; got != want {
		t.Fatalf("%d zones loaded, want %d", got, want)
	}
	for i, l := range f.before {
		if (l == nil) != (i%10 == 9) {
			t.Errorf("zone %d: loaded %v", i, l != nil)
		}
		if l != nil && (l.Err != nil || l.Zone.Serial() != 1 || l.Zone.Origin().String() != fmt.Sprintf("z%d.example.", i)) {
			t.Errorf("zone %d: %v %v", i, l.Zone, l.Err)
		}
	}
	if got := f.load(); got != nil {
		t.Errorf("loaded again without a change: %v", got)
	}
	f.write(70, 2)
	os.Remove(f.path(100))
	if got := fmt.Sprint(f.load()); got != "[70 100]" {
		t.Errorf("loaded after a change: %s", got)
	}
	if f.before[70].Zone.Serial() != 2 || !errors.Is(f.before[100].Err, fs.ErrNotExist) {
		t.Errorf("zone 70 has serial %d, zone 100 %v", f.before[70].Zone.Serial(), f.before[100].Err)
	}
}

// TestLoadAllFromOneFile: zones that are read from one file share what is known of it,
// and all are loaded again when it changes.
func TestLoadAllFromOneFile(t *testing.T) {
	f := newManyFiles(t, 1)
	before := make([]*Loaded, 5)
	load := func() []*Loaded {
		return f.images.LoadAll(len(before), 1, func(i int) (Wanted, bool) {
			w := Wanted{Origin: dnsname.MustParse(fmt.Sprintf("z%d.example", i)), File: f.path(0)}
			if before[i] != nil {
				w.Known = before[i].Stamps
			}
			return w, true
		}, func(int) {})
	}
	before = load()
	if &before[0].Stamps[0] != &before[4].Stamps[0] {
		t.Error("each zone has a stamp of its own of one file")
	}
	if again := load(); again != nil {
		t.Error("loaded again without a change")
	}
	f.write(0, 2)
	for i, l := range load() {
		if l == nil || l.Err != nil || l.Zone.Serial() != 2 {
			t.Errorf("zone %d is not that of the new file", i)
		}
	}
}

// TestLoadAllUsesImages: of a zone that has no version yet its image will do; the file
// counts for one that has.
func TestLoadAllUsesImages(t *testing.T) {
	f := newManyFiles(t, 1)
	f.images.least = 0
	f.load()
	f.images.writers.Wait()
	var said strings.Builder
	f.images = NewImages(f.images.folder, slog.New(slog.NewTextHandler(&said, nil)))
	f.before[0] = nil
	f.load()
	if !strings.Contains(said.String(), "taken from its image") {
		t.Errorf("no image was used: %s", said.String())
	}
	f.write(0, 2)
	said.Reset()
	f.load()
	f.images.writers.Wait()
	if f.before[0].Zone.Serial() != 2 || said.Len() > 0 {
		t.Errorf("serial %d after the file has changed: %s", f.before[0].Zone.Serial(), said.String())
	}
}

// TestLoaderClosesFolders: a Loader keeps one folder open, and none once it is closed.
func TestLoaderClosesFolders(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("there is no /proc here")
		}
		return len(entries)
	}
	var l Loader
	before := open()
	for range 20 {
		f := newManyFiles(t, 1)
		if _, err := l.Load(dnsname.MustParse("z0.example"), f.path(0), Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := open(); got > before+1 {
		t.Errorf("%d files are open, %d were before", got, before)
	}
	l.Close()
	if got := open(); got > before {
		t.Errorf("%d files are open after Close, %d were before", got, before)
	}
}

// TestLoaderKeepsSharedText: a small file that is read again and again is opened twice,
// and then not before it changes; another in between, or a large one, is opened each time.
func TestLoaderKeepsSharedText(t *testing.T) {
	f := newManyFiles(t, 2)
	var l Loader
	defer l.Close()
	load := func(i, serial int, kept bool) {
		t.Helper()
		s, err := l.Load(dnsname.MustParse("z.example"), f.path(i), Limits{})
		if err != nil || int(s.Zone.Serial()) != serial {
			t.Fatalf("loaded %v, %v, want serial %d", s.Zone, err, serial)
		}
		if got := l.textOf == s.Stamps[0]; got != kept {
			t.Errorf("the text is kept: %v, want %v", got, kept)
		}
	}
	load(0, 1, false)
	load(0, 1, true)
	load(0, 1, true)
	load(1, 1, false)
	load(0, 1, true) // it is what it was
	f.write(0, 2)
	load(0, 2, false)
	load(0, 2, true)
	f.write(0, 3)
	os.Truncate(f.path(0), sharedText+1)
	for range 3 { // zeros are no zone
		if s, err := l.Load(dnsname.MustParse("z.example"), f.path(0), Limits{}); err == nil || l.textOf == s.Stamps[0] {
			t.Errorf("%v; a large file is kept: %v", err, l.textOf == s.Stamps[0])
		}
	}
	os.Remove(f.path(0))
	for range 2 {
		if _, err := l.Load(dnsname.MustParse("z.example"), f.path(0), Limits{}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of a file that is gone: %v", err)
		}
	}
}
