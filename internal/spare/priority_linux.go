package spare

import (
	"os"
	"strconv"
	"syscall"
)

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
