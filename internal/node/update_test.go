package node

import (
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// memory changes zones without a disk.
type memory struct {
	mu   sync.Mutex
	zone *zone.Zone
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	origin := dnsname.MustParse("peer.test.")
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(peerZone(1)), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return &memory{zone: z}
}

func (m *memory) change(_ context.Context, _ dnsname.Name, _ string, decide func(*zone.Zone) (update.Change, error)) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, err := decide(m.zone)
	if err != nil || c.IsEmpty() {
		return false, err
	}
	e := m.zone.Edit()
	for _, r := range c.Deleted {
		if !e.Delete(r) {
			return false, fmt.Errorf("no record %v", r)
		}
	}
	for _, r := range c.Added {
		e.Add(r)
	}
	next, problems := e.Finish()
	if next == nil {
		return false, fmt.Errorf("%v", problems)
	}
	m.zone = next
	return true, nil
}

func (m *memory) has(name string, t rdata.Type) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	node := m.zone.Lookup(dnsname.MustParse(name)).Exact
	if node == 0 {
		return false
	}
	_, ok := m.zone.RRset(node, t)
	return ok
}

const updateRules = `updates:
      - {deny: true, key: transfer-key, names: [host1.peer.test]}
      - {key: transfer-key, subtrees: [dyn.peer.test, host1.peer.test], types: [A, TXT]}
      - {key: transfer-key, names: [_acme-challenge.peer.test], types: [TXT]}
      - {network: 127.0.0.1/32, names: [local.peer.test]}`

// startUpdates runs a node whose zone peer.test. is changed in memory.
func startUpdates(t *testing.T, more string) (*Node, *memory) {
	t.Helper()
	f := newFolder(t)
	f.write("peer.zone", peerZone(1))
	config := f.config(fmt.Sprintf(`store: {enabled: false}
keys: [{name: transfer-key, secret: "%s"}, {name: other-key, secret: "%s"}]
zones:
  - name: peer.test
    kind: store
    %s
  - {name: file.test, file: peer.zone}
  - {name: copy.test, kind: secondary, primaries: [{address: "127.0.0.1:1"}]}
%s`, peerKey.Secret, peerKey.Secret, updateRules, more))
	n, m := startWith(t, config, newMemory(t))
	return n, m
}

func startWith(t *testing.T, config string, m *memory) (*Node, *memory) {
	t.Helper()
	n, err := New(Options{Config: config, Log: slog.New(slog.NewTextHandler(newTestLog(t), nil))})
	if err != nil {
		t.Fatal(err)
	}
	n.changeZone = m.change
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	})
	return n, m
}

func insert(t *testing.T, zone string, records ...string) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate(zone)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		m.Insert([]dns.RR{rr})
	}
	return m
}

