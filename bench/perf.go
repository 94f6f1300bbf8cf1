//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"pharos/bench/peer"
	"pharos/bench/table"
)

// profileTime is how long is recorded: some thousand samples.
const profileTime = 3 * time.Second

// profile records where Pharos spends its time under load, once for each work, if
// -profile asks for it.
func (a *arena) profile(s *peer.Server, work string, load func(time.Duration) error) error {
	if !a.o.profile || s.Name != table.Own || a.profiled[work] {
		return nil
	}
	a.profiled[work] = true
	path, err := exec.LookPath("perf")
	if err != nil {
		return fmt.Errorf("-profile needs perf (Debian: apt-get install linux-perf)")
	}
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, work), "-")
	file := filepath.Join(a.root, "bench", "work", "perf-"+name+".data")
	cmd := exec.Command(path, "record", "-q", "-F", "1999", "-g", "-p", strconv.Itoa(s.PID()), "-o", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = load(profileTime)
	_ = cmd.Process.Signal(syscall.SIGINT) // perf writes its file and ends
	if waitErr := cmd.Wait(); waitErr != nil && cmd.ProcessState.ExitCode() > 0 {
		a.say("perf: %v", waitErr)
	}
	a.say("profile: perf report --no-children -i %s", file)
	return err
}
