// Package procstat reads from /proc what a group of processes has used: CPU time
// and memory, summed over all processes of the group and all their threads.
//
// It owns the parsing of /proc and nothing else; it starts and ends no process
// (package peer does).
//
// Entry points: Members, CPU, Memory; Machine for the line above a table.
//
// Concurrency: functions without state. A thread that ends between two readings
// takes its CPU time with it, which is why servers are measured while they run.
package procstat

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Proc is the place of the proc file system; tests have their own.
type Proc string

// Root is where Linux mounts it.
const Root Proc = "/proc"

// Members returns the processes of a process group that have not ended; those
// that only wait to be reaped have.
func (p Proc) Members(group int) ([]int, error) {
	entries, err := os.ReadDir(string(p))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(p.path(pid, "stat"))
		if err != nil {
			continue // it has ended since
		}
		if of, ended, err := groupOf(stat); err == nil && of == group && !ended {
			pids = append(pids, pid)
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("process group %d has no processes: the server has ended", group)
	}
	return pids, nil
}

func (p Proc) path(pid int, file string) string {
	return filepath.Join(string(p), strconv.Itoa(pid), file)
}

// groupOf returns the process group in a line of /proc/PID/stat, and whether the
// process has ended. The program's name stands in parentheses and may hold
// anything, so fields are counted from the last one that closes.
func groupOf(stat []byte) (group int, ended bool, err error) {
	at := bytes.LastIndexByte(stat, ')')
	if at < 0 {
		return 0, false, errors.New("stat: no program name")
	}
	fields := strings.Fields(string(stat[at+1:])) // state, parent, group
	if len(fields) < 3 {
		return 0, false, errors.New("stat: too few fields")
	}
	group, err = strconv.Atoi(fields[2])
	return group, fields[0] == "Z" || fields[0] == "X", err
}

// CPU returns the time on a processor, user and system, of every thread of a
// group: the first field of schedstat, in nanoseconds (the ticks of stat are
// 10 ms).
func (p Proc) CPU(group int) (time.Duration, error) {
	pids, err := p.Members(group)
	if err != nil {
		return 0, err
	}
	var sum time.Duration
	for _, pid := range pids {
		files, err := filepath.Glob(p.path(pid, "task/*/schedstat"))
		if err != nil {
			return 0, err
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				continue // the thread has ended since
			}
			ran, err := onCPU(text)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			sum += ran
		}
	}
	return sum, nil
}

func onCPU(schedstat []byte) (time.Duration, error) {
	fields := strings.Fields(string(schedstat))
	if len(fields) != 3 {
		return 0, fmt.Errorf("want 3 fields, got %q", schedstat)
	}
	ns, err := strconv.ParseInt(fields[0], 10, 64)
	return time.Duration(ns), err
}

// Memory returns the resident memory of a group in octets: the sum of the
// processes' proportional set sizes, which counts a page that several share once.
func (p Proc) Memory(group int) (int64, error) {
	pids, err := p.Members(group)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(p.path(pid, "smaps_rollup"))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		pss, err := proportional(text)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", p.path(pid, "smaps_rollup"), err)
		}
		sum += pss
	}
	return sum, nil
}

func proportional(rollup []byte) (int64, error) {
	for line := range strings.Lines(string(rollup)) {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("no line Pss")
}

// Machine returns the processor's model as /proc/cpuinfo names it, and how many
// there are.
func (p Proc) Machine() (model string, cores int) {
	text, err := os.ReadFile(filepath.Join(string(p), "cpuinfo"))
	if err != nil {
		return "unknown processor", 0
	}
	model = "unknown processor"
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "processor":
			cores++
		case "model name":
			model = strings.TrimSpace(value)
		}
	}
	return model, cores
}

// Kernel returns the release of the running kernel.
func (p Proc) Kernel() string {
	text, err := os.ReadFile(filepath.Join(string(p), "sys/kernel/osrelease"))
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(text))
}

// Times is what all processors together have spent their time on.
type Times struct {
	Busy   time.Duration // on processes, and on what the kernel does for them and for devices
	Stolen time.Duration // on others than this machine, by its host
}

// Times returns it since the start of the machine, from the first line of /proc/stat, which counts 10 ms.
func (p Proc) Times() (t Times, err error) {
	text, err := os.ReadFile(filepath.Join(string(p), "stat"))
	if err != nil {
		return t, err
	}
	line, _, _ := bytes.Cut(text, []byte("\n"))
	fields := strings.Fields(string(line)) // cpu user nice system idle iowait irq softirq steal
	if len(fields) < 9 || fields[0] != "cpu" {
		return t, fmt.Errorf("stat: want a line cpu with eight figures, got %q", line)
	}
	for i, f := range fields[1:9] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return t, fmt.Errorf("stat: %w in %q", err, line)
		}
		switch d := time.Duration(ticks) * 10 * time.Millisecond; i {
		case 3, 4: // idle, and idle while a disk works
		case 7:
			t.Stolen = d
		default:
			t.Busy += d
		}
	}
	return t, nil
}
