package node

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// serverTree is a tree of zones with servers at addresses of their own, at port 53, as
// peers know no other: a root, test., and zones below that are delegated to a few servers.
type serverTree struct {
	*rand.Rand
	net       string   // the first three octets of the servers' addresses
	servers   []string // names of servers; the first is at address 2
	zones     []string
	delegated map[string]string // NS records of each zone
}

var treeServers = []string{"ns.good.test.", "ns.bad.test.", "ns2.bad.test.", "ns.evil.test.", "ns.evil.sub.test."}

func newServerTree(t *testing.T, r *rand.Rand) *serverTree {
	t.Helper()
	tree := &serverTree{Rand: r, net: fmt.Sprintf("127.%d.%d", 128+rand.IntN(100), rand.IntN(250)), servers: treeServers, delegated: map[string]string{}}
	conn, err := net.ListenPacket("udp4", tree.net+".1:53")
	if errors.Is(err, syscall.EACCES) {
		t.Skip("port 53 is for root alone here")
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return tree
}

func (x *serverTree) address(server int) string { return fmt.Sprintf("%s.%d", x.net, 2+server) }

// ns returns one or two servers of a zone.
func (x *serverTree) ns(owner string) (text string) {
	first := x.IntN(len(x.servers))
	text = fmt.Sprintf("%s NS %s\n", owner, x.servers[first])
	if second := x.IntN(len(x.servers)); x.IntN(3) == 0 && second != first {
		text += fmt.Sprintf("%s NS %s\n", owner, x.servers[second])
	}
	return text
}

// start runs the tree's servers. Each has the zones that are delegated to it and no other,
// so that whoever resolves a name meets all delegations.
func (x *serverTree) start(t *testing.T) {
	head := "$TTL 60\n@ SOA ns.good.test. host 1 1h 1h 1w 60\n"
	x.serve(t, x.net+".1", map[string]string{".": head + fmt.Sprintf("@ NS a.root.\na.root. A %s.1\ntest NS ns.test.\nns.test. A %[1]s.10\n", x.net)})
	test := head + fmt.Sprintf("@ NS ns\nns A %s.10\n", x.net)
	for i, name := range x.servers {
		test += fmt.Sprintf("%s A %s\n", name, x.address(i))
	}
	at := make([]map[string]string, len(x.servers))
	add := func(zone, servers, more string) {
		x.zones, x.delegated[zone] = append(x.zones, zone), servers
		for i, name := range x.servers {
			if strings.Contains(servers, " "+name) {
				if at[i] == nil {
					at[i] = map[string]string{}
				}
				at[i][zone] = head + servers + "a A 192.0.2.1\nb A 192.0.2.2\n" + more
			}
		}
	}
	for i := range 6 {
		servers, below := x.ns("@"), x.ns("@")
		zone := fmt.Sprintf("z%d.test", i)
		test += strings.ReplaceAll(servers, "@", fmt.Sprintf("z%d", i))
		add(zone, servers, fmt.Sprintf("alias CNAME a.z%d.test.\n", x.IntN(6))+strings.ReplaceAll(below, "@", "sub"))
		add("sub."+zone, below, "")
	}
	x.serve(t, x.net+".10", map[string]string{"test": test})
	for i, zones := range at {
		x.serve(t, x.address(i), zones)
	}
}

// serve runs one server.
func (x *serverTree) serve(t *testing.T, address string, zones map[string]string) {
	f, list := newFolder(t), []string{}
	for name, text := range zones {
		f.write(name+"zone", text)
		list = append(list, fmt.Sprintf("{name: %s, file: %[1]szone}", name))
	}
	start(t, f.write("authority.yaml", "data: authority\nlisten: {dns: [\""+address+":53\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\nzones: ["+strings.Join(list, ", ")+"]\n"))
}

// rules makes a policy zone of triggers about servers.
func (x *serverTree) rules() string {
	text, taken := policyText(1, ""), map[string]bool{}
	actions := []string{"CNAME .", "CNAME *.", "CNAME rpz-passthru.", "CNAME rpz-tcp-only.", "A 198.51.100.1", "TXT \"policy\""}
	add := func(owner string) {
		if !taken[owner] {
			text += fmt.Sprintf("%s %s\n", owner, actions[x.IntN(len(actions))])
		}
		taken[owner] = true
	}
	for range 1 + x.IntN(2) {
		add([]string{"ns.bad.test", "*.bad.test", "ns.evil.test", "*.evil.test", "*.sub.test", "ns2.bad.test"}[x.IntN(6)] + ".rpz-nsdname")
	}
	for range x.IntN(3) {
		prefix, _ := netip.MustParseAddr(x.address(x.IntN(len(x.servers)))).Prefix([]int{32, 32, 31}[x.IntN(3)])
		b := prefix.Addr().As4()
		add(fmt.Sprintf("%d.%d.%d.%d.%d.rpz-nsip", prefix.Bits(), b[3], b[2], b[1], b[0]))
	}
	return text
}

// TestPolicyServersPeers gives policy zones with triggers about name servers, by name and
// by address, to BIND, Unbound and us, who find the same servers by the same delegations.
func TestPolicyServersPeers(t *testing.T) {
	tools.Need(t, "unbound", "named", "kdig")
	same, settled := map[peers.Kind]int{}, map[string]int{}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			x := newServerTree(t, rand.New(rand.NewPCG(seed, 2)))
			x.start(t)
			f := newFolder(t)
			zones := []string{"one.rpz", "two.rpz"}
			for _, z := range zones {
				f.write(z, x.rules())
			}
			f.write("hints", fmt.Sprintf(". 60 NS a.root.\na.root. 60 A %s.1\n", x.net))
			us, _ := start(t, f.write("pharos.yaml", `data: data
listen: {dns: ["127.0.0.1:0"], admin: "127.0.0.1:0"}
resolver: {specialNames: false, rootHints: hints, validate: false, policies: [{zone: one.rpz}, {zone: two.rpz}]}
zones: [{name: one.rpz, file: one.rpz}, {name: two.rpz, file: two.rpz}]
`))
			others := map[peers.Kind]netip.AddrPort{
				peers.Unbound: startPolicyPeerFor(t, f, peers.Unbound, unboundFromRoot(f.path, zones), "ns.test "+x.net+".1"),
				peers.Named:   startPolicyPeerFor(t, f, peers.Named, namedFromRoot(zones), "ns.test "+x.net+".1"),
			}
			for _, zone := range x.zones {
				for _, owner := range []string{"a.", "b.", "none.", "alias.", ""} {
					x.compare(t, f, us.DNS()[0], others, owner+zone, same, settled)
				}
			}
		})
	}
	t.Logf("the same: %v; settled: %v", same, settled)
	if len(same) > 0 && (same[peers.Named] < 100 || same[peers.Unbound] < 100) {
		t.Error("too few answers are the same for a comparison that means something")
	}
}

