package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// exampleZone is a small zone with one of most things.
const exampleZone = `$TTL 1h
@      SOA   ns1 hostmaster 1 1h 15m 1w 5m
@      NS    ns1
ns1    A     127.0.0.1
www    A     192.0.2.1
alias  CNAME www
away   CNAME www.other.test.
sub    NS    ns.sub
ns.sub A     192.0.2.53
`

// folder is a node's files in a test.
type folder struct {
	t    testing.TB
	path string
}

func newFolder(t *testing.T) folder { return folder{t, t.TempDir()} }

// write puts a file into the folder, whole at once, as a node may watch it; its time of change
// always moves on, so that a change within one tick of the file system is seen.
func (f folder) write(name, text string) string {
	f.t.Helper()
	path := filepath.Join(f.path, name)
	before, statErr := os.Stat(path)
	whole := filepath.Join(f.path, ".whole")
	if err := os.WriteFile(whole, []byte(text), 0o644); err != nil {
		f.t.Fatal(err)
	}
	if statErr == nil {
		later := before.ModTime().Add(time.Second)
		if err := os.Chtimes(whole, later, later); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := os.Rename(whole, path); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// config writes a configuration with free ports, no resolver, and what is given.
func (f folder) config(rest string) string {
	f.t.Helper()
	text := "data: data\nlisten: {dns: [\"127.0.0.1:0\"], http: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\"}\n"
	if !strings.Contains(rest, "resolver:") {
		text += "resolver: {allow: []}\n"
	}
	return f.write("pharos.yaml", text+rest)
}

// start runs a node until the test ends, or until stop is called.
func start(t *testing.T, config string) (n *Node, stop func()) {
	t.Helper()
	n, err := New(Options{Config: config, Log: slog.New(slog.NewTextHandler(newTestLog(t), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return n, stop
}

// testLog sends a node's log to the test's, as long as that runs: the embedded store has
// goroutines that outlive its end by a moment.
type testLog struct {
	t    *testing.T
	mu   sync.Mutex
	over bool
}

func newTestLog(t *testing.T) *testLog {
	l := &testLog{t: t}
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.over = true
	})
	return l
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// ask sends one query over UDP and returns the answer.
func ask(t *testing.T, server netip.AddrPort, name string, qtype rdata.Type, rd bool) *dnswire.Message {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	spec := dnswire.QuerySpec{ID: uint16(rand.Uint32()), Name: dnsname.MustParse(name), Type: qtype, Class: rdata.ClassIN, RD: rd, EDNS: true}
	if _, err := conn.Write(dnswire.AppendQuery(nil, spec)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	size, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("%s %s: %v", name, qtype, err)
	}
	m, err := dnswire.ParseMessage(buf[:size])
	if err != nil || m.ID != spec.ID {
		t.Fatalf("%s %s: answer %x: %v", name, qtype, buf[:size], err)
	}
	return m
}

// summary returns rcode and answer records in one line.
func summary(m *dnswire.Message) string {
	s := m.Rcode.String()
	for _, r := range m.Answer {
		s += " " + strings.Join(strings.Fields(r.String()), " ")
	}
	return s
}

// eventually waits until holds returns "", and fails with what it returned last.
func eventually(t *testing.T, holds func() string) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for {
		missing := holds()
		if missing == "" {
			return
		}
		select {
		case <-deadline:
			t.Fatal(missing)
		case <-tick.C:
		}
	}
}

// leastAllocs is testing.AllocsPerRun beside a node, which allocates at times by itself: what f
// allocates, each run does.
func leastAllocs(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	for range 20 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}

func (n *Node) hasProblem(c problems.Code) string {
	for _, p := range n.problems.All() {
		if p.Code == string(c) {
			return ""
		}
	}
	return fmt.Sprintf("no problem %s among %v", c, n.problems.All())
}

// newOrigin starts an origin server that says its name.
func newOrigin(t *testing.T, name string) (*httptest.Server, string) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) }))
	t.Cleanup(s.Close)
	return s, strings.TrimPrefix(s.URL, "http://")
}
