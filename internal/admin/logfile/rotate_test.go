package logfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// contents returns what the files of a folder have, by name.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		octets, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(octets)
	}
	return all
}

func check(t *testing.T, dir string, want map[string]string) {
	t.Helper()
	got := contents(t, dir)
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s has %q, want %q", name, got[name], text)
		}
	}
}

func open(t *testing.T, path string, r Rotation) *File {
	t.Helper()
	l, err := Open(path)
	if err == nil {
		err = l.Rotate(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func write(t *testing.T, l *File, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if _, err := l.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSize: no file is larger than it may be, but for what is written at once; of those
// of before as many are kept as were asked for, also over a restart.
func TestSize(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := open(t, path, Rotation{Size: 6, Keep: 2})
	write(t, l, "a1\n", "a2\n", "b1\n", "larger than 6\n", "d1\n")
	check(t, dir, map[string]string{"log": "d1\n", "log.1": "larger than 6\n", "log.2": "b1\n"})
	l.Close()
	l = open(t, path, Rotation{Size: 6, Keep: 2})
	write(t, l, "d2\n", "e1\n")
	check(t, dir, map[string]string{"log": "e1\n", "log.1": "d1\nd2\n", "log.2": "larger than 6\n"})

	l = open(t, path, Rotation{Size: 3})
	write(t, l, "f1\n")
	check(t, dir, map[string]string{"log": "f1\n", "log.1": "d1\nd2\n", "log.2": "larger than 6\n"})
}

// TestAge: a file is about one day, whether or not the program ran all the time.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "log")
		r := Rotation{Age: 24 * time.Hour, Keep: 9}
		l := open(t, path, r)
		write(t, l, "1 morning\n")
		time.Sleep(20 * time.Hour)
		write(t, l, "1 evening\n")
		time.Sleep(5 * time.Hour)
		write(t, l, "2 night\n")
		check(t, dir, map[string]string{"log": "2 night\n", "log.1": "1 morning\n1 evening\n"})
		l.Close()
		yesterday := time.Now().Add(-24 * time.Hour)
		if err := os.Chtimes(path, yesterday, yesterday); err != nil {
			t.Fatal(err)
		}
		l = open(t, path, r)
		write(t, l, "3\n")
		check(t, dir, map[string]string{"log": "3\n", "log.1": "2 night\n", "log.2": "1 morning\n1 evening\n"})
	})
}

// TestRotationFails: what cannot be renamed costs no line, and is told.
func TestRotationFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	if err := os.MkdirAll(filepath.Join(path+".1", "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := open(t, path, Rotation{Size: 2, Keep: 1})
	write(t, l, "1\n", "2\n")
	if got, _ := os.ReadFile(path); string(got) != "1\n2\n" {
		t.Errorf("got %q", got)
	}
	if err := l.Follow(); err == nil || !strings.Contains(err.Error(), "not rotated") {
		t.Errorf("Follow: %v", err)
	}
	if err := l.Follow(); err != nil {
		t.Errorf("told twice: %v", err)
	}
}

// TestRotatedByBoth: it may be moved away by others all the same.
func TestRotatedByBoth(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	l := open(t, path, Rotation{Size: 4, Keep: 1})
	write(t, l, "12\n")
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(); err != nil {
		t.Fatal(err)
	}
	write(t, l, "3\n", "4\n", "5\n")
	var names []string
	for name := range contents(t, dir) {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"log", "log.1", "log.old"}) {
		t.Errorf("there are %v", names)
	}
	check(t, dir, map[string]string{"log": "5\n", "log.1": "3\n4\n", "log.old": "12\n"})
}
