package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/cluster/document"
)

var update = flag.Bool("update", false, "rewrite golden and generated files")

// Each file in testdata/bad is wrong in its own way; the file beside it holds
// what its writer is told, which is the behaviour that is tested here.
func TestBadFiles(t *testing.T) {
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal("no bad files", err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse("pharos.yaml", text)
			if c != nil || err == nil {
				t.Fatal("was taken for a good file")
			}
			var problems *document.Problems
			if !errors.As(err, &problems) {
				t.Errorf("error is a %T, want *document.Problems", err)
			}
			golden(t, strings.TrimSuffix(name, ".yaml")+".err", err.Error()+"\n")
		})
	}
}

// golden compares got with the file called name, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err, "(write it with -update)")
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant, as in %s:\n%s", got, name, want)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "--config") {
		t.Errorf("no file: %v", err)
	}
	if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("directory: %v", err)
	}
	large := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, MaxFileSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(large); err == nil || !strings.Contains(err.Error(), "larger than 16 MiB") {
		t.Errorf("large file: %v", err)
	}
	good := filepath.Join(dir, "pharos.yaml")
	if err := os.WriteFile(good, []byte("data: d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(good)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "d"); c.Data != want || c.File != good {
		t.Errorf("data = %q of file %q, want %q of %q", c.Data, c.File, want, good)
	}
}

// FuzzParse: no input makes it panic or hang; what it takes is sound, and is
// taken again after a round trip through JSON.
func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("testdata/*/*.yaml")
	for _, name := range names {
		if text, err := os.ReadFile(name); err == nil && len(text) < 5000 {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("/x/pharos.yaml", text)
		if (c == nil) == (err == nil) {
			t.Fatalf("configuration %v with error %v", c, err)
		}
		if err != nil {
			if lines := strings.Count(err.Error(), "\n"); lines > document.MaxProblems {
				t.Errorf("%d lines of problems", lines)
			}
			return
		}
		c.Check(func(path, text, remedy string) { t.Errorf("unsound: %s: %s", path, text) })
		roundTrip(t, c)
	})
}
