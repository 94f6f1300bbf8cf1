package peer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Launcher starts processes on one processor. It has a thread of its own, for two
// reasons: a child inherits the processors of the thread that forks it, and the
// kernel sends the child its death signal when that thread ends, not the process.
type Launcher struct {
	orders chan order // closed by Close, which ends the thread
}

type order struct {
	cmd  *exec.Cmd
	done chan error
}

// NewLauncher returns a launcher for the given processor.
func NewLauncher(cpu int) (*Launcher, error) {
	l := &Launcher{orders: make(chan order)}
	pinned := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := PinThread(cpu)
		pinned <- err
		if err != nil {
			return
		}
		for o := range l.orders {
			o.done <- o.cmd.Start()
		}
	}()
	if err := <-pinned; err != nil {
		return nil, fmt.Errorf("processor %d: %w", cpu, err)
	}
	return l, nil
}

// Close ends the thread, and with it every server that still runs.
func (l *Launcher) Close() { close(l.orders) }

// PinThread keeps the calling thread on one processor.
func PinThread(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}

// PinProcess keeps all threads of this process on one processor, and those that
// they will start.
func PinProcess(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range threads {
		var tid int
		if _, err := fmt.Sscan(t.Name(), &tid); err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, &set); err != nil && err != unix.ESRCH {
			return err
		}
	}
	return nil
}

// Start writes the program's configuration into job.Dir and starts it.
func (l *Launcher) Start(p Program, job Job) (*Server, error) {
	path, ok := p.Find()
	if !ok {
		return nil, fmt.Errorf("%s: %s is not installed (make peers)", p.Name, p.Binary)
	}
	files, args := p.Files(job)
	for name, text := range files {
		full := filepath.Join(job.Dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			return nil, err
		}
	}
	out, err := os.Create(filepath.Join(job.Dir, "output.log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = job.Dir, out, out
	cmd.Env = append(os.Environ(), p.Env...)
	// A group of its own, to be found and ended by; no terminal's interrupt reaches
	// it before the bench has. The signal is one that a parent can pass on to its
	// workers, which do not inherit this.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	o := order{cmd, make(chan error)}
	l.orders <- o
	if err := <-o.done; err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	s := &Server{Name: p.Name, Port: job.Port, Admin: job.Admin, Dir: job.Dir, group: cmd.Process.Pid, exited: make(chan struct{}), log: out.Name()}
	running.add(s)
	go func() { // ends with the process
		_ = cmd.Wait() // how it ended is told by lastWords
		running.remove(s)
		close(s.exited)
	}()
	return s, nil
}

// servers are those that run.
type servers struct {
	mu  sync.Mutex
	all map[*Server]struct{}
}

var running servers

func (r *servers) add(s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[*Server]struct{}{}
	}
	r.all[s] = struct{}{}
}

func (r *servers) remove(s *Server) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, s)
}

// Spent returns the CPU time of this process and of all that it has started.
func Spent() time.Duration {
	running.mu.Lock()
	defer running.mu.Unlock()
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if unix.Getrusage(who, &u) == nil {
			sum += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
	}
	for s := range running.all {
		if d, err := s.CPU(); err == nil { // else it has just ended
			sum += d
		}
	}
	return sum
}
