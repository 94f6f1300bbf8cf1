package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/lab/peers"
)

// clockVariable is put together while running, so that this binary can be looked
// through for it.
var clockVariable = strings.Join([]string{"PHAROS", "CLOCK", "OFFSET", "FILE"}, "_")

// TestNoTestClock: the ordinary binary, which this is but for the tests, cannot be told
// another time.
func TestNoTestClock(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	octets, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(octets, []byte(clockVariable)) {
		t.Errorf("the binary has %s in it, without -tags testclock", clockVariable)
	}
}

// TestTestClock moves the time of a running node from outside: a record that is cached
// ages, and is fetched again when its TTL is over; a signature expires.
func TestTestClock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds another binary")
	}
	c := newClocked(t)
	c.write("root.zone", "$TTL 1h\n. SOA a. host. 1 1h 15m 1w 1h\n. NS a.\na. A 192.0.2.1\nwww.test. 3600 A 192.0.2.7\n")
	c.write("auth.yaml", fmt.Sprintf("data: auth.data\nlisten: {dns: [%q], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\nzones: [{name: ., file: root.zone}]\n", c.auth))
	c.write("cache.yaml", fmt.Sprintf("data: cache.data\nlisten: {dns: [%q], admin: \"127.0.0.1:0\"}\nresolver: {allow: [\"127.0.0.0/8\"], specialNames: false, routes: [{zone: ., servers: [%q], validate: false}]}\n", c.cache, c.auth))
	c.start("auth.yaml", c.auth)
	c.start("cache.yaml", c.cache)

	for _, step := range []struct {
		offset     time.Duration
		least, max int // TTL
	}{
		{0, 3590, 3600}, {30 * time.Minute, 1700, 1800}, {59 * time.Minute, 1, 60}, {2 * time.Hour, 3590, 3600},
	} {
		c.set(step.offset)
		out := c.run("query", "www.test", "@"+c.cache)
		var ttl int
		for line := range strings.Lines(out) {
			if fields := strings.Fields(line); len(fields) == 5 && fields[0] == "www.test." {
				fmt.Sscan(fields[1], &ttl)
			}
		}
		if ttl < step.least || ttl > step.max {
			t.Errorf("%v later the TTL is %d, want %d to %d:\n%s", step.offset, ttl, step.least, step.max, out)
		}
	}

	c.set(0)
	c.run("zone", "sign", "root.zone", "--origin", ".", "--generate-keys", "ed25519", "--out", "root.signed")
	if out := c.run("zone", "verify", "root.signed", "--origin", "."); strings.Contains(out, "expired") {
		t.Errorf("signed a moment ago: %s", out)
	}
	c.set(60 * 24 * time.Hour)
	if out, err := c.try("zone", "verify", "root.signed", "--origin", "."); err == nil || !strings.Contains(out, "expired") {
		t.Errorf("60 days later no signature has expired (%v): %s", err, out)
	}
}

// clocked is a program with a clock that can be moved, and two addresses for its nodes.
type clocked struct {
	t               *testing.T
	folder, program string
	auth, cache     string
}

func newClocked(t *testing.T) *clocked {
	c := &clocked{t: t, folder: t.TempDir()}
	c.program = filepath.Join(c.folder, "pharos")
	if out, err := exec.Command("go", "build", "-tags", "testclock", "-o", c.program, ".").CombinedOutput(); err != nil {
		t.Fatalf("building with -tags testclock: %v\n%s", err, out)
	}
	c.write("offset", string(make([]byte, 8)))
	for _, addr := range []*string{&c.auth, &c.cache} {
		free, err := peers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		*addr = free.String()
	}
	return c
}

func (c *clocked) write(name, text string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.folder, name), []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// set moves the clock of all running programs. The file keeps its place: it is mapped.
func (c *clocked) set(offset time.Duration) {
	c.t.Helper()
	f, err := os.OpenFile(filepath.Join(c.folder, "offset"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.Write(binary.NativeEndian.AppendUint64(nil, uint64(offset/time.Second)))
		f.Close()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *clocked) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.program, args...)
	cmd.Dir = c.folder
	cmd.Env = append(os.Environ(), clockVariable+"="+filepath.Join(c.folder, "offset"))
	return cmd
}

// start starts a node, and returns when it answers.
func (c *clocked) start(config, addr string) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := c.command(ctx, "serve", "-c", config)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		cancel()
		cmd.Wait()
		if c.t.Failed() {
			c.t.Logf("%s:\n%s", config, log.String())
		}
	})
	for began := time.Now(); time.Since(began) < time.Minute; {
		if _, err := c.try("query", ".", "NS", "@"+addr, "--tcp", "--timeout", "2s"); err == nil {
			return
		}
		select { // a refused connection comes back at once
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	c.t.Fatalf("%s does not answer at %s", config, addr)
}

func (c *clocked) try(args ...string) (string, error) {
	out, err := c.command(c.t.Context(), args...).CombinedOutput()
	return string(out), err
}

func (c *clocked) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatalf("pharos %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}
