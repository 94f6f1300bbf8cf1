package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/diskfile"
)

func save(t *testing.T, f *Folder, revisions ...int64) {
	t.Helper()
	for _, r := range revisions {
		if err := f.Save(r, fmt.Appendf(nil, "state %d", r)); err != nil {
			t.Fatal(err)
		}
	}
}

// load returns what Load finds, as one line.
func load(f *Folder) string {
	revision, payload, skipped, err := f.Load()
	if err != nil {
		return fmt.Sprintf("%v, %d skipped", err, len(skipped))
	}
	return fmt.Sprintf("%d %q, %d skipped", revision, payload, len(skipped))
}

func files(t *testing.T, f *Folder) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(f.path, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestNewestIsLoadedAndThreeAreKept(t *testing.T) {
	f := At(filepath.Join(t.TempDir(), "not", "there", "yet"))
	if got, want := load(f), "no snapshot, 0 skipped"; got != want {
		t.Errorf("empty folder: %s, want %s", got, want)
	}
	// A store that was made anew counts revisions from the start again: what
	// was saved last is the newest, not what has the highest revision.
	save(t, f, 10, 11, 12, 13, 2)
	if got, want := load(f), `2 "state 2", 0 skipped`; got != want {
		t.Errorf("loaded %s, want %s", got, want)
	}
	if got := files(t, f); len(got) != Kept {
		t.Errorf("files = %q, want %d", got, Kept)
	}
}

// Whatever happens to the newest file, the one before it is used: cut at every
// length, every bit flipped, emptied, made longer, made a folder.
func TestDamagedNewestIsPassedOver(t *testing.T) {
	f := At(t.TempDir())
	save(t, f, 1, 2)
	newest := f.file(2)
	whole, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	const want = `1 "state 1", 1 skipped`
	try := func(what string, text []byte) {
		t.Helper()
		if err := os.WriteFile(newest, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if got := load(f); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	for n := range whole {
		try(fmt.Sprintf("cut to %d octets", n), whole[:n])
	}
	for bit := range 8 * len(whole) {
		flipped := bytes.Clone(whole)
		flipped[bit/8] ^= 1 << (bit % 8)
		try(fmt.Sprintf("bit %d flipped", bit), flipped)
	}
	try("one octet more", append(bytes.Clone(whole), 0))
	if err := errors.Join(os.Remove(newest), os.Mkdir(newest, 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := load(f); got != want {
		t.Errorf("a folder in its place: %s, want %s", got, want)
	}
	if _, _, skipped, _ := f.Load(); !strings.Contains(skipped[0].Error(), newest) {
		t.Errorf("the report %q does not name %s", skipped[0], newest)
	}
}

// A crash before the rename leaves a temporary file, which is neither read nor
// in the way.
func TestCrashBeforeRename(t *testing.T) {
	f := At(t.TempDir())
	save(t, f, 1)
	if err := os.WriteFile(f.file(2)+diskfile.Suffix, []byte("half of a sta"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := load(f), `1 "state 1", 0 skipped`; got != want {
		t.Errorf("loaded %s, want %s", got, want)
	}
	save(t, f, 2)
	if got, want := load(f), `2 "state 2", 0 skipped`; got != want {
		t.Errorf("loaded %s, want %s", got, want)
	}
}

// A folder that cannot be used is an error that names it, and harms nothing.
func TestUnusableFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := At(file)
	if err := f.Save(1, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("Save into a file: %v, want an error that names it", err)
	}
	if _, _, _, err := f.Load(); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("Load from a file: %v, want an error other than ErrNone", err)
	}

	full := At(t.TempDir())
	save(t, full, 1)
	if err := os.Mkdir(full.file(2)+diskfile.Suffix, 0o700); err != nil { // nothing can be written
		t.Fatal(err)
	}
	if err := full.Save(2, nil); err == nil {
		t.Error("Save succeeded without writing")
	}
	if got, want := load(full), `1 "state 1", 0 skipped`; got != want {
		t.Errorf("after a failed save: %s, want %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(7, []byte(`{"format":1}`)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		revision, payload, err := decode(b)
		if err == nil && !bytes.Equal(encode(revision, payload), b) {
			t.Errorf("%x was taken for a snapshot", b)
		}
	})
}
