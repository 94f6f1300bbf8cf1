//go:build testclock

package clock

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMain gives the tests, as a process of their own, a file with the offset.
func TestMain(m *testing.M) {
	if os.Getenv(Variable) != "" {
		os.Exit(m.Run())
	}
	folder, err := os.MkdirTemp("", "clock")
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "offset"), make([]byte, 8), 0o600)
	}
	if err == nil {
		again := exec.Command(os.Args[0], os.Args[1:]...)
		again.Env = append(os.Environ(), Variable+"="+filepath.Join(folder, "offset"))
		again.Stdout, again.Stderr = os.Stdout, os.Stderr
		err = again.Run()
	}
	os.RemoveAll(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestOffset: another program's word moves the clock, and what is due by then goes off.
func TestOffset(t *testing.T) {
	path := os.Getenv(Variable)
	set := func(offset time.Duration) {
		octets := binary.NativeEndian.AppendUint64(nil, uint64(offset/time.Second))
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			_, err = f.WriteAt(octets, 0)
			f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	set(0)
	fired := make(chan time.Time, 1)
	AfterFunc(20*time.Hour, func() { fired <- Now() })
	late := NewTimer(40 * time.Hour)
	start := Now()
	set(21 * time.Hour)
	if moved := Since(start); moved < 21*time.Hour || moved > 21*time.Hour+time.Minute {
		t.Errorf("the clock moved by %v, want 21h", moved)
	}
	select {
	case at := <-fired:
		if at.Sub(start) < 20*time.Hour {
			t.Errorf("went off %v after its start", at.Sub(start))
		}
	case <-time.After(time.Minute):
		t.Fatal("what was due in 20 hours has not gone off")
	}
	select {
	case <-late.C:
		t.Error("what is due in 40 hours has gone off")
	default:
	}
	if !late.Stop() || late.Reset(time.Hour) {
		t.Error("Stop and Reset do not tell whether the timer waited")
	}
	set(23 * time.Hour)
	select {
	case <-late.C:
	case <-time.After(time.Minute):
		t.Fatal("a timer that was reset has not gone off")
	}
}
