package probe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"pharos/internal/traffic/health"
)

// Limits of a command.
const (
	maxOutput = 4096 // octets that are kept of what it prints; it may print more, into nothing
	// outputDelay is how long its output is waited for when its processes are dead: one
	// that has left the group may hold it open.
	outputDelay = 100 * time.Millisecond
)

// commandPath is the PATH of a command: that of a login, whatever the node has.
const commandPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// askCommand runs the program of the check. It is good if it ends with 0 in time.
//
// There is no shell; the environment is what is said here; there is no input. All
// processes of its group are killed when it ends or its time is over, so that what
// hangs or forks does not pile up.
func (t *target) askCommand(ctx context.Context) outcome {
	p := t.terms.Program
	args := health.List(p.Args)
	if len(args) == 0 {
		return t.failed(&ourError{errors.New("check.command: there is nothing to run")}, "")
	}
	credential, err := credentialOf(p.User)
	if err != nil {
		return t.failed(&ourError{err}, "")
	}
	output := &firstOctets{most: maxOutput}
	cmd := &exec.Cmd{
		Path: args[0], Args: args, Dir: cmp.Or(p.Folder, "/"), Env: t.environment(), Stdout: output, Stderr: output, WaitDelay: outputDelay,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Credential: credential},
	}
	if err := cmd.Start(); err != nil {
		return t.failed(startError(err), "starting")
	}
	timedOut := t.await(ctx, cmd)
	err = cmd.Wait()
	line, _, _ := bytes.Cut(bytes.TrimSpace(output.kept), []byte("\n"))
	said := health.Printable(string(line))
	var exit *exec.ExitError
	switch {
	case timedOut:
		return outcome{cause: fmt.Sprintf("timeout after %v; killed with all its processes", t.params.Timeout)}
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success():
		return outcome{verdict: good, cause: cmp.Or(said, "exit status 0")}
	case errors.As(err, &exit) && said != "":
		return outcome{cause: fmt.Sprintf("%v: %s", exit, said)}
	}
	return outcome{cause: health.Printable(err.Error())}
}

// await waits until the first process of cmd has ended, or ctx, and kills its group. The
// process stays a zombie until Wait, so that its number, which is that of the group, can
// be nobody else's when the group is killed.
func (t *target) await(ctx context.Context, cmd *exec.Cmd) (timedOut bool) {
	pid := cmd.Process.Pid
	killed := make(chan struct{}) // closed when the group is killed because ctx is done
	stop := context.AfterFunc(ctx, func() {
		syscall.Kill(-pid, syscall.SIGKILL)
		close(killed)
	})
	for {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if !stop() {
		<-killed
		timedOut = true
	}
	syscall.Kill(-pid, syscall.SIGKILL)
	return timedOut
}

// environment is what a command finds.
func (t *target) environment() []string {
	a := t.key.ProbeAddress()
	return append([]string{
		"PATH=" + commandPath, "LANG=C", "PHAROS_ADDRESS=" + a.String(),
		"PHAROS_HOST=" + a.Addr().String(), "PHAROS_PORT=" + strconv.Itoa(int(a.Port())),
	}, health.List(t.terms.Program.Env)...)
}

// credentialOf returns who a command runs as: nil for the user of the node. Of the
// groups only the user's own is kept.
func credentialOf(name string) (*syscall.Credential, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		if u, err = user.LookupId(name); err != nil {
			return nil, fmt.Errorf("check.command.user: there is no user %s", name)
		}
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("check.command.user: %w", err)
	}
	if os.Geteuid() != 0 {
		if int(uid) == os.Geteuid() {
			return nil, nil
		}
		return nil, fmt.Errorf("check.command.user: the node is not root, so it cannot run commands as %s", name)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// startError tells mistakes of the configuration from shortages, which are nobody's.
func startError(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.ENOEXEC) || errors.Is(err, syscall.ENOTDIR) {
		return &ourError{fmt.Errorf("check.command: %w", err)}
	}
	return err
}

// firstOctets keeps the first octets written to it.
type firstOctets struct {
	kept []byte
	most int
}

// Write is part of io.Writer. It takes everything.
func (f *firstOctets) Write(b []byte) (int, error) {
	f.kept = append(f.kept, b[:min(len(b), f.most-len(f.kept))]...)
	return len(b), nil
}

var _ io.Writer = (*firstOctets)(nil)
