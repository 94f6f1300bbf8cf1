package diskfile

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestStampChanges: whatever was done to a file since its stamp was taken shows, though size
// and time of change may be what they were.
func TestStampChanges(t *testing.T) {
	then := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		what string
		do   func(t *testing.T, path string)
		want bool
	}{
		{"nothing", func(*testing.T, string) {}, false},
		{"written in place, with the time set back", func(t *testing.T, path string) { write(t, path, "two") }, true},
		{"another file of the same size and time moved there", func(t *testing.T, path string) {
			write(t, path+".new", "two")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"longer", func(t *testing.T, path string) { write(t, path, "longer") }, true},
		{"removed", func(t *testing.T, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}, true},
	} {
		path := filepath.Join(t.TempDir(), "file")
		write(t, path, "one")
		s := StampOf(path)
		tt.do(t, path)
		if got := s.Changed(); got != tt.want {
			t.Errorf("%s: changed %v, want %v", tt.what, got, tt.want)
		}
		if got := Changed([]Stamp{StampOf(path), s}); got != tt.want {
			t.Errorf("%s: among others: changed %v, want %v", tt.what, got, tt.want)
		}
	}
	if !Changed(nil) {
		t.Error("without a stamp nothing is known, which counts as changed")
	}
}

// TestStampOfFreshFile: a file is written again and again, each time at once after its
// stamp was taken, with as many octets: every version is told from the one before, though
// many fall into one tick of the clock that the file system has its times from.
func TestStampOfFreshFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for i := range 40 {
		if err := os.WriteFile(path, fmt.Appendf(nil, "version %02d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		s := StampOf(path)
		if err := os.WriteFile(path, fmt.Appendf(nil, "another %02d", i), 0o600); err != nil {
			t.Fatal(err)
		}
		if !s.Changed() {
			t.Fatalf("version %d was not seen to change", i)
		}
	}
}
