package node

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// startStore runs a node with the zone peer.test. in its ledger.
func startStore(t *testing.T, f folder) (n *Node, stop func()) {
	t.Helper()
	f.write("peer.zone", peerZone(1))
	return start(t, f.config(fmt.Sprintf(`store: {enabled: false}
keys: [{name: transfer-key, secret: "%s"}, {name: all-key, secret: "%s"}]
zones:
  - name: peer.test
    kind: store
    file: peer.zone
    transfer: [{network: 127.0.0.1/32}]
    %s
      - {key: all-key, types: [ANY]}
`, peerKey.Secret, peerKey.Secret, updateRules)))
}

// TestACME: what a client of RFC 8555 with a plug-in for RFC 2136 does: find the
// zone by asking for the SOA records of the names above, set a TXT record, see it,
// take it away again. What it was told is done is there after a restart.
func TestACME(t *testing.T) {
	f := newFolder(t)
	n, stop := startStore(t, f)
	const fqdn = "_acme-challenge.peer.test."
	zone := ""
	for _, at := range []string{fqdn, "peer.test."} {
		r, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion(at, dns.TypeSOA), n.DNS()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range r.Answer {
			if rr.Header().Rrtype == dns.TypeSOA {
				zone = rr.Header().Name
			}
		}
	}
	if zone != "peer.test." {
		t.Fatalf("found zone %q", zone)
	}
	rr, err := dns.NewRR(fqdn + ` 120 TXT "w-token"`)
	if err != nil {
		t.Fatal(err)
	}
	set := new(dns.Msg).SetUpdate(zone)
	set.RemoveRRset([]dns.RR{rr})
	set.Insert([]dns.RR{rr})
	if r, err := newClient(n, "udp", peerKey.Secret).ask(t, set, 0); err != nil || r.Rcode != 0 {
		t.Fatalf("TXT set: %v, %v", r, err)
	}
	want := "NOERROR " + fqdn + ` 120 IN TXT "w-token"`
	if got := summary(ask(t, n.DNS()[0], fqdn, rdata.TypeTXT, false)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	stop()
	n, _ = startStore(t, f)
	if got := summary(ask(t, n.DNS()[0], fqdn, rdata.TypeTXT, false)); got != want {
		t.Errorf("after a restart: got %s, want %s", got, want)
	}
	away := new(dns.Msg).SetUpdate(zone)
	away.Remove([]dns.RR{rr})
	if r, err := newClient(n, "udp", peerKey.Secret).ask(t, away, 0); err != nil || r.Rcode != 0 {
		t.Fatalf("TXT removed: %v, %v", r, err)
	}
	if got := summary(ask(t, n.DNS()[0], fqdn, rdata.TypeTXT, false)); strings.Contains(got, "w-token") {
		t.Errorf("removed, but got %s", got)
	}
}

// TestUpdateTools: nsupdate and knsupdate add, replace and delete, and are told what
// is refused; secondaries get each change as a difference.
func TestUpdateTools(t *testing.T) {
	for _, tool := range []string{"nsupdate", "knsupdate"} {
		t.Run(tool, func(t *testing.T) {
			tools.Need(t, tool)
			n, _ := startStore(t, newFolder(t))
			serial := n.current.Load().apexes.Get(dnsname.MustParse("peer.test.")).served.Zone.Serial()
			addr := n.DNS()[0]
			run := func(flags, script string) (string, error) {
				args := append(strings.Fields(flags), "-y", "hmac-sha256:all-key:"+peerKey.Secret)
				cmd := exec.CommandContext(t.Context(), tool, args...)
				cmd.Stdin = strings.NewReader(fmt.Sprintf("server %s %d\nzone peer.test.\n%s\nsend\nquit\n", addr.Addr(), addr.Port(), script))
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			for _, step := range []struct{ flags, script, name, want string }{
				{"", "prereq nxdomain tool.peer.test.\nupdate add tool.peer.test. 60 A 192.0.2.1\nupdate add tool.peer.test. 60 A 192.0.2.2", "tool.peer.test.", "192.0.2.1 192.0.2.2"},
				{"-v", "prereq yxrrset tool.peer.test. A\nupdate delete tool.peer.test. A 192.0.2.1\nupdate add tool.peer.test. 60 A 192.0.2.3", "tool.peer.test.", "192.0.2.2 192.0.2.3"},
				{"", "update delete tool.peer.test.", "tool.peer.test.", ""},
				{"-v", strings.Repeat("update add many.peer.test. 60 A 192.0.2.1\n", 100) + "update add many.peer.test. 60 A 192.0.2.2", "many.peer.test.", "192.0.2.1 192.0.2.2"},
			} {
				out, err := run(step.flags, step.script)
				if err != nil {
					t.Errorf("%s: %v\n%s", step.script, err, out)
				}
				var got []string
				for _, r := range ask(t, addr, step.name, rdata.TypeA, false).Answer {
					got = append(got, strings.Fields(r.String())[4])
				}
				if len(got) == 2 && got[0] > got[1] {
					got[0], got[1] = got[1], got[0]
				}
				if strings.Join(got, " ") != step.want {
					t.Errorf("%s: got %v, want %s\n%s", step.script, got, step.want, out)
				}
			}
			for script, want := range map[string]string{
				"prereq yxdomain nothing.peer.test.\nupdate add x.peer.test. 60 A 192.0.2.1": "NXDOMAIN",
				"prereq nxrrset ns1.peer.test. A\nupdate add x.peer.test. 60 A 192.0.2.1":    "YXRRSET",
			} {
				if out, _ := run("", script); !strings.Contains(out, want) {
					t.Errorf("%s: %q, want %s", script, out, want)
				}
			}
			r, err := newClient(n, "tcp", "").ask(t, ixfr(uint32(serial)), 0)
			if err != nil || len(r.Answer) == 0 {
				t.Fatalf("IXFR: %v, %v", r, err)
			}
			if second, ok := r.Answer[1].(*dns.SOA); !ok || second.Serial != uint32(serial) || len(r.Answer) > 30 {
				t.Errorf("no differences since %d: %d records, %v", serial, len(r.Answer), r.Answer[:2])
			}
		})
	}
}

// TestSerialByUpdate: RFC 2136 §3.4.2.2 and §3.6: a client may set a newer serial,
// an update that changes nothing leaves it.
func TestSerialByUpdate(t *testing.T) {
	n, _ := startStore(t, newFolder(t))
	serial := func() uint32 {
		m := ask(t, n.DNS()[0], "peer.test.", rdata.TypeSOA, false)
		soa, err := dns.NewRR(m.Answer[0].String())
		if err != nil {
			t.Fatal(err)
		}
		return soa.(*dns.SOA).Serial
	}
	for _, tt := range []struct {
		record string
		want   uint32
	}{
		{"a.peer.test. 60 A 192.0.2.1", 2}, {"a.peer.test. 60 A 192.0.2.1", 2},
		{"peer.test. 300 SOA ns1.peer.test. hostmaster.peer.test. 100 3600 600 86400 300", 100},
		{"peer.test. 300 SOA ns1.peer.test. hostmaster.peer.test. 50 3600 600 86400 300", 100},
		{"b.peer.test. 60 A 192.0.2.1", 101},
	} {
		m := insert(t, "peer.test.", tt.record)
		m.SetTsig("all-key.", dns.HmacSHA256, 300, time.Now().Unix())
		c := &dns.Client{TsigSecret: map[string]string{"all-key.": peerKey.Secret}, Timeout: 10 * time.Second}
		if r, _, err := c.Exchange(m, n.DNS()[0].String()); err != nil || r.Rcode != 0 {
			t.Fatalf("%s: %v, %v", tt.record, r, err)
		}
		if got := serial(); got != tt.want {
			t.Errorf("%s: serial %d, want %d", tt.record, got, tt.want)
		}
	}
}

// TestUpdateSigned: an update of a zone that is signed here is signed when it is
// answered; records that signing makes cannot be changed.
func TestUpdateSigned(t *testing.T) {
	f := newFolder(t)
	f.write("peer.zone", peerZone(1))
	n, _ := start(t, f.config(fmt.Sprintf(`store: {enabled: false}
keys: [{name: transfer-key, secret: "%s"}]
zones:
  - {name: peer.test, kind: store, file: peer.zone, dnssec: default, updates: [{key: transfer-key, types: [ANY]}]}
`, peerKey.Secret)))
	name := dnsname.MustParse("peer.test.")
	eventually(t, func() string {
		if z := n.current.Load().apexes.Get(name).served.Zone; z == nil || !z.IsSigned() {
			return "the zone is not signed"
		}
		return ""
	})
	if r, err := newClient(n, "udp", peerKey.Secret).ask(t, insert(t, "peer.test.", "new.peer.test. 60 A 192.0.2.1"), 0); err != nil || r.Rcode != 0 {
		t.Fatalf("%v, %v", r, err)
	}
	eventually(t, func() string {
		r, _, err := new(dns.Client).Exchange(new(dns.Msg).SetQuestion("new.peer.test.", dns.TypeA).SetEdns0(1232, true), n.DNS()[0].String())
		if err != nil || len(r.Answer) != 2 || r.Answer[1].Header().Rrtype != dns.TypeRRSIG {
			return fmt.Sprintf("%v, %v", r, err)
		}
		return ""
	})
	for _, record := range []string{"peer.test. 60 DNSKEY 257 3 13 AAAA", "peer.test. 60 CDS 0 0 0 00", "x.peer.test. 60 NSEC y.peer.test. A"} {
		if r, err := newClient(n, "udp", peerKey.Secret).ask(t, insert(t, "peer.test.", record), 0); err != nil || r.Rcode != dns.RcodeRefused {
			t.Errorf("%s: %v, %v", record, r, err)
		}
	}
}

// TestUpdateOverTLS: an update comes by TLS as by TCP; without a key its address is
// believed, which nobody can forge there.
func TestUpdateOverTLS(t *testing.T) {
	f := newFolder(t)
	f.write("peer.zone", peerZone(1))
	n := encryptedNode(t, f, "tls: {selfSigned: true}\n")
	config, err := os.ReadFile(n.path)
	if err != nil {
		t.Fatal(err)
	}
	f.write("pharos.yaml", strings.Replace(string(config), "zones: [", "zones: [{name: peer.test, kind: store, file: peer.zone, updates: [{network: 127.0.0.1/32}]}, ", 1))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	c := &dns.Client{Net: "tcp-tls", TLSConfig: &tls.Config{InsecureSkipVerify: true}, Timeout: 10 * time.Second}
	r, _, err := c.Exchange(insert(t, "peer.test.", "tls.peer.test. 60 A 192.0.2.1"), n.Encrypted("dot")[0].String())
	if err != nil || r.Rcode != 0 {
		t.Fatalf("%v, %v", r, err)
	}
	if got, want := summary(ask(t, n.DNS()[0], "tls.peer.test.", rdata.TypeA, false)), "NOERROR tls.peer.test. 60 IN A 192.0.2.1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestForwardToPeers: RFC 2136 §6, RFC 8945 §5.5: BIND and Knot take a signed update
// that a secondary of theirs sends on, the client takes their answer, and the change
// comes back to the secondary.
func TestForwardToPeers(t *testing.T) {
	for _, kind := range []peers.Kind{peers.Named, peers.Knot} {
		t.Run(string(kind), func(t *testing.T) {
			tools.Need(t, string(kind))
			at, theirs, f := freePort(t), freePort(t), newFolder(t)
			s := startPeer(t, kind, peers.Options{Address: theirs, Key: peerKey, Zones: []peers.Zone{{Name: "peer.test.", Text: peerZone(1), Notify: at, Updates: true}}})
			waitForSerial(t, theirs, 1, s.Log)
			n, _ := start(t, peerConfig(f, at, peerKey, fmt.Sprintf("zones: [{name: peer.test, kind: secondary, forwardUpdates: true, primaries: [{address: \"%s\"KEY}]}]\n", theirs)))
			waitForSerial(t, at, 1, s.Log)
			for i, network := range []string{"udp", "tcp"} {
				name := fmt.Sprintf("f%d.peer.test.", i)
				r, err := newClient(n, network, peerKey.Secret).ask(t, insert(t, "peer.test.", name+" 60 A 192.0.2.1"), 0) // checks the signature
				if err != nil || r.Rcode != 0 || r.IsTsig() == nil {
					t.Fatalf("%s: %v, %v\n%s", network, r, err, s.Log())
				}
				eventuallyAnswers(t, at, name, "192.0.2.1", s.Log)
			}
			unmet := insert(t, "peer.test.", "x.peer.test. 60 A 192.0.2.1")
			unmet.NameNotUsed([]dns.RR{&dns.ANY{Hdr: dns.RR_Header{Name: "f0.peer.test."}}})
			if r, err := newClient(n, "udp", peerKey.Secret).ask(t, unmet, 0); err != nil || r.Rcode != dns.RcodeYXDomain {
				t.Errorf("what the primary does not do: %v, %v", r, err)
			}
		})
	}
}
