package peer

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Priority of the bench and its servers over whatever else the machine does. Other
// work on the same processor costs the rate and, by emptying its caches, some CPU
// time as well.
const (
	niceThreads = -15
	niceSession = -19
)

// autogroup is the share of this session, which the scheduler sets above the
// threads' own: without it nice counts only within the session.
const autogroup = "/proc/self/autogroup"

// Raise gives this process, all it starts and its session priority over others,
// and returns what takes the session's back. Without the permission it does
// nothing.
func Raise() (restore func()) {
	restore = func() {}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return restore
	}
	for _, t := range threads {
		if tid, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, tid, niceThreads)
		}
	}
	before, err := os.ReadFile(autogroup) // "/autogroup-13 nice 0"
	if err != nil {
		return restore
	}
	fields := bytes.Fields(before)
	if len(fields) != 3 || os.WriteFile(autogroup, fmt.Append(nil, niceSession), 0) != nil {
		return restore
	}
	return func() { _ = os.WriteFile(autogroup, fields[2], 0) }
}
