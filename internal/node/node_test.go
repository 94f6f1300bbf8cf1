package node

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/traffic/probe"
)

func TestAnswers(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}, {name: broken.test, file: missing.zone}]`))
	for _, tt := range []struct {
		name  string
		qtype rdata.Type
		want  string
	}{
		{"www.example.com.", rdata.TypeA, "NOERROR www.example.com. 3600 IN A 192.0.2.1"},
		{"alias.example.com.", rdata.TypeA, "NOERROR alias.example.com. 3600 IN CNAME www.example.com. www.example.com. 3600 IN A 192.0.2.1"},
		{"nx.example.com.", rdata.TypeA, "NXDOMAIN"},
		{"www.sub.example.com.", rdata.TypeA, "NOERROR"}, // a referral, for there is no recursion
		{"elsewhere.test.", rdata.TypeA, "REFUSED"},
		{"www.broken.test.", rdata.TypeA, "SERVFAIL"},
		{"example.com.", rdata.TypeAXFR, "REFUSED"},
		{"example.com.", rdata.TypeTSIG, "FORMERR"},
	} {
		m := ask(t, n.DNS()[0], tt.name, tt.qtype, true)
		if got := summary(m); got != tt.want {
			t.Errorf("%s %s: got %s, want %s", tt.name, tt.qtype, got, tt.want)
		}
		if m.Rcode == dnswire.RcodeRefused && len(m.EDE) == 0 {
			t.Errorf("%s: refused without a reason", tt.name)
		}
	}
	if missing := n.hasProblem(problems.ZoneRefused); missing != "" {
		t.Error(missing)
	}
	if err := n.ready(); err == nil || !strings.Contains(err.Error(), "zone broken.test.: there is no version") {
		t.Errorf("ready: %v, want the zone that is missing", err)
	}
}

// TestReload: a good change is answered by; a bad one leaves the old version in
// force, and says what is wrong.
func TestReload(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	config := f.config(`zones: [{name: example.com, file: example.zone}]`)
	n, _ := start(t, config)
	address := func() string { return summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)) }

	f.write("example.zone", strings.ReplaceAll(exampleZone, "192.0.2.1", "192.0.2.2"))
	eventually(t, func() string { // seen by itself
		if got := address(); !strings.HasSuffix(got, "192.0.2.2") {
			return "still " + got
		}
		return ""
	})
	f.write("example.zone", exampleZone+"oops\n")
	applied, err := n.reload()
	if err != nil || len(applied.Refused) != 1 || !strings.Contains(applied.Refused[0], "example.zone:10:") {
		t.Errorf("reload of a broken zone: %+v, %v", applied, err)
	}
	if got := address(); !strings.HasSuffix(got, "192.0.2.2") {
		t.Errorf("after a broken zone file: %s", got)
	}
	f.write("example.zone", exampleZone)
	f.write("pharos.yaml", "listen: {dnss: []}\n")
	if _, err := n.reload(); err == nil || !strings.Contains(err.Error(), `did you mean "dns"?`) {
		t.Errorf("reload of a broken configuration: %v", err)
	}
	if missing := n.hasProblem(problems.ConfigRefused); missing != "" {
		t.Error(missing)
	}
	if got := address(); !strings.HasSuffix(got, "192.0.2.2") {
		t.Errorf("after a broken configuration: %s", got)
	}
	f.config(`zones: [{name: example.com, file: example.zone}]`)
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	if got := address(); !strings.HasSuffix(got, "192.0.2.1") || n.hasProblem(problems.ConfigRefused) == "" {
		t.Errorf("after the repair: %s, problems %v", got, n.problems.All())
	}
}

// TestOneHealthView: an origin that dies is left by the DNS answer and by the
// gateway, without a failed request; and they come back to it.
func TestOneHealthView(t *testing.T) {
	a, addrA := newOrigin(t, "a")
	listenB, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	serverB := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "b") })}
	go serverB.Serve(listenB)
	defer serverB.Close()
	defer a.Close()

	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}]
pools:
  - name: web
    check: {type: http, interval: 100ms, timeout: 50ms}
    members: [{name: a, address: "`+addrA+`"}, {name: b, address: "`+listenB.Addr().String()+`"}]
steer: [{name: app.example.com, pool: web, ttl: 2s}]
routes: [{host: www.example.com, path: /, pool: web}]
`))
	addresses := func() string {
		m := ask(t, n.DNS()[0], "app.example.com.", rdata.TypeA, false)
		var all []string
		for _, r := range m.Answer {
			addr, _ := netip.AddrFromSlice(r.Data)
			all = append(all, addr.String())
		}
		return strings.Join(all, " ")
	}
	fetch := func() string {
		req, _ := http.NewRequest("GET", "http://"+n.HTTP()[0]+"/", nil)
		req.Host = "www.example.com"
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 {
			t.Fatalf("status %d: %s", resp.StatusCode, body)
		}
		return string(body)
	}
	eventually(t, func() string {
		if got := addresses(); len(strings.Fields(got)) != 2 {
			return "both should be answered, got " + got
		}
		return ""
	})
	for served := map[string]bool{}; len(served) < 2; {
		served[fetch()] = true
	}
	serverB.Close()
	for range 20 { // traffic itself finds out; no request fails
		if got := fetch(); got != "a" {
			t.Fatalf("served by %s, which is dead", got)
		}
	}
	eventually(t, func() string {
		if got := addresses(); got != "127.0.0.1" {
			return "only a should be answered, got " + got
		}
		return ""
	})
	if m := ask(t, n.DNS()[0], "app.example.com.", rdata.TypeAAAA, false); summary(m) != "NOERROR" || len(m.Authority) != 1 {
		t.Errorf("AAAA of a pool without IPv6: %s with %v", summary(m), m.Authority)
	}
	explained, err := n.Explain(t.Context(), api.ExplainRequest{URL: "http://www.example.com/", From: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	explained.WriteText(&text)
	for _, want := range []string{"1 of 2 members can be picked", "out, down", "carried to pool web"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

// TestStoreUnusable: the store's folder cannot be opened; everything is answered
// all the same, and the problem is shown.
func TestStoreUnusable(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	os.Mkdir(filepath.Join(f.path, "data"), 0o700)
	f.write("data/store", "a file where the folder should be")
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}]`))
	if got := summary(ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)); !strings.HasSuffix(got, "192.0.2.1") {
		t.Error(got)
	}
	eventually(t, func() string { return n.hasProblem(problems.StoreLost) })
	if _, err := n.Apply(t.Context(), []byte("pools: [{name: p, members: [{name: a, address: \"127.0.0.1:1\"}]}]")); err == nil {
		t.Error("a change was taken without a store")
	}
}

// TestAppliedOutlivesTheStore: what was applied is answered after a restart, even
// if the store is gone, because the snapshot has it; and after one with the store.
func TestAppliedOutlivesTheStore(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	config := f.config(`zones: [{name: example.com, file: example.zone}]`)
	n, stop := start(t, config)
	const document = `
pools: [{name: web, check: {type: none}, members: [{name: a, address: "192.0.2.80:80"}]}]
steer: [{name: app.example.com, pool: web, ttl: 4s}]
routes: [{host: app.example.com, pool: web}]
`
	eventually(t, func() string {
		if s := n.storeStatus(); s != "ready" {
			return "store " + s
		}
		return ""
	})
	applied, err := n.Apply(t.Context(), []byte(document))
	if err != nil || len(applied.Changed) != 3 {
		t.Fatalf("%+v, %v", applied, err)
	}
	const want = "NOERROR app.example.com. 4 IN A 192.0.2.80"
	answered := func(n *Node, when string) {
		t.Helper()
		if got := summary(ask(t, n.DNS()[0], "app.example.com.", rdata.TypeA, false)); got != want {
			t.Errorf("%s: got %s, want %s", when, got, want)
		}
	}
	answered(n, "when Apply has returned")
	if again, err := n.Apply(t.Context(), []byte(document)); err != nil || len(again.Changed) != 0 {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if _, err := n.Apply(t.Context(), []byte("routes: [{host: x.example.com, pool: webb}]")); err == nil || !strings.Contains(err.Error(), "webb") {
		t.Errorf("a route to nowhere: %v", err)
	}
	if _, err := n.Delete(t.Context(), "pool", "web"); err == nil {
		t.Error("a pool in use was deleted")
	}
	stop()

	moved := filepath.Join(f.path, "data", "store-moved")
	if err := os.Rename(filepath.Join(f.path, "data", "store"), moved); err != nil {
		t.Fatal(err)
	}
	f.write("data/store", "in the way")
	n, stop = start(t, config)
	answered(n, "after a start without the store")
	stop()
	os.Remove(filepath.Join(f.path, "data", "store"))
	if err := os.Rename(moved, filepath.Join(f.path, "data", "store")); err != nil {
		t.Fatal(err)
	}
	n, _ = start(t, config)
	eventually(t, func() string {
		if s := n.storeStatus(); s != "ready" {
			return "store " + s
		}
		return ""
	})
	answered(n, "after a start with the store")
	for _, object := range [][2]string{{"route", "app.example.com/"}, {"steer", "app.example.com"}, {"pool", "web"}} {
		if _, err := n.Delete(t.Context(), object[0], object[1]); err != nil {
			t.Errorf("delete %v: %v", object, err)
		}
	}
	if got := summary(ask(t, n.DNS()[0], "app.example.com.", rdata.TypeA, false)); got != "NXDOMAIN" {
		t.Errorf("after the deletion: %s", got)
	}
}

// TestPortInUse: the message names the address and the key.
func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, key := range []string{"dns", "http", "admin"} {
		addresses := map[string]string{"dns": `["127.0.0.1:0"]`, "http": `["127.0.0.1:0"]`, "admin": `"127.0.0.1:0"`}
		addresses[key] = strings.ReplaceAll(addresses[key], "127.0.0.1:0", taken.Addr().String())
		f := newFolder(t)
		_, err := New(Options{Config: f.write("pharos.yaml", "data: data\nlisten: {dns: "+addresses["dns"]+", http: "+addresses["http"]+", admin: "+addresses["admin"]+"}\n")})
		if err == nil || !strings.Contains(err.Error(), "listen."+key) || !strings.Contains(err.Error(), taken.Addr().String()) {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestQueryNoAllocs: the way of a query, from decision to finished answer,
// allocates nothing: from a zone, from a pool, and refused.
func TestQueryNoAllocs(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, err := New(Options{Config: f.config(`zones: [{name: example.com, file: example.zone}]
pools: [{name: web, check: {type: none}, members: [{name: a, address: "192.0.2.80:80"}, {name: b, address: "192.0.2.81:80"}]}]
steer: [{name: app.example.com, pool: web}]
`)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	for _, name := range []string{"www.example.com.", "alias.example.com.", "nx.example.com.", "www.sub.example.com.", "app.example.com.", "elsewhere.test."} {
		msg := dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true})
		r := &dnsserver.Request{Client: netip.MustParseAddrPort("192.0.2.9:5353"), Limit: dnswire.MaxUDP}
		buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
		allocs := leastAllocs(200, func() {
			r.Query.Parse(buf[:copy(buf, msg)])
			r.Out.Reset(&r.Query, buf, r.Limit)
			n.query(r)
			r.Out.Finish()
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}

// TestAdminListener: the calls work over HTTP, and the metrics have what the
// manual promises.
func TestAdminListener(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, _ := start(t, f.config(`zones: [{name: example.com, file: example.zone}]
pools: [{name: web, check: {type: none}, members: [{name: a, address: "192.0.2.80:80"}]}]
`))
	ask(t, n.DNS()[0], "www.example.com.", rdata.TypeA, false)
	for path, wants := range map[string][]string{
		"/healthz":    {"ok"},
		"/readyz":     {"ready"},
		"/":           {"example.com.", "192.0.2.80:80", "No problems"},
		"/api/status": {`"zones": 1`},
		"/api/zones":  {`"serial": 1`},
		"/api/explain?name=www.example.com&from=192.0.2.1": {"zone example.com. (serial 1) is ours"},
		"/metrics": {
			`pharos_dns_events_total{event="queries",transport="udp"} 1`, `pharos_dns_answers_total{rcode="NOERROR",transport="udp"} 1`,
			`pharos_member_state{member="a",pool="web",state="up"} 1`, `pharos_zone_serial{zone="example.com."} 1`,
			"pharos_http_request_seconds_bucket", "pharos_cache_entries", "pharos_probes_total",
		},
	} {
		resp, err := http.Get("http://" + n.Admin() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		for _, want := range wants {
			if resp.StatusCode != 200 || !strings.Contains(string(body), want) {
				t.Errorf("%s: status %d, no %q in\n%.2000s", path, resp.StatusCode, want, body)
			}
		}
	}
}

// TestReady: a node is out of use only when it has nothing to say, not when a
// change was refused; else one bad change would put all nodes out of use.
func TestReady(t *testing.T) {
	f := newFolder(t)
	f.write("good.zone", exampleZone)
	f.write("late.zone", "@ SOA broken")
	config := f.config(`zones: [{name: example.com, file: good.zone}, {name: example.net, file: late.zone}]
pools: [{name: web, check: {type: tcp, interval: 10ms}, members: [{name: a, address: "127.0.0.1:1"}]}]
`)
	n, stop := start(t, config)
	if err := n.ready(); err == nil || !strings.Contains(err.Error(), "zone example.net.: there is no version") {
		t.Errorf("with a zone that never loaded: %v", err)
	}
	f.write("late.zone", exampleZone)
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	f.write("good.zone", "@ SOA broken")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return n.hasProblem(problems.PoolAllDown) })
	if problems := n.Status().Problems; len(problems) < 2 {
		t.Fatalf("problems: %+v, want the zone and the pool", problems)
	}
	if err := n.ready(); err != nil {
		t.Errorf("while the old zone is served: %v, want ready", err)
	}
	stop()
	if err := n.ready(); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("after the end: %v", err)
	}
}

// TestVerdictBeforeSnapshot: a probe may end before the first snapshot is
// published; its verdict is in the views that follow.
func TestVerdictBeforeSnapshot(t *testing.T) {
	n := &Node{log: slog.New(slog.DiscardHandler)}
	n.onHealth([]probe.Change{{}})
	if n.current.Load() != nil {
		t.Error("a verdict made a snapshot")
	}
}

// TestReadIsCounted: what was read anew for a snapshot is counted, what was taken
// over is not: it decides whether memory is given back.
func TestReadIsCounted(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	n, err := New(Options{Config: f.config(`zones: [{name: example.com, file: example.zone}]`), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if got := n.current.Load().read; got != 8 {
		t.Errorf("read %d records, want 8", got)
	}
	if _, err := n.reload(); err != nil || n.current.Load().read != 0 {
		t.Errorf("after a reload of nothing: read %d, %v", n.current.Load().read, err)
	}
}

// TestStoreOpenedLate: a store that is opened when all else has ended is closed, too.
func TestStoreOpenedLate(t *testing.T) {
	n, err := New(Options{Config: newFolder(t).config(""), Log: slog.New(slog.NewTextHandler(newTestLog(t), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var parts sync.WaitGroup
	parts.Go(func() {
		for { // until release has closed the listener
			conn, err := net.Dial("tcp", n.Admin())
			if err != nil {
				break
			}
			conn.Close()
		}
		n.followOnce(ctx, n.current.Load().Config)
	})
	if err := n.end(&parts); err != nil {
		t.Fatal(err)
	}
	select {
	case <-n.store.Load().Done():
	default:
		t.Error("the store is open")
	}
}
