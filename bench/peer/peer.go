// Package peer runs the servers that are measured: Pharos and the programs it is
// held against, each on one given processor.
//
//	peer.go      start, wait until it answers, measure, end
//	launch.go    the threads that start processes
//	priority.go  over the other work of the machine
//	nameserver.go, recursor.go, gateway.go   how each program is configured
//
// It owns the processes and their folders, and ends every process it started by
// its group, also when the bench is killed (PR_SET_PDEATHSIG). It puts no load on
// them and does not know what the figures mean.
//
// Entry points: Program, Launcher.Start, Server.
//
// Concurrency: a Launcher may be used from several goroutines; a Server is its
// starter's.
package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pharos/bench/procstat"
)

// Program is one kind of server, in one role.
type Program struct {
	Name    string // in the table
	Binary  string // name or path
	Version []string
	// Files returns the configuration, by file name, and the arguments.
	Files func(Job) (files map[string]string, args []string)
	Env   []string // beside what the bench has itself
}

// Job is what a server is to do.
type Job struct {
	Dir    string // the server's own folder, absolute
	Port   int    // on 127.0.0.1
	Admin  int    // another free port, for those that cannot do without
	Zones  []ZoneFile
	Target string    // address:port of what it asks or forwards to
	HTTP2  bool      // gateways speak HTTP/2 in clear text to clients
	TLS    *TLSFiles // gateways speak TLS to clients, HTTP/1.1 and HTTP/2, on Port; nil: none do
	HTTP3  bool      // beside TLS: the gateway speaks HTTP/3, too
}

// ZoneFile is a zone to serve.
type ZoneFile struct{ Name, Path string }

// Find returns the path of the program, and whether it is installed.
func (p Program) Find() (string, bool) {
	if path, err := exec.LookPath(p.Binary); err == nil {
		return path, true
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // not in every PATH
		if path := filepath.Join(dir, p.Binary); exists(path) {
			return path, true
		}
	}
	return "", false
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// FindVersion returns the first number with a dot that the program says of
// itself, or the word after its name.
func (p Program) FindVersion() string {
	path, ok := p.Find()
	if !ok {
		return "not installed"
	}
	out, _ := exec.Command(path, p.Version...).CombinedOutput() // nsd -v ends with status 1
	return versionIn(string(out))
}

func versionIn(out string) string {
	for _, word := range strings.FieldsFunc(out, func(r rune) bool { return strings.ContainsRune(" \n\t/,-", r) }) {
		if word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word
		}
	}
	if words := strings.Fields(out); len(words) > 1 {
		return words[1]
	}
	return "unknown"
}

// Server is a running process group.
type Server struct {
	Name  string
	Port  int
	Admin int
	Dir   string // where it runs and writes

	group  int
	exited chan struct{} // closed by the launcher when the process has ended
	log    string        // file
}

// CPU returns the CPU time used so far.
func (s *Server) CPU() (time.Duration, error) { return procstat.Root.CPU(s.group) }

// Memory returns the resident memory in octets.
func (s *Server) Memory() (int64, error) { return procstat.Root.Memory(s.group) }

// PID returns the process that was started.
func (s *Server) PID() int { return s.group }

// readyTimeout is how long a server may take until it answers: loading 2 million
// records takes the slowest 10 s of CPU time, and a busy machine has half of it.
const readyTimeout = 90 * time.Second

// readyInterval is how often a starting server is tried, and so how exactly its
// load time is known.
const readyInterval = 20 * time.Millisecond

// Await tries the server until ready reports that it answers.
func (s *Server) Await(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-s.exited:
			return fmt.Errorf("%s ended before it answered:\n%s", s.Name, s.lastWords())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not answer: %w\n%s", s.Name, err, s.lastWords()), ctx.Err())
		case <-tick.C:
		}
	}
}

// lastWords returns the end of what the server has written.
func (s *Server) lastWords() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	const enough = 2000
	return string(bytes.TrimSpace(text[max(0, len(text)-enough):]))
}

// stopTimeout is how long a server may take to end by itself; NSD with a large
// zone takes a second.
const stopTimeout = 5 * time.Second

// Stop ends the server and waits until it is gone.
func (s *Server) Stop() {
	_ = syscall.Kill(s.group, syscall.SIGTERM)
	patience := time.NewTimer(stopTimeout)
	defer patience.Stop()
	select {
	case <-s.exited:
	case <-patience.C:
	}
	_ = syscall.Kill(-s.group, syscall.SIGKILL) // what is left of its group
	<-s.exited
	s.awaitGone()
}

// goneTimeout is how long the kernel may take to end a killed process that has
// hundreds of megabytes to give back.
const goneTimeout = 2 * time.Second

// awaitGone waits until no process of the group is left, so that the next server
// has the processor to itself.
func (s *Server) awaitGone() {
	deadline := time.NewTimer(goneTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := procstat.Root.Members(s.group); err != nil {
			return
		}
		select {
		case <-deadline.C:
			return
		case <-tick.C:
		}
	}
}
