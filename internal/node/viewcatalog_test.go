package node

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
)

// viewCatalogs is a primary with a catalog in each of two views and one outside, which
// list zones of one name with other contents.
func viewCatalogs(inside string) string {
	return fmt.Sprintf(viewKeys+`zones:
  - {name: cat.test, kind: catalog, transfer: [{network: 127.0.0.0/8}]}
  - {name: a.test, file: out.zone, catalogMember: cat.test, transfer: [{network: 127.0.0.0/8}]}
views:
- name: inside
  keys: [inside]
  zones:
  - {name: cat.test, kind: catalog, transfer: [{key: inside}]}
%s- name: lab
  keys: [lab]
  zones:
  - {name: cat.test, kind: catalog, transfer: [{key: lab}]}
  - {name: a.test, file: lab.zone, catalogMember: cat.test, transfer: [{key: lab}]}
`, inside)
}

const (
	viewKeys = `keys: [{name: inside, secret: "Y2F0YWxvZ3MgaW4gdmlld3M="}, {name: lab, secret: "YW5vdGhlciB2aWV3IHRoZW4="}]
`
	insideA = "  - {name: a.test, file: in.zone, catalogMember: cat.test, transfer: [{key: inside}]}\n"
	insideB = "  - {name: b.test, file: in-b.zone, catalogMember: cat.test, catalogGroup: odd, transfer: [{key: inside}]}\n"
)

// TestCatalogsInViews: RFC 9432 in views: each view makes its own catalog of its own
// zones, and has the members of the catalogs that it looks at, with the contents that its
// key gets from the primary; what changes in one leaves the others alone; members are
// there after a restart without the primary.
func TestCatalogsInViews(t *testing.T) {
	p := newFolder(t)
	for file, address := range map[string]string{"out": "192.0.2.1", "in": "192.0.2.2", "lab": "192.0.2.3"} {
		p.write(file+".zone", memberZone("a.test.", address))
	}
	p.write("in-b.zone", memberZone("b.test.", "192.0.2.4"))
	primary, stopPrimary := start(t, p.config(viewCatalogs(insideA)))

	f := newFolder(t)
	view := func(name, client string) string {
		return fmt.Sprintf(`- name: %[1]s
  clients: [%[2]s/32]
  isolated: true
  zones: [{name: cat.test, kind: secondary, primaries: [{address: "%[3]s", key: %[1]s}], catalog: {templates: [{}, {group: odd, query: [{network: 127.0.0.9/32}]}]}}]
`, name, client, primary.DNS()[0])
	}
	config := f.config(fmt.Sprintf(`%szones: [{name: cat.test, kind: secondary, primaries: [{address: "%s"}], catalog: {templates: [{}]}}]
views:
%s%s`, viewKeys, primary.DNS()[0], view("inside", "127.0.0.2"), view("lab", "127.0.0.3")))
	n, stop := start(t, config)
	seen := func(from, want string) {
		t.Helper()
		eventually(t, func() string {
			if got := answerTo(t, n, from, "ns1.a.test."); got != want {
				return fmt.Sprintf("from %s: got %q, want %q", from, got, want)
			}
			return ""
		})
	}
	seen("127.0.0.1", "192.0.2.1")
	seen("127.0.0.2", "192.0.2.2")
	seen("127.0.0.3", "192.0.2.3")

	p.config(viewCatalogs(insideB))
	if _, err := primary.reload(); err != nil {
		t.Fatal(err)
	}
	serial := primary.current.Load().zoneOf("inside", dnsname.MustParse("cat.test.")).Zone.Serial()
	if !n.secondariesOf(n.current.Load().viewOf("inside")).Refresh(dnsname.MustParse("cat.test."), false) {
		t.Fatal("the catalog of the view is no secondary zone")
	}
	seen("127.0.0.2", "REFUSED")
	seen("127.0.0.1", "192.0.2.1")
	seen("127.0.0.3", "192.0.2.3")
	b := n.current.Load().viewOf("inside").apexes.Get(dnsname.MustParse("b.test."))
	if b == nil || len(b.config.Query) != 1 || b.config.ListedBy.String() != "cat.test." {
		t.Errorf("b.test@inside is served as %+v", b)
	}
	eventually(t, func() string { // what is not served any more is set aside after that
		copies, err := filepath.Glob(filepath.Join(f.path, "data", "views", "inside", "zones", "a.test*.removed"))
		if len(copies) != 1 {
			return fmt.Sprintf("the copy of the member that went: %v, %v", copies, err)
		}
		return ""
	})
	stop()
	stopPrimary()
	n, stop = start(t, config)
	seen("127.0.0.3", "192.0.2.3")
	if n.current.Load().zoneOf("inside", dnsname.MustParse("b.test.")) == nil {
		t.Error("after a restart without the primary b.test@inside is not known")
	}
	stop()
	primary, _ = start(t, p.config(viewCatalogs(insideB)))
	if again := primary.current.Load().zoneOf("inside", dnsname.MustParse("cat.test.")).Zone.Serial(); again != serial {
		t.Errorf("the catalog of the view has serial %d after a restart that changed nothing, before it %d", again, serial)
	}
}

