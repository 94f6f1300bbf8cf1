package dnsserver

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func urgent() {
	us, _ := strconv.Atoi(os.Getenv("X_SLICE"))
	nice, _ := strconv.Atoi(os.Getenv("X_NICE"))
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return
	}
	a.Runtime = uint64(us) * 1000
	a.Nice += int32(nice)
	if err := unix.SchedSetAttr(0, a, 0); err != nil {
		println(err.Error())
	}
}
