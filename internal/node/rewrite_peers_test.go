package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// policyTree makes random names below tree.test: few labels, so that rules, names and
// questions meet often, at all depths.
type policyTree struct{ *rand.Rand }

func (r policyTree) name() string {
	labels := []string{"tree.test."}
	for range r.IntN(4) {
		labels = append(labels, string(rune('a'+r.IntN(4))))
	}
	slices.Reverse(labels)
	return strings.Join(labels, ".")
}

func (r policyTree) address() string { return fmt.Sprintf("192.0.%d.%d", 2+r.IntN(2), r.IntN(16)) }

// zone makes what the Internet says: addresses, aliases that lead on, wildcards.
func (r policyTree) zone() string {
	text, taken := "$TTL 60\n@ SOA ns.tree.test. host 1 1h 1h 1w 60\n@ NS ns.tree.test.\nns A 192.0.2.250\n", map[string]bool{"tree.test.": true}
	for range 150 {
		name := r.name()
		if r.IntN(8) == 0 && !strings.HasPrefix(name, "*") {
			name = "*." + name
		}
		if taken[name] {
			continue
		}
		taken[name] = true
		switch r.IntN(5) {
		case 0:
			text += fmt.Sprintf("%s CNAME %s\n", name, r.name())
		case 1:
			text += fmt.Sprintf("%s A %s\n%[1]s A %[3]s\n", name, r.address(), r.address())
		default:
			text += fmt.Sprintf("%s A %s\n%[1]s TXT %q\n", name, r.address(), name)
		}
	}
	return text
}

// rules makes a policy zone called name, and returns what its rules for names do.
func (r policyTree) rules(name string) (text string, taken map[string]string) {
	text, taken = policyText(1, ""), map[string]string{}
	actions := []string{"CNAME .", "CNAME *.", "CNAME rpz-passthru.", "CNAME rpz-tcp-only.", "A 198.51.100.1", "TXT \"policy\"", "CNAME garden.walled.test.", "CNAME *.walled.test."}
	add := func(owner string) {
		if taken[owner] == "" {
			taken[owner] = actions[r.IntN(len(actions))]
			text += fmt.Sprintf("%s.%s. %s\n", owner, name, taken[owner])
		}
	}
	for range 25 {
		owner := strings.TrimSuffix(r.name(), ".")
		if r.IntN(3) == 0 {
			owner = "*." + owner
		}
		add(owner)
	}
	for range 6 {
		bits := []int{32, 32, 31, 30, 28, 24}[r.IntN(6)]
		prefix, _ := netip.MustParseAddr(r.address()).Prefix(bits)
		b := prefix.Addr().As4()
		owner := fmt.Sprintf("%d.%d.%d.%d.%d.rpz-ip", bits, b[3], b[2], b[1], b[0])
		if taken[owner] == "" {
			taken[owner] = actions[r.IntN(6)]
			text += fmt.Sprintf("%s.%s. %s\n", owner, name, taken[owner])
		}
	}
	return text, taken
}

