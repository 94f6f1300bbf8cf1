package node

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/authority/kasp"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/lab/tools"
)

// TestSmallDisk: a node whose disk is full answers all questions, refuses updates and
// rollovers with the reason, and shows it as a problem; with room again it goes on by
// itself, and after a restart nothing that was acknowledged is lost, and no key.
func TestSmallDisk(t *testing.T) {
	path := tools.OnSmallDisk(t, 4<<20)
	if path == "" {
		return
	}
	primary := newFolder(t)
	primary.write("other.test.zone", strings.ReplaceAll(exampleZone, "example.com", "other.test"))
	p, _ := start(t, primary.config("store: {enabled: false}\nzones: [{name: other.test, file: other.test.zone, transfer: [{network: 127.0.0.0/8}], notify: []}]\n"))

	f := folder{t, path}
	f.write("example.com.zone", exampleZone)
	config := f.config(fmt.Sprintf(`store: {enabled: false}
dnssec:
  policies: [{name: quick, algorithm: ed25519, keys: ksk-zsk, keyTTL: 1s, propagation: 0s, safety: 0s, parentTTL: 0s, parentPropagation: 0s}]
zones:
  - {name: example.com, kind: store, file: example.com.zone, dnssec: quick, updates: [{network: 127.0.0.0/8}]}
  - {name: other.test, kind: secondary, primaries: [{address: "%s"}]}
`, p.DNS()[0]))
	n, stop := start(t, config)
	eventually(t, func() string {
		if r := ask(t, n.DNS()[0], "example.com.", rdata.TypeDNSKEY, false); len(r.Answer) < 2 {
			return "not signed: " + summary(r)
		}
		if r := ask(t, n.DNS()[0], "www.other.test.", rdata.TypeA, false); len(r.Answer) == 0 {
			return "not transferred: " + summary(r)
		}
		return ""
	})
	addText(t, n, "before", dns.RcodeSuccess)
	shows := func(name string) { // an update of a signed zone is served when it is signed
		t.Helper()
		eventually(t, func() string {
			if r := ask(t, n.DNS()[0], name, rdata.TypeTXT, false); len(r.Answer) == 0 {
				return name + " " + summary(r)
			}
			return ""
		})
	}
	shows("before.example.com.")
	domain := dnsname.MustParse("example.com.")
	keys := n.keysOf(domain)

	free := tools.Fill(t, path)
	// What a version needs may fit in what is left of a block: updates go on until one does not.
	eventually(t, func() string {
		if r := addText(t, n, fmt.Sprint("filler", time.Now().UnixNano()), -1); r.Rcode != dns.RcodeServerFailure || !strings.Contains(r.String(), "cannot be kept on disk") {
			return fmt.Sprintf("an update on a full disk: %s", r)
		}
		return ""
	})
	if err := n.signers.Roll(domain, kasp.ZSK, false); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a rollover on a full disk: %v", err)
	}
	if missing := n.hasProblem(problems.ChangesFailed); missing != "" {
		t.Error(missing)
	}
	for _, name := range []string{"before.example.com.", "www.example.com.", "www.other.test."} {
		if r := ask(t, n.DNS()[0], name, rdata.TypeANY, false); len(r.Answer) == 0 {
			t.Errorf("on a full disk %s: %s", name, summary(r))
		}
	}

	free()
	addText(t, n, "after", dns.RcodeSuccess)
	shows("after.example.com.")
	eventually(t, func() string {
		if n.hasProblem(problems.ChangesFailed) == "" {
			return "there is still a problem"
		}
		return ""
	})
	stop()
	n, _ = start(t, config)
	shows("before.example.com.")
	shows("after.example.com.")
	if r := ask(t, n.DNS()[0], "www.other.test.", rdata.TypeA, false); len(r.Answer) == 0 {
		t.Errorf("after a restart: %s", summary(r))
	}
	eventually(t, func() string {
		if got := n.keysOf(domain); !slices.Equal(got, keys) {
			return fmt.Sprintf("keys %d after it all, want %d", got, keys)
		}
		return ""
	})
	if left, _ := filepath.Glob(filepath.Join(path, "data", "*", "*"+diskfile.Suffix)); len(left) > 0 {
		t.Errorf("left behind: %s", left)
	}
}

// addText adds a TXT record by an update, and fails the test if want is not negative and
// the answer another one.
func addText(t *testing.T, n *Node, label string, want int) *dns.Msg {
	t.Helper()
	m := new(dns.Msg).SetUpdate("example.com.")
	m.Insert([]dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: label + ".example.com.", Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 1}, Txt: []string{strings.Repeat("x", 200)}}})
	m.SetEdns0(1232, false)
	r, _, err := (&dns.Client{Net: "tcp", Timeout: time.Minute}).Exchange(m, n.DNS()[0].String())
	if err != nil || want >= 0 && r.Rcode != want {
		t.Fatalf("adding %s: %v %v", label, err, r)
	}
	return r
}

// keysOf returns the tags of the keys of a zone that are not removed.
func (n *Node) keysOf(name dnsname.Name) (tags []uint16) {
	st, _ := n.signers.State(name)
	for _, v := range st.Keys {
		if v.Phase != "removed" {
			tags = append(tags, dnssec.KeyTag(v.Key.DNSKEY))
		}
	}
	return tags
}
