// Package program holds what is the same wherever the node runs a program of others: as
// whom it runs, what it finds in its environment, and that all of its processes end with
// it. It does not own why a program runs, for how long, or what its end means.
//
// Entry points: Credential, Environment, AwaitEnd, Kill.
//
// Concurrency: functions without shared state.
package program

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Path is the PATH of a program: that of a login, whatever the node has.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Environment is what a program finds that has to do with an address. There is nothing of
// the node's own environment in it: that may hold secrets.
func Environment(a netip.AddrPort) []string {
	return []string{
		"PATH=" + Path, "LANG=C", "PHAROS_ADDRESS=" + a.String(),
		"PHAROS_HOST=" + a.Addr().String(), "PHAROS_PORT=" + strconv.Itoa(int(a.Port())),
	}
}

// Credential returns who a program runs as: nil for the user of the node. Of the groups
// only the user's own is kept.
func Credential(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("there is no user %s", name)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		if int(uid) == os.Geteuid() {
			return nil, nil
		}
		return nil, fmt.Errorf("the node is not root, so it cannot run programs as %s", name)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// IsMistake reports whether a program could not be started because of what was asked
// for, and not for want of something that others take, too.
func IsMistake(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.ENOTDIR)
}

// AwaitEnd waits until a child has ended, and leaves it as it is: until it is waited for
// it stays a zombie, so that its number, which is that of its group, can be nobody else's
// when the group is killed.
func AwaitEnd(pid int) {
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// Kill sends a signal to the group of a leader that has not been waited for.
func Kill(pid int, signal syscall.Signal) { syscall.Kill(-pid, signal) }