// TestPolicyPeers gives the same policy zones to Unbound, to BIND and to us, and asks
// all three the same 1,000 random questions about the same random tree.
func TestPolicyPeers(t *testing.T) {
	tools.Need(t, "unbound", "named", "kdig")
	seed := uint64(3) // any; Unbound 1.17 does not survive every policy zone
	if text := os.Getenv("PHAROS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	f := newFolder(t)
	r := policyTree{rand.New(rand.NewPCG(seed, 1))}
	f.write("tree.zone", r.zone())
	f.write("walled.zone", "$TTL 60\n@ SOA ns.tree.test. host 1 1h 1h 1w 60\n@ NS ns.tree.test.\ngarden A 198.51.100.80\n* A 198.51.100.81\n")
	authority, _ := start(t, f.write("authority.yaml", `data: authority
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: tree.test, file: tree.zone}, {name: walled.test, file: walled.zone}]
`))
	from := authority.DNS()[0]
	zones := []string{"one.rpz", "two.rpz"}
	judge := settler{authority: from}
	for _, z := range zones {
		text, rules := r.rules(z)
		f.write(z, text)
		judge.zones = append(judge.zones, rules)
	}
	us, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {specialNames: false, minimise: false, mixCase: false, routes: [{zone: ., servers: ["127.0.0.1:1"], validate: false}, {zone: tree.test, kind: stub, servers: ["%s"], validate: false}, {zone: walled.test, kind: stub, servers: ["%[1]s"], validate: false}], policies: [{zone: one.rpz}, {zone: two.rpz}]}
zones: [{name: one.rpz, file: one.rpz}, {name: two.rpz, file: two.rpz}]
`, from)))
	others := map[peers.Kind]netip.AddrPort{
		peers.Unbound: startPolicyPeer(t, f, peers.Unbound, unboundPolicies(from, f.path, zones)),
		peers.Named:   startPolicyPeer(t, f, peers.Named, namedPolicies(from, zones)),
	}
	same, differ := map[peers.Kind]int{}, map[string]int{}
	for range 1000 {
		name, qtype := r.name(), []rdata.Type{rdata.TypeA, rdata.TypeA, rdata.TypeAAAA, rdata.TypeTXT}[r.IntN(4)]
		ours := askOnce(t, us.DNS()[0], name, qtype)
		if ours == nil {
			t.Fatalf("%s %s: we do not answer", name, qtype)
		}
		for kind, server := range others {
			theirs := askOnce(t, server, name, qtype)
			if theirs == nil && kind == peers.Unbound {
				differ["unbound: no answer"]++
				continue
			}
			if theirs == nil {
				t.Fatalf("%s %s: %s does not answer", name, qtype, kind)
			}
			if toldOf(theirs) == toldOf(ours) {
				same[kind]++
				continue
			}
			reason := judge.settle(t, kind, ours, theirs)
			if differ[string(kind)+": "+reason]++; reason == "" && differ[string(kind)+": "] == 1 {
				for _, z := range zones {
					text, _ := os.ReadFile(filepath.Join(f.path, z))
					t.Logf("%s:\n%s", z, text)
				}
			}
			if reason == "" {
				t.Errorf("%s %s: %s says %s, we say %s; the Internet says %s", name, qtype, kind, toldOf(theirs), toldOf(ours), toldOf(askOnce(t, from, name, qtype)))
			}
		}
	}
	t.Logf("the same: %v; settled: %v", same, differ)
	if same[peers.Named] < 900 || same[peers.Unbound] < 500 {
		t.Error("too few answers are the same for a comparison that means something")
	}
}

// settler says why an answer may be another one than ours.
type settler struct {
	authority netip.AddrPort
	zones     []map[string]string // rules of each policy zone
}

// settle returns the reason; empty: there is none.
func (x settler) settle(t *testing.T, kind peers.Kind, ours, theirs *dnswire.Message) string {
	found := askOnce(t, x.authority, ours.Question.Name.String(), ours.Question.Type)
	isAlias := slices.ContainsFunc(found.Answer, func(r rdata.Record) bool { return r.Type == rdata.TypeCNAME })
	switch {
	case ours.TC && theirs.TC:
		return "a truncated answer has no records, so its RCODE says nothing"
	case ours.Rcode == dnswire.RcodeServFail && theirs.Rcode == dnswire.RcodeServFail:
		return "a SERVFAIL of ours has no records"
	case ours.Rcode == dnswire.RcodeServFail && isAlias:
		return "an alias that leads nowhere is SERVFAIL here, whatever a rule says about names on the way"
	case kind == peers.Named && addressCount(found) > 1 && x.hasRule("", "rpz-ip"):
		return "of several addresses, BIND 9.18 takes the one with the longest network in any zone; draft §5.2 has the order of zones first"
	case kind != peers.Unbound:
		return ""
	case x.hasEmptyNonTerminal(ours.Question.Name):
		return "an empty non-terminal exists (RFC 4592 §2.2.2), so that no wildcard above is for it or for names below it; BIND has it so, too"
	case isAlias:
		return "Unbound 1.17 does not look at names that aliases lead to"
	case len(found.Answer) > 0 && x.hasRule("rpz-tcp-only.", "rpz-ip"):
		return "Unbound 1.17 knows no tcp-only for addresses"
	case len(found.Answer) > 0 && x.hasRule("rpz-passthru.", ""):
		return "Unbound 1.17 goes on to addresses, and to the next zone, after a passthru"
	}
	return ""
}

func addressCount(m *dnswire.Message) (count int) {
	for _, r := range m.Answer {
		if r.Type == rdata.TypeA {
			count++
		}
	}
	return count
}

// hasEmptyNonTerminal reports whether name, or one above it, has no rule in some policy
// zone, but one below it has.
func (x settler) hasEmptyNonTerminal(name dnsname.Name) bool {
	for n := name; n.Labels() > 2; n = n.Parent() {
		owner := strings.TrimSuffix(n.String(), ".")
		for _, rules := range x.zones {
			if rules[owner] != "" {
				continue
			}
			for other := range rules {
				if strings.HasSuffix(other, "."+owner) {
					return true
				}
			}
		}
	}
	return false
}

// hasRule reports whether some rule with an owner that ends so leads to target.
func (x settler) hasRule(target, suffix string) bool {
	for _, rules := range x.zones {
		for owner, action := range rules {
			if strings.HasSuffix(owner, suffix) && strings.HasSuffix(action, target) {
				return true
			}
		}
	}
	return false
}

// askOnce asks three times for an answer, as a peer may lose a datagram. It returns nil
// if there is none: Unbound 1.17 keeps silent about some names where rules of one zone
// lead to those of another.
func askOnce(t *testing.T, server netip.AddrPort, name string, qtype rdata.Type) *dnswire.Message {
	t.Helper()
	conn, err := net.Dial("udp", server.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	spec := dnswire.QuerySpec{ID: uint16(rand.Uint32()), Name: dnsname.MustParse(name), Type: qtype, Class: rdata.ClassIN, RD: true, EDNS: true}
	buf := make([]byte, 4096)
	for range 3 {
		conn.SetDeadline(time.Now().Add(time.Second))
		if _, err := conn.Write(dnswire.AppendQuery(nil, spec)); err != nil {
			t.Fatal(err)
		}
		size, err := conn.Read(buf)
		if err != nil {
			continue
		}
		m, err := dnswire.ParseMessage(buf[:size])
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	return nil
}

// toldOf is what of an answer has to be the same: response code, TC and the records in
// any order.
func toldOf(m *dnswire.Message) string {
	text := m.Rcode.String()
	if m.TC {
		return text + " TC"
	}
	var records []string
	for _, r := range m.Answer {
		words := strings.Fields(r.String())
		records = append(records, words[0]+" "+strings.Join(words[3:], " "))
	}
	slices.Sort(records)
	return strings.Join(append([]string{text}, records...), "; ")
}

// startPolicyPeer starts another resolver with a configuration, which says ADDRESS and
// PORT where it is to listen.
func startPolicyPeer(t *testing.T, f folder, kind peers.Kind, config string) netip.AddrPort {
	t.Helper()
	return startPolicyPeerFor(t, f, kind, config, "garden.walled.test 198.51.100.80")
}

// startPolicyPeerFor waits until the resolver answers a name with an address.
func startPolicyPeerFor(t *testing.T, f folder, kind peers.Kind, config, probe string) netip.AddrPort {
	t.Helper()
	name, want, _ := strings.Cut(probe, " ")
	address := freePort(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	config = strings.NewReplacer("ADDRESS", address.Addr().String(), "PORT", fmt.Sprint(address.Port()), "FOLDER", f.path).Replace(config)
	s, err := peers.StartWith(ctx, kind, address, f.path, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	eventually(t, func() string {
		if s.Ended() {
			t.Fatal(s.Log())
		}
		if out := run(t, "kdig", append(at(address), "+time=1", "+retry=0", name, "A")...); !strings.Contains(out, want) {
			return string(kind) + " does not answer: " + out + s.Log()
		}
		return ""
	})
	return address
}

func unboundPolicies(from netip.AddrPort, folder string, zones []string) string {
	var b strings.Builder
	b.WriteString(`server:
  directory: "FOLDER"
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  num-threads: 1
  module-config: "respip iterator"
  do-not-query-localhost: no
  local-zone: test. nodefault
  qname-minimisation: no
  interface: ADDRESS@PORT
remote-control:
  control-enable: no
`)
	for _, z := range zones {
		fmt.Fprintf(&b, "rpz:\n  name: %s\n  zonefile: %q\n", z, folder+"/"+z)
	}
	fmt.Fprintf(&b, "forward-zone:\n  name: \".\"\n  forward-addr: %s@%d\n", from.Addr(), from.Port())
	return b.String()
}

func namedPolicies(from netip.AddrPort, zones []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `options {
  directory "FOLDER"; pid-file none; session-keyfile none; lock-file none;
  listen-on port PORT { ADDRESS; }; listen-on-v6 { none; };
  recursion yes; dnssec-validation no; forward only; forwarders { %s port %d; }; empty-zones-enable no; qname-minimization off;
  response-policy {`, from.Addr(), from.Port())
	for _, z := range zones {
		fmt.Fprintf(&b, " zone %q;", z)
	}
	b.WriteString(" };\n};\ncontrols { };\n")
	for _, z := range zones {
		fmt.Fprintf(&b, "zone %q { type primary; file %q; check-names ignore; notify no; };\n", z, z)
	}
	return b.String()
}
