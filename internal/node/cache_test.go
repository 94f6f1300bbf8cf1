package node

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/rdata"
)

// authority starts a node that serves one zone on an address, at a port that may be 0.
func authority(t *testing.T, address string, port uint16, zone, text string) (n *Node, stop func()) {
	t.Helper()
	f := newFolder(t)
	f.write("zone", text)
	return start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
listen: {dns: ["%s:%d"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: %s, file: zone}]
`, address, port, zone)))
}

const subZone = "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A %s\nwww A %s\n"

// What is cached from below a delegation of ours goes the moment the delegation points
// elsewhere, with aliases that lead there; another change of the zone leaves it alone.
func TestCacheFollowsOwnZones(t *testing.T) {
	old, _ := authority(t, "127.0.0.3", 0, "sub.example.com", fmt.Sprintf(subZone, "127.0.0.3", "192.0.2.3"))
	port := old.DNS()[0].Port()
	authority(t, "127.0.0.4", port, "sub.example.com", fmt.Sprintf(subZone, "127.0.0.4", "192.0.2.4"))
	f := newFolder(t)
	f.write("hints", ". 1d NS a.root.\na.root. 1d A 127.0.0.1\n")
	zone := func(serial, more, at string) string {
		return f.write("example.zone", "$TTL 1h\n@ SOA ns host "+serial+" 1h 15m 1w 5m\n@ NS ns\nns A 127.0.0.1\nto CNAME www.sub\nsub NS ns.sub\nns.sub A "+at+"\n"+more)
	}
	zone("1", "", "127.0.0.3")
	n, _ := start(t, f.config(fmt.Sprintf("resolver: {rootHints: hints, port: %d, validate: false}\nzones: [{name: example.com, file: example.zone}]\n", port)))
	want := func(when, address string) {
		t.Helper()
		for _, name := range []string{"www.sub.example.com.", "to.example.com."} {
			if got := summary(ask(t, n.DNS()[0], name, rdata.TypeA, true)); !strings.HasSuffix(got, address) {
				t.Errorf("%s: %s: %s, want %s", when, name, got, address)
			}
		}
	}
	reload := func() {
		t.Helper()
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
	}
	want("first", "192.0.2.3")
	sent := func() uint64 {
		c, _, _ := n.resolver.Counters()
		return c.Sent
	}
	before := sent()
	zone("2", "new A 192.0.2.9\n", "127.0.0.3")
	reload()
	want("after another change of the zone", "192.0.2.3")
	if got := sent(); got != before {
		t.Errorf("%d queries were sent for what was cached", got-before)
	}
	zone("3", "", "127.0.0.4")
	reload()
	want("after the delegation has moved", "192.0.2.4")
}

// A zone that becomes ours, or is no longer, is answered so at once, also at the end of
// aliases of others.
func TestCacheFollowsZonesThatComeAndGo(t *testing.T) {
	out, _ := authority(t, "127.0.0.1", 0, ".", "$TTL 1h\n@ SOA ns.test. host.test. 1 1h 15m 1w 1h\n@ NS ns.test.\nns.test. A 127.0.0.1\nwww.example. A 192.0.2.1\nto.test. CNAME www.example.\n")
	server := out.DNS()[0]
	f := newFolder(t)
	f.write("example.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 5m\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.77\n")
	base := fmt.Sprintf("resolver: {specialNames: false, validate: false, routes: [{zone: ., kind: stub, servers: [\"%s\"], validate: false}]}\n", server)
	config := f.config(base)
	n, _ := start(t, config)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	want := func(when, name, address string) {
		t.Helper()
		if got := summary(ask(t, n.DNS()[0], name, rdata.TypeA, true)); !strings.HasSuffix(got, address) {
			t.Errorf("%s: %s: %s, want %s", when, name, got, address)
		}
	}
	records := func() int { return n.cache.Stats().Records }
	want("theirs", "www.example.", "192.0.2.1")
	want("theirs", "to.test.", "192.0.2.1")
	before := records()
	f.write("pharos.yaml", string(text)+"zones: [{name: example, file: example.zone}]\n")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if after := records(); after >= before {
		t.Errorf("%d entries, %d before the zone came: nothing of it was dropped", after, before)
	}
	want("ours", "www.example.", "192.0.2.77")
	f.write("pharos.yaml", string(text))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	want("theirs again", "www.example.", "192.0.2.1")
}

// A process that follows one that was killed with kill -9 answers from what that one had
// learnt, though nobody can be asked any more.
func TestCacheOutlivesKill(t *testing.T) {
	if folder := os.Getenv("PHAROS_CACHE_CHILD"); folder != "" {
		serveUntilKilled(t, folder)
	}
	f := newFolder(t)
	zone := "$TTL 1h\n@ SOA ns.test. host.test. 1 1h 15m 1w 1h\n@ NS ns.test.\nns.test. A 127.0.0.1\n"
	for i := range 100 {
		zone += fmt.Sprintf("n%d.test. A 192.0.2.%d\n", i, i)
	}
	out, stopAuthority := authority(t, "127.0.0.1", 0, ".", zone)
	config := f.config(fmt.Sprintf("resolver: {specialNames: false, validate: false, saveCache: 1s, routes: [{zone: ., kind: stub, servers: [\"%s\"], validate: false}]}\n", out.DNS()[0]))
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestCacheOutlivesKill$")
	child.Env = append(os.Environ(), "PHAROS_CACHE_CHILD="+f.path)
	output, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var line [64]byte
	size, err := output.Read(line[:])
	server, parseErr := netip.ParseAddrPort(strings.TrimSpace(string(line[:size])))
	if err != nil || parseErr != nil {
		t.Fatalf("the child says %q, %v", line[:size], err)
	}
	for i := range 100 {
		ask(t, server, fmt.Sprintf("n%d.test.", i), rdata.TypeA, true)
	}
	asked := time.Now()
	saved := filepath.Join(f.path, "data", "cache", "resolver.cache") // writing rests 199 times as long as it works, so a busy machine takes long
	patiently(t, func() string {
		if stat, err := os.Stat(saved); err != nil || stat.ModTime().Before(asked.Add(2*time.Second)) {
			return "not saved since the last question"
		}
		return ""
	})
	child.Process.Kill()
	child.Wait()
	stopAuthority()
	begun := time.Now()
	n, _ := start(t, config)
	patiently(t, func() string {
		if n.keeper.Status().Restored < 100 {
			return fmt.Sprintf("%+v", n.keeper.Status())
		}
		return ""
	})
	t.Logf("restored %v after the start: %+v", time.Since(begun), n.keeper.Status())
	for i := range 100 {
		want := fmt.Sprintf("192.0.2.%d", i)
		if got := summary(ask(t, n.DNS()[0], fmt.Sprintf("n%d.test.", i), rdata.TypeA, true)); !strings.HasSuffix(got, want) {
			t.Errorf("n%d.test.: %s, want %s", i, got, want)
		}
	}
	if c, _, _ := n.resolver.Counters(); c.Sent > 0 {
		t.Errorf("%d queries were sent", c.Sent)
	}
}

// serveUntilKilled is the child process of a test.
func serveUntilKilled(t *testing.T, folder string) {
	n, err := New(Options{Config: filepath.Join(folder, "pharos.yaml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(n.DNS()[0])
	n.Run(context.Background(), nil)
	os.Exit(0)
}