func (x *serverTree) compare(t *testing.T, f folder, us netip.AddrPort, others map[peers.Kind]netip.AddrPort, name string, same map[peers.Kind]int, settled map[string]int) {
	ours := askOnce(t, us, name, rdata.TypeA)
	for kind, server := range others {
		theirs := askOnce(t, server, name, rdata.TypeA)
		if theirs == nil && kind == peers.Unbound { // Unbound 1.17 does not survive every policy zone
			settled["unbound: no answer"]++
			continue
		}
		if ours == nil || theirs == nil {
			t.Fatalf("%s: no answer: we %v, %s %v", name, ours, kind, theirs)
		}
		if toldOf(ours) == toldOf(theirs) || ours.TC && theirs.TC { // a truncated answer's RCODE says nothing
			same[kind]++
			continue
		}
		if reason := x.settle(kind, f.path, name); reason != "" {
			settled[string(kind)+": "+reason]++
			continue
		}
		t.Errorf("%s: %s says %s, we say %s; %s", name, kind, toldOf(theirs), toldOf(ours), x.told(f.path, name))
	}
}

// settle returns why an answer may be another one than ours; empty: there is no reason.
func (x *serverTree) settle(kind peers.Kind, folder, name string) string {
	switch {
	case x.sharesServer(name):
		return "who asks a server that has the parent's zone and the child's meets no delegation; BIND asks for the NS records of every name, which costs a query for each label"
	case x.mostNamed(folder, name) > 1 && kind == peers.Named:
		return "of several rules for names of servers in one zone, BIND 9.18 takes another one than that for the smallest name, which draft §5.5 asks for and its manual says"
	case kind == peers.Unbound && x.mostNamed(folder, name) > 1:
		return "Unbound 1.17 takes the first server of the delegation that has a rule"
	case kind == peers.Unbound && strings.Contains(x.told(folder, name), "rpz-tcp-only."):
		return "Unbound 1.17 knows no tcp-only for name servers"
	case kind == peers.Unbound && strings.HasPrefix(name, "alias."):
		return "Unbound 1.17 does not look at names that aliases lead to"
	case kind == peers.Unbound && strings.Contains(name, "sub."):
		return "Unbound 1.17 looks at the servers of the zone that answers, not at those above; draft §4.3 has all"
	}
	return ""
}