// TestWhoMayUpdate: RFC 2136 §3.1 and §3.3: what may not be is refused with the
// reason, nothing of it is done, and it is counted.
func TestWhoMayUpdate(t *testing.T) {
	n, m := startUpdates(t, "")
	wrong := base64.StdEncoding.EncodeToString([]byte("wrong"))
	secret := peerKey.Secret
	notSOA := new(dns.Msg).SetUpdate("peer.test.")
	notSOA.Question[0].Qtype = dns.TypeA
	failing := insert(t, "peer.test.", "x.dyn.peer.test. 60 A 192.0.2.1")
	failing.NameNotUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "ns1.peer.test."}}})
	for _, tt := range []struct {
		name, secret string
		m            *dns.Msg
		rcode        int
		ede          uint16
	}{
		{"allowed", secret, insert(t, "peer.test.", "a.dyn.peer.test. 60 A 192.0.2.1"), 0, 0},
		{"again, which changes nothing", secret, insert(t, "peer.test.", "a.dyn.peer.test. 60 A 192.0.2.1"), 0, 0},
		{"a type that is not", secret, insert(t, "peer.test.", "b.dyn.peer.test. 60 A 192.0.2.1", "b.dyn.peer.test. 60 AAAA ::1"), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"a name that is not", secret, insert(t, "peer.test.", "b.peer.test. 60 A 192.0.2.1"), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"a name that is denied first", secret, insert(t, "peer.test.", "host1.peer.test. 60 A 192.0.2.1"), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"below it", secret, insert(t, "peer.test.", "c.host1.peer.test. 60 A 192.0.2.1"), 0, 0},
		{"unsigned, by its address", "", insert(t, "peer.test.", "local.peer.test. 60 A 192.0.2.1"), 0, 0},
		{"unsigned, where a key is needed", "", insert(t, "peer.test.", "d.dyn.peer.test. 60 A 192.0.2.1"), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"a wrong secret", wrong, insert(t, "peer.test.", "d.dyn.peer.test. 60 A 192.0.2.1"), dns.RcodeNotAuth, 0},
		{"a zone of kind file", secret, insert(t, "file.test.", "d.file.test. 60 A 192.0.2.1"), dns.RcodeRefused, dns.ExtendedErrorCodeNotSupported},
		{"a secondary zone", secret, insert(t, "copy.test.", "d.copy.test. 60 A 192.0.2.1"), dns.RcodeRefused, dns.ExtendedErrorCodeProhibited},
		{"no zone", secret, insert(t, "www.peer.test.", "d.www.peer.test. 60 A 192.0.2.1"), dns.RcodeNotAuth, dns.ExtendedErrorCodeNotAuthoritative},
		{"a name of another zone", secret, insert(t, "peer.test.", "d.test. 60 A 192.0.2.1"), dns.RcodeNotZone, dns.ExtendedErrorCodeInvalidData},
		{"a zone section of type A", secret, notSOA, dns.RcodeFormatError, dns.ExtendedErrorCodeInvalidData},
		{"a prerequisite that is not met", secret, failing, dns.RcodeYXDomain, dns.ExtendedErrorCodeOther},
	} {
		for _, network := range []string{"tcp", "udp"} {
			m := largeUDP(tt.m.Copy())
			m.Id = dns.Id() // or it would be known again
			r, err := newClient(n, network, tt.secret).ask(t, m, 0)
			if r == nil {
				t.Errorf("%s by %s: %v", tt.name, network, err)
				continue
			}
			if r.Rcode != tt.rcode || r.Opcode != dns.OpcodeUpdate || !r.Response {
				t.Errorf("%s by %s: %v, want %s", tt.name, network, r, dns.RcodeToString[tt.rcode])
			}
			if tt.secret != "" && r.IsTsig() == nil {
				t.Errorf("%s by %s: the answer is not signed", tt.name, network)
			}
			if edns := r.IsEdns0(); tt.ede != 0 && (edns == nil || len(edns.Option) != 1 || edns.Option[0].(*dns.EDNS0_EDE).InfoCode != tt.ede) {
				t.Errorf("%s by %s: %v, want extended error %d", tt.name, network, edns, tt.ede)
			}
		}
	}
	for name, want := range map[string]bool{"a.dyn.peer.test.": true, "c.host1.peer.test.": true, "local.peer.test.": true, "b.dyn.peer.test.": false, "d.dyn.peer.test.": false, "x.dyn.peer.test.": false} {
		if got := m.has(name, rdata.TypeA); got != want {
			t.Errorf("%s is there: %v", name, got)
		}
	}
	if c := n.updates.Counts(); c.Changed != 3 || c.Unchanged != 5 || c.Refused == 0 || c.Unmet != 2 || c.Malformed != 4 || c.InWork != 0 {
		t.Errorf("counted: %+v", c)
	}
}

// TestRepeatedUpdate: RFC 8945 §10: an update that is recorded and sent again, with
// the same signature, is answered as before, and not carried out again.
func TestRepeatedUpdate(t *testing.T) {
	n, m := startUpdates(t, "")
	add := insert(t, "peer.test.", "r.dyn.peer.test. 60 A 192.0.2.1")
	add.SetTsig("transfer-key.", dns.HmacSHA256, 300, time.Now().Unix())
	wire, _, err := dns.TsigGenerate(add, peerKey.Secret, "", false)
	if err != nil {
		t.Fatal(err)
	}
	send := func() int {
		t.Helper()
		conn, err := net.Dial("udp", n.DNS()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		wire[0]++ // the id is not signed
		conn.Write(wire)
		buf := make([]byte, 512)
		if _, err := conn.Read(buf); err != nil {
			t.Fatal(err)
		}
		return int(buf[3] & 0xF)
	}
	if rcode := send(); rcode != 0 || !m.has("r.dyn.peer.test.", rdata.TypeA) {
		t.Fatalf("rcode %d", rcode)
	}
	remove := new(dns.Msg).SetUpdate("peer.test.")
	remove.RemoveRRset([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: "r.dyn.peer.test.", Rrtype: dns.TypeA}}})
	if r, err := newClient(n, "udp", peerKey.Secret).ask(t, remove, 0); err != nil || r.Rcode != 0 {
		t.Fatalf("%v, %v", r, err)
	}
	if rcode := send(); rcode != 0 || m.has("r.dyn.peer.test.", rdata.TypeA) || n.updates.Counts().Repeated != 1 {
		t.Errorf("sent again: rcode %d, done again: %v, counted %d", rcode, m.has("r.dyn.peer.test.", rdata.TypeA), n.updates.Counts().Repeated)
	}
}

