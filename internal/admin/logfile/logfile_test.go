package logfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestRotated: what rotates logs moves the file away and says nothing.
func TestRotated(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "access.log")
	l, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write := func(line string) {
		t.Helper()
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	content := func(path, want string) {
		t.Helper()
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s has %q, %v; want %q", filepath.Base(path), got, err, want)
		}
	}
	follow := func() {
		t.Helper()
		if err := l.Follow(); err != nil {
			t.Error(err)
		}
	}
	write("1")
	follow()
	write("2")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("3")
	follow()
	write("4")
	content(path+".1", "123")
	content(path, "4")

	// The folder goes: lines are not lost to an error, which is told once.
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its folder: %v", err)
	}
	follow()
	write("5")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	follow()
	write("6")
	content(filepath.Join(dir+".old", "access.log"), "45")
	content(path, "6")
}
