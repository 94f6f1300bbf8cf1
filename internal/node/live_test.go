package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// anchorOf writes the key of example.com with the flag SEP as delv takes it.
func anchorOf(t *testing.T, f folder, n *Node) {
	t.Helper()
	keys := ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false)
	for _, r := range keys.Answer {
		if r.Type == rdata.TypeDNSKEY && r.Data[1] == 1 {
			text := strings.Fields(r.String())
			f.write("anchor", fmt.Sprintf("trust-anchors { example.com. static-key %s %s %s \"%s\"; };\n", text[4], text[5], text[6], strings.Join(text[7:], "")))
		}
	}
}

// TestLiveAnswers: what pools answer in a signed zone, and everything in a zone with compact
// denial, is believed by delv; with slow keys too, and a second time from the cache.
func TestLiveAnswers(t *testing.T) {
	const pools = `pools: [{name: web, check: {type: none}, members: [{name: a, address: "192.0.2.80:80"}, {name: b, address: "192.0.2.81:80"}]}]
steer: [{name: app.example.com, pool: web}]
`
	for _, policy := range []string{"denial: nsec", "denial: nsec3, algorithm: ed25519", "denial: nsec, algorithm: rsasha256", "denial: compact", "denial: compact, algorithm: rsasha256", "denial: compact, keys: ksk-zsk"} {
		t.Run(policy, func(t *testing.T) {
			f := newFolder(t)
			f.write("example.com.zone", signedZone)
			n, _ := start(t, f.config(signedConfig(policy)+pools))
			eventually(t, func() string {
				if s := n.current.Load(); s.lives == 0 || len(ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false).Answer) == 0 {
					return "no keys yet"
				}
				return ""
			})
			anchorOf(t, f, n)
			questions := []struct{ name, qtype, want string }{
				{"app.example.com", "A", "; fully validated"},
				{"app.example.com", "AAAA", "; negative response, fully validated"},
				{"app.example.com", "MX", "; negative response, fully validated"},
				{"www.example.com", "A", "; fully validated"},
				{"none.example.com", "A", "; negative response, fully validated"},
				{"x.wild.example.com", "A", "; fully validated"},
				{"b.deep.example.com", "A", "; negative response, fully validated"},
				{"x.old.example.com", "A", "; fully validated"},
				{"example.com", "SOA", "; fully validated"},
			}
			for _, q := range append(questions, questions...) {
				out := runTool(t, f.path, "delv", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "-a", "anchor", "+root=example.com", q.name, q.qtype)
				if !strings.Contains(out, q.want) {
					t.Errorf("%s %s: want %q, got\n%s", q.name, q.qtype, q.want, out)
				}
			}
			if hits, misses, refused := n.signatures.Stats(); misses == 0 || hits < misses/2 || refused != 0 {
				t.Errorf("%d from the cache, %d made, %d refused", hits, misses, refused)
			}
			if m := ask(t, n.DNS()[0], "none.example.com.", rdata.TypeA, false); m.Rcode != dnswire.RcodeNXDomain {
				t.Errorf("without DO: %v", m.Rcode)
			}
		})
	}
}

// TestUnsignedAnswers: where too many signatures were wanted, a client whose address may be
// forged is told to come by TCP, another one to come again.
func TestUnsignedAnswers(t *testing.T) {
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	n, _ := start(t, f.config(signedConfig("denial: compact")))
	eventually(t, func() string {
		if len(ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false).Answer) == 0 { // which follow the keys
			return "no keys yet"
		}
		return ""
	})
	n.signatures.SetLimit(0)
	for _, test := range []struct{ tool, want string }{{"+notcp", "flags: qr aa tc;"}, {"+tcp", "status: SERVFAIL"}} {
		out := runTool(t, f.path, "dig", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "+dnssec", "+norecurse", "+nocookie", "+ignore", test.tool, "x.example.com", "A")
		if !strings.Contains(out, test.want) || strings.Contains(out, "NSEC") {
			t.Errorf("%s: want %q, got\n%s", test.tool, test.want, out)
		}
	}
	out := runTool(t, f.path, "dig", "@127.0.0.1", "-p", fmt.Sprint(n.DNS()[0].Port()), "+dnssec", "+norecurse", "www.example.com", "A")
	if !strings.Contains(out, "RRSIG") {
		t.Errorf("what is in the zone is not signed any more:\n%s", out)
	}
	if m := ask(t, n.DNS()[0], "example.com.", rdata.TypeNXNAME, false); m.Rcode != dnswire.RcodeFormErr {
		t.Errorf("RFC 9824 §3.5: NXNAME as a question: %v", m.Rcode)
	}
}

// TestLiveWithDrill: ldns validates live answers by the zone's key, and chases them to it.
func TestLiveWithDrill(t *testing.T) {
	for _, policy := range []string{"denial: nsec", "denial: compact"} {
		f := newFolder(t)
		f.write("example.com.zone", signedZone)
		n, _ := start(t, f.config(signedConfig(policy)+"pools: [{name: web, check: {type: none}, members: [{name: a, address: \"192.0.2.80:80\"}]}]\nsteer: [{name: app.example.com, pool: web}]\n"))
		eventually(t, func() string {
			if n.current.Load().lives == 0 {
				return "no keys yet"
			}
			for _, r := range ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false).Answer { // a moment later
				if r.Type == rdata.TypeDNSKEY {
					f.write("key", r.String()+"\n")
					return ""
				}
			}
			return "the keys are not in the zone yet"
		})
		for _, name := range []string{"app.example.com", "www.example.com"} {
			out := runTool(t, f.path, "drill", "-S", "-k", "key", "-p", fmt.Sprint(n.DNS()[0].Port()), "@127.0.0.1", name, "A")
			if !strings.Contains(out, ";; Chase successful") {
				t.Errorf("%s, %s: drill -S says\n%s", policy, name, out)
			}
		}
	}
}