// sharesServer reports whether a zone above name shares a server with its parent.
func (x *serverTree) sharesServer(name string) bool {
	for zone, servers := range x.delegated {
		if parent, ok := strings.CutPrefix(zone, "sub."); ok && strings.HasSuffix(name, zone) {
			for _, server := range x.servers {
				if strings.Contains(servers, " "+server) && strings.Contains(x.delegated[parent], " "+server) {
					return true
				}
			}
		}
	}
	return false
}

// mostNamed returns how many rules for names of servers apply, in the policy zone where
// most do.
func (x *serverTree) mostNamed(folder, name string) (most int) {
	for _, z := range []string{"one.rpz", "two.rpz"} {
		text, _ := os.ReadFile(folder + "/" + z)
		applies := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			trigger, _, ok := strings.Cut(line, ".rpz-nsdname")
			for zone, servers := range x.delegated {
				if !ok || !strings.HasSuffix(name, zone) {
					continue
				}
				for _, server := range x.servers {
					if strings.Contains(servers, " "+server) && (trigger+"." == server || strings.HasPrefix(trigger, "*") && strings.HasSuffix(server, trigger[1:]+".")) {
						applies[trigger] = true
					}
				}
			}
		}
		most = max(most, len(applies))
	}
	return most
}

func unboundFromRoot(folder string, zones []string) string {
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
  root-hints: "hints"
  interface: ADDRESS@PORT
remote-control:
  control-enable: no
`)
	for _, z := range zones {
		fmt.Fprintf(&b, "rpz:\n  name: %s\n  zonefile: %q\n", z, folder+"/"+z)
	}
	return b.String()
}

func namedFromRoot(zones []string) string {
	var b strings.Builder
	b.WriteString(`options {
  directory "FOLDER"; pid-file none; session-keyfile none; lock-file none;
  listen-on port PORT { ADDRESS; }; listen-on-v6 { none; };
  recursion yes; dnssec-validation no; empty-zones-enable no;
  response-policy {`)
	for _, z := range zones {
		fmt.Fprintf(&b, " zone %q;", z)
	}
	b.WriteString(" };\n};\ncontrols { };\nzone \".\" { type hint; file \"hints\"; };\n")
	for _, z := range zones {
		fmt.Fprintf(&b, "zone %q { type primary; file %q; check-names ignore; notify no; };\n", z, z)
	}
	return b.String()
}

// told is what the answer to a name depends on: the servers of its zones, and the rules.
func (x *serverTree) told(folder, name string) string {
	var all []string
	for zone, servers := range x.delegated {
		if strings.HasSuffix(name, zone) {
			all = append(all, strings.Split(strings.ReplaceAll(servers, "@", zone), "\n")...)
		}
	}
	for _, z := range []string{"one.rpz", "two.rpz"} {
		text, _ := os.ReadFile(folder + "/" + z)
		all = append(all, z+":")
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "rpz-") {
				all = append(all, strings.TrimSpace(line))
			}
		}
	}
	return strings.Join(all, " | ") + " (servers are at " + x.net + ".2 and on)"
}