// answerTo returns the address of a name that is asked for from an address of the
// loopback, or the code of the answer.
func answerTo(t *testing.T, n *Node, from, name string) string {
	t.Helper()
	m := askFrom(t, from, n, new(dns.Msg).SetQuestion(name, dns.TypeA))
	for _, r := range m.Answer {
		if a, ok := r.(*dns.A); ok {
			return a.A.String()
		}
	}
	return dns.RcodeToString[m.Rcode]
}

// TestCatalogTroubleInView: what is wrong with a catalog in a view is said of the view.
func TestCatalogTroubleInView(t *testing.T) {
	f := newFolder(t)
	f.write("cat.zone", "@ 0 SOA invalid. invalid. 1 3600 600 86400 0\n@ 0 NS invalid.\nversion 0 TXT \"3\"\n")
	n, _ := start(t, f.config(`views:
- name: inside
  clients: [127.0.0.2/32]
  zones: [{name: cat.test, file: cat.zone, catalog: {templates: [{primaries: [{address: "127.0.0.1:1"}]}]}}]
`))
	for _, p := range n.problems.All() {
		if p.Code == string(problems.CatalogBroken) {
			if p.About != "cat.test.@inside" {
				t.Errorf("the problem is about %s", p.About)
			}
			return
		}
	}
	t.Errorf("no problem: %v", n.problems.All())
}

// TestOneKeyInViews: of views that have one key, the client's network decides; a key that
// one view has decides alone, wherever its client is.
func TestOneKeyInViews(t *testing.T) {
	f := newFolder(t)
	for _, name := range []string{"one", "two", "three"} {
		f.write(name+".zone", strings.Replace(memberZone("a.test.", "192.0.2.1"), "admin 1 ", fmt.Sprintf("admin %d ", len(name)), 1))
	}
	n, _ := start(t, f.config(fmt.Sprintf(`keys: [{name: transfer-key, secret: "%s"}]
views:
- {name: one, clients: [192.0.2.0/24], keys: [transfer-key], zones: [{name: a.test, file: three.zone, transfer: [{key: transfer-key}]}]}
- {name: two, clients: [127.0.0.2/32], keys: [transfer-key], zones: [{name: a.test, file: one.zone, transfer: [{key: transfer-key}], updates: []}]}
`, peerKey.Secret)))
	for from, want := range map[string]uint32{"127.0.0.1": 5, "127.0.0.2": 3} { // the first that has the key; that of the network
		c := newClient(n, "tcp", peerKey.Secret)
		c.Dialer = &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		r, err := c.ask(t, new(dns.Msg).SetQuestion("a.test.", dns.TypeSOA), 0)
		if err != nil || len(r.Answer) != 1 || r.Answer[0].(*dns.SOA).Serial != want {
			t.Errorf("from %s: %v, %v, want serial %d", from, r, err, want)
		}
	}
}
