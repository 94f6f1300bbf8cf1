package fleet

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pharos/internal/traffic/pool"
)

// A node that is killed leaves its processes behind. Two things tell the next one of them:
// the record, which it trusts, and a mark in the environment of each process. Those in the
// record that are still who they were are taken over. Those that have the mark and are not
// in the record were started just before the node was killed, or have left their group:
// they are killed. So a mark that somebody else puts on a process of his has nobody sent
// there.

// mark and memberMark begin the variables that say which node a process belongs to, by
// its folder, and as which member it was started.
const (
	mark       = "PHAROS_FLEET="
	memberMark = "PHAROS_MEMBER="
)

// kept is what is remembered over a restart.
type kept struct {
	Processes []record     `json:"processes"`
	Hooks     []hookRecord `json:"webhooks,omitempty"`
}

// take takes out what is of a pool.
func (k *kept) take(pool string) (mine kept) {
	k.Processes = slices.DeleteFunc(k.Processes, func(r record) bool {
		if r.Pool == pool {
			mine.Processes = append(mine.Processes, r)
		}
		return r.Pool == pool
	})
	k.Hooks = slices.DeleteFunc(k.Hooks, func(r hookRecord) bool {
		if r.Pool == pool {
			mine.Hooks = append(mine.Hooks, r)
		}
		return r.Pool == pool
	})
	return mine
}

func (k *kept) equal(o *kept) bool {
	return slices.Equal(k.Processes, o.Processes) && slices.EqualFunc(k.Hooks, o.Hooks, hookRecord.equal)
}

// record is a process that runs.
type record struct {
	Pool    string         `json:"pool"`
	Member  string         `json:"member"`
	Address netip.AddrPort `json:"address"`
	Host    string         `json:"host,omitempty"`
	PID     int            `json:"pid"`
	Ticks   uint64         `json:"ticks"` // when it was started, in ticks since the machine was
	Boot    string         `json:"boot"`  // of the machine
	Hash    string         `json:"hash"`
	Log     string         `json:"log"`
	Started time.Time      `json:"started"`
	Ready   time.Time      `json:"ready,omitzero"`
}

func (m *member) record(pool string) record {
	return record{
		Pool: pool, Member: m.name, Address: m.spec.Address, Host: m.spec.Host, PID: m.process.pid, Ticks: m.process.ticks, Boot: bootID(),
		Hash: m.process.hash, Log: m.process.log, Started: m.started.Round(0), Ready: m.ready.Round(0),
	}
}

// spec returns the member as a pool has it. One that has never been up is not used.
func (r record) spec() pool.MemberSpec {
	spec := pool.MemberSpec{Name: r.Member, Address: r.Address, Host: r.Host}
	if r.Ready.IsZero() {
		spec.Drain, spec.Why = true, (&member{phase: starting}).why()
	}
	return spec
}

// isAlive reports whether the process still runs and is the same.
func (r record) isAlive() bool { return r.Boot == bootID() && isProcess(r.PID, r.Ticks) }

// bootID tells one start of the machine from another: numbers of processes begin anew.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return string(bytes.TrimSpace(text))
}

// startTicks returns when a process was started; 0: there is none.
func startTicks(pid int) uint64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	// The name of the program, in parentheses, may have anything in it.
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	const started = 19 // of those after the name
	if len(fields) <= started || fields[0][0] == 'Z' {
		return 0
	}
	ticks, err := strconv.ParseUint(string(fields[started]), 10, 64)
	if err != nil {
		return 0
	}
	return ticks
}

// isProcess reports whether pid is still the process that was started then.
func isProcess(pid int, ticks uint64) bool { return ticks != 0 && startTicks(pid) == ticks }

// lookAgain is how often a process is looked at that cannot be waited for.
const lookAgain = time.Second

// awaitOther waits for the end of a process that is no child.
func awaitOther(pid int, ticks uint64) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil { // an old kernel
		again := time.NewTicker(lookAgain)
		defer again.Stop()
		for isProcess(pid, ticks) {
			<-again.C
		}
		return
	}
	defer unix.Close(fd)
	for isProcess(pid, ticks) {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(lookAgain/time.Millisecond))
	}
}

// endOrphans kills the processes that have the mark of a folder and are in no record.
// mu is held.
func (d *Driver) endOrphans() {
	wanted := map[string]bool{} // members
	d.kept.Processes = slices.DeleteFunc(d.kept.Processes, func(r record) bool {
		wanted[r.Member] = wanted[r.Member] || d.groups[r.Pool] != nil
		return d.groups[r.Pool] == nil
	})
	for _, pid := range markedWith(d.c.Folder, "") {
		if wanted[variable(pid, memberMark)] {
			continue
		}
		d.c.Log.Warn("process of the run before ended: nobody wants it any more", "pid", pid)
		killMarked(pid, d.c.Folder, "")
	}
}

// endMarked kills what a member has left behind, outside of its group, too.
func endMarked(folder, member string) {
	for _, pid := range markedWith(folder, member) {
		killMarked(pid, folder, member)
	}
}

// killMarked kills a process if it still has the mark; in between its number may have
// become another's.
func killMarked(pid int, folder, member string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		if isMarked(pid, folder, member) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		return
	}
	defer unix.Close(fd)
	if isMarked(pid, folder, member) {
		unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
}

// markedWith returns the processes with the mark of a folder, and of a member unless that
// is empty.
func markedWith(folder, member string) (pids []int) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, path := range all {
		if pid, err := strconv.Atoi(filepath.Base(path)); err == nil && pid != os.Getpid() && isMarked(pid, folder, member) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Running returns the processes that a node with this folder has started, and that run.
func Running(folder string) (pids []int) {
	for _, pid := range markedWith(folder, "") {
		if startTicks(pid) != 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

func isMarked(pid int, folder, member string) bool {
	return variable(pid, mark) == folder && (member == "" || variable(pid, memberMark) == member)
}

// variable returns what a process was started with as a variable; name ends with "=".
func variable(pid int, name string) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return ""
	}
	for v := range bytes.SplitSeq(text, []byte{0}) {
		if value, ok := bytes.CutPrefix(v, []byte(name)); ok {
			return string(value)
		}
	}
	return ""
}
