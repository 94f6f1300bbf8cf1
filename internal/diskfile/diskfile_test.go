package diskfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	for _, want := range []string{"one", "a longer second", ""} {
		if err := Replace(path, []byte(want)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != want {
			t.Errorf("content: got %q, want %q", got, want)
		}
	}
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := stat.Mode().Perm(); got != 0o600 {
		t.Errorf("mode: got %o, want 600", got)
	}
}

func TestReplaceWithError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := Replace(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	want := errors.New("nothing more to say")
	err := ReplaceWith(path, func(f *os.File) error {
		f.WriteString("half of the n")
		return want
	})
	if !errors.Is(err, want) {
		t.Errorf("error: got %v, want %v", err, want)
	}
	if got := read(t, path); got != "old" {
		t.Errorf("content after an error: got %q, want %q", got, "old")
	}
	if _, err := os.Stat(path + Suffix); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was written beside is still there: %v", err)
	}
}

func TestReplaceWithoutFolder(t *testing.T) {
	if err := Replace(filepath.Join(t.TempDir(), "none", "file"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error: got %v, want %v", err, fs.ErrNotExist)
	}
}

// TestReplaceTakesTurns: of many writers of one file, one has the last word, whole.
func TestReplaceTakesTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 20 {
				if err := Replace(path, []byte(strings.Repeat(strconv.Itoa(i), 1000+i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	got := read(t, path)
	if digit := int(got[0] - '0'); got != strings.Repeat(got[:1], 1000+digit) {
		t.Errorf("the file is a mixture of %d octets", len(got))
	}
}

// TestJSON: what is saved is loaded again; a file that is not there leaves the value as
// it is, one that nobody understands is an error with its name.
func TestJSON(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "folder", "file.json")
	got := map[string]int{"before": 1}
	if err := LoadJSON(path, &got); err != nil || got["before"] != 1 {
		t.Errorf("without a file: %v, %v", got, err)
	}
	if err := SaveJSON(path, map[string]int{"saved": 2}); err != nil {
		t.Fatal(err)
	}
	got = nil
	if err := LoadJSON(path, &got); err != nil || len(got) != 1 || got["saved"] != 2 {
		t.Errorf("loaded: %v, %v", got, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := LoadJSON(path, &got); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("of half a file: %v", err)
	}
}

// TestStamp: a file that is written, and one that comes or goes, has another stamp.
func TestStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	before := []Stamp{StampOf(path)}
	if Changed(before) {
		t.Error("a file that is still not there has changed")
	}
	if err := os.WriteFile(path, []byte("one"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !Changed(before) || Changed([]Stamp{StampOf(path)}) {
		t.Error("a file that has come has changed, once")
	}
	if !Changed(nil) {
		t.Error("of what nothing is known, all may have changed")
	}
}
