package spare

import (
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// turn is the shortest that Linux gives, in ns: it answers some thirty questions.
const turn = 100_000

// prompt asks for turns of that length. A kernel that does not know of them takes no notice, and
// one that forbids it leaves the thread as it was.
func prompt() {
	if a, err := unix.SchedGetAttr(0, 0); err == nil && a.Policy == unix.SCHED_NORMAL {
		a.Runtime = turn
		_ = unix.SchedSetAttr(0, a, 0)
	}
}

// lowerAll lowers thread by thread: Linux keeps the niceness of each. It does what it can.
func lowerAll(by int) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			lower(tid, by)
		}
	}
}

// lowerOwn adds to the niceness of the thread that calls it.
func lowerOwn(by int) { lower(syscall.Gettid(), by) }

func lower(tid, by int) {
	if inverse, err := syscall.Getpriority(syscall.PRIO_PROCESS, tid); err == nil { // the kernel says 20 less the niceness
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, tid, 20-inverse+by)
	}
}
