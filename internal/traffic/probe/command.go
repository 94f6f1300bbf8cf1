package probe

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"syscall"
	"time"

	"pharos/internal/program"
	"pharos/internal/traffic/health"
)

// Limits of a command.
const (
	maxOutput = 4096 // octets that are kept of what it prints; it may print more, into nothing
	// outputDelay is how long its output is waited for when its processes are dead: one
	// that has left the group may hold it open.
	outputDelay = 100 * time.Millisecond
)

// askCommand runs the program of the check. It is good if it ends with 0 in time.
//
// There is no shell; the environment is what is said here; there is no input. All
// processes of its group are killed when it ends or its time is over, so that what
// hangs or forks does not pile up.
func (t *target) askCommand(ctx context.Context) outcome {
	p := t.terms().Program
	args := health.List(p.Args)
	if len(args) == 0 {
		return t.failed(&ourError{errors.New("check.command: there is nothing to run")}, "")
	}
	credential, err := program.Credential(p.User)
	if err != nil {
		return t.failed(&ourError{fmt.Errorf("check.command.user: %w", err)}, "")
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
		return outcome{cause: fmt.Sprintf("timeout after %v; killed with all its processes", t.params().Timeout)}
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && cmd.ProcessState.Success():
		return outcome{verdict: good, cause: cmp.Or(said, "exit status 0")}
	case errors.As(err, &exit) && said != "":
		return outcome{cause: fmt.Sprintf("%v: %s", exit, said)}
	}
	return outcome{cause: health.Printable(err.Error())}
}

// await waits until the first process of cmd has ended, or ctx, and kills its group.
func (t *target) await(ctx context.Context, cmd *exec.Cmd) (timedOut bool) {
	pid := cmd.Process.Pid
	killed := make(chan struct{}) // closed when the group is killed because ctx is done
	stop := context.AfterFunc(ctx, func() {
		program.Kill(pid, syscall.SIGKILL)
		close(killed)
	})
	program.AwaitEnd(pid)
	if !stop() {
		<-killed
		timedOut = true
	}
	program.Kill(pid, syscall.SIGKILL)
	return timedOut
}

// environment is what a command finds.
func (t *target) environment() []string {
	return append(program.Environment(t.key.ProbeAddress()), health.List(t.terms().Program.Env)...)
}

// startError tells mistakes of the configuration from shortages, which are nobody's.
func startError(err error) error {
	if program.IsMistake(err) {
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
