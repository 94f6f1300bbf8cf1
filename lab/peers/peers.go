// Package peers runs servers that nobody here wrote, for tests that are held against
// them: BIND, Knot and NSD, as primary or as secondary of some zones; with a
// configuration of the test's own resolvers and gateways, too.
//
// It owns their configuration files and their processes. It does not own what is
// asked of them. Each runs in a folder and on a loopback port of its own, in the
// foreground, and is ended by its process id.
//
// Entry points: Installed, FreePort, FreePorts, Start, StartRecursor, StartWith, Server.Stop,
// Server.Reload.
//
// Concurrency: a Server belongs to one goroutine; its process ends at the latest
// with the context of Start.
package peers

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Kind is a program.
type Kind string

// The programs.
const (
	Named Kind = "named"
	Knot  Kind = "knotd"
	NSD   Kind = "nsd"

	// Gateways, for StartWith.
	Nginx   Kind = "nginx"
	HAProxy Kind = "haproxy"
)

// All returns every Kind of authoritative server.
func All() []Kind { return []Kind{Named, Knot, NSD} }

// path finds a program, also where the shell of an ordinary user does not look.
func path(program string) (string, error) {
	if found, err := exec.LookPath(program); err == nil {
		return found, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

// Installed reports whether programs are there.
func Installed(programs ...string) bool {
	for _, p := range programs {
		if _, err := path(p); err != nil {
			return false
		}
	}
	return true
}

// Key is a TSIG key.
type Key struct {
	Name, Algorithm, Secret string // the secret in base64
}

// Zone is one zone of a Server.
type Zone struct {
	Name string // with a final dot
	// Text is the master file, for a primary.
	Text string
	// Updates lets everybody on this machine change the zone of a primary by dynamic
	// updates. NSD knows none.
	Updates bool
	// Consume makes a secondary serve the members of the zone, a catalog (RFC 9432),
	// from where the zone comes. Generate makes a catalog of the zones that have its name
	// as their CatalogZone; only Knot does.
	Consume, Generate bool
	CatalogZone       string
	Group             string // that the catalog says of the zone
	// Primary is where a secondary gets the zone.
	Primary netip.AddrPort
	// Notify is who is told of changes; the zero address: nobody.
	Notify netip.AddrPort
}

// TLS is how zones are transferred over TLS. A primary listens with it, a secondary
// asks with it. Files are PEM.
type TLS struct {
	Listen           netip.AddrPort // of a primary
	Certificate, Key string         // what the server shows, as a client if CA is set on the other side
	CA               string         // who must have signed the other side's certificate
	Name             string         // in the primary's certificate
}

func (z Zone) file() string { return strings.TrimSuffix(z.Name, ".") + ".zone" }

// Options say what a Server serves.
type Options struct {
	Address netip.AddrPort // see FreePort
	Folder  string         // exists, and is the server's own
	Key     *Key           // for all transfers and notices; nil: none are signed
	TLS     *TLS           // for all transfers; nil: none go over it
	Zones   []Zone
}

// Server is a running name server.
type Server struct {
	Address netip.AddrPort
	folder  string
	cmd     *exec.Cmd
	log     output
	ended   chan struct{} // closed when the process has ended
}

// output is what a server has written.
type output struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write is part of io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// Log returns what the server has written so far.
func (s *Server) Log() string {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	return s.log.text.String()
}

// Start runs a server until Stop, or until ctx ends. It does not wait for it to
// answer.
func Start(ctx context.Context, kind Kind, o Options) (*Server, error) {
	for _, z := range o.Zones {
		if z.Text != "" {
			if err := os.WriteFile(filepath.Join(o.Folder, z.file()), []byte(z.Text), 0o644); err != nil {
				return nil, err
			}
		}
	}
	return StartWith(ctx, kind, o.Address, o.Folder, map[Kind]func(Options) string{Named: namedConfig, Knot: knotConfig, NSD: nsdConfig}[kind](o))
}

// StartWith is Start with a configuration of the caller's, which says that the server
// answers at an address.
func StartWith(ctx context.Context, kind Kind, address netip.AddrPort, folder, config string) (*Server, error) {
	file := filepath.Join(folder, "server.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	program, err := path(string(kind))
	if err != nil {
		return nil, err
	}
	args := map[Kind][]string{Named: {"-g", "-n", "1", "-c", file}, Knot: {"-c", file}, NSD: {"-d", "-c", file},
		Unbound: {"-d", "-c", file}, Kresd: {"-n", "-q", "-c", file, folder}, Dnsdist: {"--supervised", "--disable-syslog", "-C", file},
		Nginx: {"-p", folder, "-c", file}, HAProxy: {"-db", "-f", file}}[kind]
	s := &Server{Address: address, folder: folder, cmd: exec.CommandContext(ctx, program, args...), ended: make(chan struct{})}
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = folder, &s.log, &s.log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 5 * time.Second
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { // ends with the process
		s.cmd.Wait()
		close(s.ended)
	}()
	return s, nil
}

// Stop ends the server and waits for its end.
func (s *Server) Stop() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	wait := time.NewTimer(5 * time.Second)
	defer wait.Stop()
	select {
	case <-s.ended:
	case <-wait.C:
		s.cmd.Process.Kill()
		<-s.ended
	}
}

// Ended reports whether the process is gone.
func (s *Server) Ended() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// Reload gives a primary a new version of a zone.
func (s *Server) Reload(z Zone) error {
	file := filepath.Join(s.folder, z.file())
	if err := os.WriteFile(file, []byte(z.Text), 0o644); err != nil {
		return err
	}
	later := time.Now().Add(2 * time.Second) // a change within one tick of the file system must be seen
	if err := os.Chtimes(file, later, later); err != nil {
		return err
	}
	return s.cmd.Process.Signal(syscall.SIGHUP)
}
