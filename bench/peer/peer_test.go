package peer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a program of a few shell lines.
func script(name, text string) Program {
	return Program{Name: name, Binary: "sh", Files: func(Job) (map[string]string, []string) {
		return map[string]string{"script": text}, []string{"script"}
	}}
}

func launcher(t *testing.T) *Launcher {
	t.Helper()
	l, err := NewLauncher(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestStopEndsWorkersToo(t *testing.T) {
	dir := t.TempDir()
	s, err := launcher(t).Start(script("stubborn", "sh -c 'trap \"\" TERM; echo up; while :; do sleep 1; done' &\nwait\n"), Job{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	up := func() error {
		if text, _ := os.ReadFile(filepath.Join(dir, "output.log")); !strings.Contains(string(text), "up") {
			return errors.New("not up")
		}
		return nil
	}
	if err := s.Await(context.Background(), up); err != nil {
		t.Fatal(err)
	}
	if cpu, err := s.CPU(); err != nil || cpu <= 0 {
		t.Errorf("CPU = %v, %v", cpu, err)
	}
	if octets, err := s.Memory(); err != nil || octets <= 0 {
		t.Errorf("Memory = %v, %v", octets, err)
	}
	s.Stop()
	if octets, err := s.Memory(); err == nil {
		t.Errorf("a worker is left with %d octets", octets)
	}
}

// TestAwaitTellsWhy: a server that ends says why.
func TestAwaitTellsWhy(t *testing.T) {
	s, err := launcher(t).Start(script("broken", "echo no such zone >&2; exit 1\n"), Job{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.Await(context.Background(), func() error { return errors.New("no") }); err == nil || !strings.Contains(err.Error(), "no such zone") {
		t.Errorf("Await = %v, want what the program wrote", err)
	}
}

func TestAwaitCanBeCancelled(t *testing.T) {
	s, err := launcher(t).Start(script("silent", "exec sleep 60\n"), Job{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := s.Await(ctx, func() error { return errors.New("no") }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Await = %v", err)
	}
}

func TestStartOfMissingProgram(t *testing.T) {
	_, err := launcher(t).Start(Program{Name: "Nobody", Binary: "no-such-server"}, Job{Dir: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "make peers") {
		t.Errorf("Start = %v, want the remedy", err)
	}
}

func TestVersionIn(t *testing.T) {
	for out, want := range map[string]string{
		"knotd (Knot DNS), version 3.2.6\n":                            "3.2.6",
		"BIND 9.18.49-1~deb12u3-Debian (Extended Support) <id:>":       "9.18.49",
		"nginx version: nginx/1.22.1\n":                                "1.22.1",
		"Nov 22 00:31:24 PowerDNS Recursor 4.8.8 (C) 2001-2022":        "4.8.8",
		"HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://a.org/": "2.6.12",
		"pharos (devel) go1.26.8 linux/amd64":                          "(devel)",
		"":                                                             "unknown",
	} {
		if got := versionIn(out); got != want {
			t.Errorf("versionIn(%q) = %q, want %q", out, got, want)
		}
	}
}

// TestConfigurations: every program is told its port, its one thread and what it
// works on.
func TestConfigurations(t *testing.T) {
	job := Job{Dir: "/d", Port: 5399, Admin: 5398, Zones: []ZoneFile{{"bench.example.", "/z/file"}}, Target: "127.0.0.1:7777"}
	for _, c := range []struct {
		p    Program
		want []string
	}{
		{PharosZones("pharos"), []string{"5399", "udpWorkers: 1", "bench.example.", "/z/file"}},
		{Knot(), []string{"5399", "udp-workers: 1", "bench.example.", "/z/file"}},
		{NSD(), []string{"5399", "server-count: 1", "bench.example.", "/z/file", "rrl-ratelimit: 0"}},
		{BIND(), []string{"5399", "bench.example.", "/z/file"}},
		{PharosResolver("pharos"), []string{"5399", "port: 7777", "127.0.0.1"}},
		{Unbound(), []string{"5399", "num-threads: 1", "127.0.0.1@7777"}},
		{Recursor(), []string{"5399", "threads=1", "127.0.0.1:7777"}},
		{PharosGateway("pharos"), []string{"5399", "127.0.0.1:7777", "access.log", "path: /api", "blog.bench.example"}},
		{Nginx(), []string{"5399", "worker_processes 1", "127.0.0.1:7777", "access.log", "location /api", "blog.bench.example"}},
		{HAProxy(), []string{"5399", "nbthread 1", "127.0.0.1:7777", "httplog", "path_beg /api", "blog.bench.example"}},
	} {
		files, args := c.p.Files(job)
		text := strings.Join(args, " ")
		for name, content := range files {
			text += "\n" + name + "\n" + content
		}
		for _, want := range c.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", c.p.Name, want, text)
			}
		}
	}
}
