package procstat

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// fake writes a proc file system with the given files and returns it.
func fake(t *testing.T, files map[string]string) Proc {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Proc(dir)
}

func group(t *testing.T) Proc {
	return fake(t, map[string]string{
		"10/stat":              "10 (a) S 1 10 10 0 -1 4194560",
		"10/task/10/schedstat": "1000 5 3\n",
		"10/task/11/schedstat": "2000 0 1\n",
		"10/smaps_rollup":      "00400000-7fff [rollup]\nRss:     900 kB\nPss:     300 kB\nPss_Anon: 1 kB\n",
		"12/stat":              "12 (odd) name) 7 8) R 10 10 10 0",
		"12/task/12/schedstat": "4000 0 1\n",
		"12/smaps_rollup":      "Pss:      20 kB\n",
		"14/stat":              "14 (zombie) Z 10 10 10 0",
		"14/task/14/schedstat": "9999999 0 1\n",
		"13/stat":              "13 (other) S 1 13 13 0",
		"13/task/13/schedstat": "9999999 0 1\n",
		"13/smaps_rollup":      "Pss:  99999 kB\n",
		"self/stat":            "not a number",
		"cpuinfo":              "processor\t: 0\nmodel name\t: Engine\n\nprocessor\t: 1\nmodel name\t: Engine\n",
	})
}

func TestSumsOverGroupAndThreads(t *testing.T) {
	p := group(t)
	if got, err := p.CPU(10); err != nil || got != 7000*time.Nanosecond {
		t.Errorf("CPU = %v, %v; want 7µs", got, err)
	}
	if got, err := p.Memory(10); err != nil || got != 320<<10 {
		t.Errorf("Memory = %d, %v; want %d", got, err, 320<<10)
	}
	if model, cores := p.Machine(); model != "Engine" || cores != 2 {
		t.Errorf("Machine = %q, %d", model, cores)
	}
}

func TestGroupThatHasEnded(t *testing.T) {
	p := group(t)
	if _, err := p.CPU(77); err == nil {
		t.Error("CPU of no process: no error")
	}
	if _, err := p.Memory(77); err == nil {
		t.Error("memory of no process: no error")
	}
}

func TestUnreadableFiles(t *testing.T) {
	p := fake(t, map[string]string{
		"10/stat":              "10 (a) S 1 10 10",
		"10/task/10/schedstat": "many few\n",
		"10/smaps_rollup":      "Rss: 1 kB\n",
	})
	if got, err := p.CPU(10); err == nil {
		t.Errorf("CPU = %v, want an error", got)
	}
	if got, err := p.Memory(10); err == nil {
		t.Errorf("Memory = %d, want an error", got)
	}
	for _, line := range []string{"", "10 a S 1 10", "10 (a) S 1", "10 (a) S 1 x"} {
		if got, _, err := groupOf([]byte(line)); err == nil {
			t.Errorf("groupOf(%q) = %d, want an error", line, got)
		}
	}
}

// TestOwnProcess reads the real proc file system: this process has used some time
// and memory.
func TestOwnProcess(t *testing.T) {
	pgrp := syscall.Getpgrp()
	if _, err := os.Stat("/proc/" + strconv.Itoa(os.Getpid()) + "/schedstat"); err != nil {
		t.Skip("this kernel has no schedstat")
	}
	before, err := Root.CPU(pgrp)
	if err != nil {
		t.Fatal(err)
	}
	x := 1
	for i := range 50_000_000 {
		x = x*31 + i
	}
	after, err := Root.CPU(pgrp)
	if err != nil || after <= before {
		t.Errorf("CPU went from %v to %v (%v) over some work (%d)", before, after, err, x)
	}
	if got, err := Root.Memory(pgrp); err != nil || got < 1<<20 {
		t.Errorf("Memory = %d, %v; want some MiB", got, err)
	}
}

func TestTimes(t *testing.T) {
	p := fake(t, map[string]string{"stat": "cpu  100 20 30 4000 500 6 7 80 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"})
	want := Times{Busy: (100 + 20 + 30 + 6 + 7) * 10 * time.Millisecond, Stolen: 800 * time.Millisecond}
	if got, err := p.Times(); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	for _, bad := range []string{"", "cpu 1 2 3\n", "intr 1 2 3 4 5 6 7 8 9\n", "cpu  1 2 3 four 5 6 7 8 0 0\n"} {
		if _, err := fake(t, map[string]string{"stat": bad}).Times(); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