// TestLongFudge: a signature that holds for longer than an update is remembered could
// be sent again after that.
func TestLongFudge(t *testing.T) {
	n, m := startUpdates(t, "")
	add := insert(t, "peer.test.", "r.dyn.peer.test. 60 A 192.0.2.1")
	add.SetTsig("transfer-key.", dns.HmacSHA256, 301, time.Now().Unix())
	r, _, err := newClient(n, "udp", peerKey.Secret).Exchange(add, n.DNS()[0].String())
	if err != nil || r.Rcode != dns.RcodeRefused || m.has("r.dyn.peer.test.", rdata.TypeA) {
		t.Errorf("%v, %v", r, err)
	}
}

// TestForwardUpdate: RFC 2136 §6: a secondary sends a signed update to its primary,
// whose key it does not know, and the answer back; unsigned ones it does not.
func TestForwardUpdate(t *testing.T) {
	primary, m := startUpdates(t, "")
	f := newFolder(t)
	unused := freePort(t)
	n, _ := start(t, f.config(fmt.Sprintf(`store: {enabled: false}
zones:
  - {name: peer.test, kind: secondary, forwardUpdates: true, primaries: [{address: "%s"}, {address: "%s"}]}
  - {name: dead.test, kind: secondary, forwardUpdates: true, primaries: [{address: "%s"}]}
`, unused, primary.DNS()[0], unused)))
	for i, network := range []string{"udp", "tcp"} {
		name := fmt.Sprintf("f%d.dyn.peer.test.", i)
		r, err := newClient(n, network, peerKey.Secret).ask(t, insert(t, "peer.test.", name+" 60 A 192.0.2.1"), 0) // checks the signature
		if err != nil || r.Rcode != 0 || r.IsTsig() == nil || !m.has(name, rdata.TypeA) {
			t.Errorf("%s: %v, %v, done: %v", network, r, err, m.has(name, rdata.TypeA))
		}
	}
	r, err := newClient(n, "udp", peerKey.Secret).ask(t, insert(t, "peer.test.", "no.peer.test. 60 A 192.0.2.1"), 0)
	if err != nil || r.Rcode != dns.RcodeRefused {
		t.Errorf("what the primary refuses: %v, %v", r, err)
	}
	if r, err := newClient(n, "udp", "").ask(t, insert(t, "peer.test.", "local.peer.test. 60 A 192.0.2.1"), 0); err != nil || r.Rcode != dns.RcodeRefused || m.has("local.peer.test.", rdata.TypeA) {
		t.Errorf("unsigned: %v, %v", r, err)
	}
	// That no primary answers cannot be signed: the key is not known here.
	if r, _ := newClient(n, "udp", peerKey.Secret).ask(t, insert(t, "dead.test.", "a.dead.test. 60 A 192.0.2.1"), 0); r == nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("no primary: %v", r)
	}
	if p := n.hasProblem(problems.ForwardFailed); p != "" {
		t.Error(p)
	}
	if c := n.updates.Counts(); c.Forwarded != 3 || c.ForwardFailed != 1 || c.InWork != 0 {
		t.Errorf("counted %+v", c)
	}
}

// BenchmarkUpdates measures signed updates over UDP, each durable before its answer,
// from 64 clients at a time.
func BenchmarkUpdates(b *testing.B) {
	folder := b.TempDir()
	zoneText := "$TTL 300\n@ SOA ns1 admin 1 3600 600 86400 60\n@ NS ns1\nns1 A 192.0.2.1\n"
	config := fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
keys: [{name: transfer-key, secret: "%s"}]
zones: [{name: peer.test, kind: store, file: peer.zone, updates: [{key: transfer-key}]}]
`, peerKey.Secret)
	for name, text := range map[string]string{"peer.zone": zoneText, "pharos.yaml": config} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	n, err := New(Options{Config: filepath.Join(folder, "pharos.yaml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }()
	defer func() {
		cancel()
		<-done
	}()
	var next atomic.Int64
	b.SetParallelism(64 / runtime.GOMAXPROCS(0))
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("udp", n.DNS()[0].String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		buf := make([]byte, 512)
		for pb.Next() {
			i := next.Add(1)
			m := new(dns.Msg).SetUpdate("peer.test.")
			m.Insert([]dns.RR{&dns.A{Hdr: dns.RR_Header{Name: fmt.Sprintf("h%d.peer.test.", i), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))}})
			m.SetTsig("transfer-key.", dns.HmacSHA256, 300, time.Now().Unix())
			wire, _, err := dns.TsigGenerate(m, peerKey.Secret, "", false)
			if err == nil {
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				conn.Write(wire)
				_, err = conn.Read(buf)
			}
			if err != nil || buf[3]&0xF != 0 {
				b.Errorf("%v, rcode %d", err, buf[3]&0xF)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
}
