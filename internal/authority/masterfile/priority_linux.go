package masterfile

import (
	"os"
	"strconv"
	"syscall"
)

// lowerPriority adds to the niceness of all threads of this process, and so of those that
// they start: Linux keeps it for each thread. It does what it can.
func lowerPriority(by int) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return
	}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if inverse, err := syscall.Getpriority(syscall.PRIO_PROCESS, tid); err == nil { // the kernel says 20 less the niceness
			_ = syscall.Setpriority(syscall.PRIO_PROCESS, tid, 20-inverse+by)
		}
	}
}
