package node

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/problems"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// parentNode is a node that serves the parent of example.com, and does what a
// parent does that looks for CDS records.
type parentNode struct {
	t *testing.T
	f folder
	*Node
	serial int
}

func startParent(t *testing.T) *parentNode {
	p := &parentNode{t: t, f: newFolder(t)}
	p.write(nil)
	p.Node, _ = start(t, p.f.config("zones: [{name: com, file: com.zone}]"))
	return p
}

func (p *parentNode) write(ds []string) {
	p.serial++
	p.f.write("com.zone", fmt.Sprintf("$TTL 0\n@ SOA ns host %d 1h 15m 1w 0\n@ NS ns\nns A 127.0.0.1\nexample NS ns.example\nns.example A 127.0.0.1\n%s\n", p.serial, strings.Join(ds, "\n")))
}

// follow has the parent show what the child's CDS records ask for, if there are any
// that ask for something else, and returns the key tags of what it shows.
func (p *parentNode) follow(child *Node) string {
	p.t.Helper()
	var ds []string
	for _, r := range ask(p.t, child.DNS()[0], "example.com.", rdata.TypeCDS, false).Answer {
		if r.Type == rdata.TypeCDS {
			if r.Data[2] != 0 { // not RFC 8078 §4
				r.Type = rdata.TypeDS
				ds = append(ds, r.String())
			}
			defer func() {
				p.write(ds)
				if _, err := p.reload(); err != nil {
					p.t.Error(err)
				}
			}()
		}
	}
	return fmt.Sprint(ds)
}

// keysOf tells of the keys of example.com: role and state, oldest first.
func keysOf(t *testing.T, n *Node) (string, api.ZoneKeys) {
	t.Helper()
	k, err := n.newDesk().Keys(context.Background(), "example.com")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, key := range k.Keys {
		all = append(all, key.Role+" "+key.State)
	}
	return strings.Join(all, ", "), k
}

// TestRolloverWithParent takes a zone over sockets from unsigned to signed, through
// the rollovers of a ZSK and a KSK, to another algorithm, and back to unsigned. No
// step that concerns the parent is taken before the parent shows what it should.
func TestRolloverWithParent(t *testing.T) {
	parent := startParent(t)
	f := newFolder(t)
	f.write("example.com.zone", signedZone)
	policy := func(more string) string {
		return signedConfig(fmt.Sprintf("keys: ksk-zsk, zskLifetime: 0, parentInterval: 1s, purge: 1h, parent: [%q], %s", parent.DNS()[0], more))
	}
	child, _ := start(t, f.config(policy("algorithm: ecdsap256sha256")))
	wait := func(want string) {
		t.Helper()
		patiently(t, func() string {
			got, k := keysOf(t, child)
			return missing(got+fmt.Sprint(k.Keys, k.Algorithm, child.problems.All()), want)
		})
	}
	settle := func(want string) { // the parent follows until the keys are as wanted
		t.Helper()
		wait("waits until the parent shows its DS")
		parent.follow(child)
		wait(want)
	}
	settle("ksk active, zsk active")
	old := ask(t, parent.DNS()[0], "example.com.", rdata.TypeDS, false)

	if _, err := child.newDesk().Rollover(context.Background(), "example.com", "zsk", false); err != nil {
		t.Fatal(err)
	}
	wait("ksk active, zsk removed, zsk active")

	if _, err := child.newDesk().Rollover(context.Background(), "example.com", "ksk", false); err != nil {
		t.Fatal(err)
	}
	wait("waits until the parent shows its DS")
	if got := ask(t, child.DNS()[0], "example.com.", rdata.TypeDNSKEY, false); len(got.Answer) < 3 {
		t.Errorf("the old KSK has left before the parent shows the new DS: %v", got.Answer)
	}
	settle("ksk removed, zsk removed, zsk active, ksk active")
	if now := ask(t, parent.DNS()[0], "example.com.", rdata.TypeDS, false); summary(now) == summary(old) {
		t.Errorf("the parent still shows %s", summary(now))
	}

	f.config(policy("algorithm: ed25519")) // RFC 6781 §4.1.4
	if _, err := child.reload(); err != nil {
		t.Fatal(err)
	}
	wait("from ECDSAP256SHA256 to ED25519, step 3 of 5: waits until the parent")
	if _, err := child.newDesk().Rollover(context.Background(), "example.com", "algorithm", false); err != nil {
		t.Errorf("how far the change is: %v", err)
	}
	settle("zsk removed, ksk removed, ksk active, zsk active")
	if _, err := child.newDesk().Rollover(context.Background(), "example.com", "algorithm", false); err == nil {
		t.Error("a change that is over is told as one under way")
	}

	f.config(strings.Replace(policy("algorithm: ed25519"), "dnssec: test}]", "dnssec: insecure}]", 1))
	if _, err := child.reload(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		cds := ask(t, child.DNS()[0], "example.com.", rdata.TypeCDS, false)
		return missing(summary(cds), "CDS 0 0 0 00")
	})
	if missing := isSigned(child); missing != "" {
		t.Errorf("the parent has DS records, and %s", missing)
	}
	parent.follow(child)
	eventually(t, func() string {
		if missing := isSigned(child); missing == "" {
			return "the zone is still signed"
		}
		return ""
	})
	if got := ask(t, child.DNS()[0], "example.com.", rdata.TypeDNSKEY, false); len(got.Answer) != 0 {
		t.Errorf("there are keys yet: %v", got.Answer)
	}
	if _, ok := child.signers.State(dnsname.MustParse("example.com.")); !ok {
		t.Error("the signer has forgotten the zone")
	}
}

// knotValidates is the configuration of a Knot that is secondary of peer.test. and
// validates each version before it serves it.
func knotValidates(folder string, at, primary netip.AddrPort) string {
	return fmt.Sprintf(`server:
    rundir: %q
    listen: "%s@%d"
log:
  - target: stderr
    any: info
database:
    storage: %q
remote:
  - id: primary
    address: "%s@%d"
acl:
  - id: notices
    address: "127.0.0.1"
    action: [notify, transfer]
zone:
  - domain: peer.test
    storage: %q
    master: primary
    acl: notices
    dnssec-validation: on
`, folder, at.Addr(), at.Port(), folder, primary.Addr(), primary.Port(), folder)
}

// patiently is eventually for what others have to do, which takes longer on a busy
// machine.
func patiently(t *testing.T, holds func() string) {
	t.Helper()
	deadline, tick := time.After(2*time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for missing := holds(); missing != ""; missing = holds() {
		select {
		case <-deadline:
			t.Fatal(missing)
		case <-tick.C:
		}
	}
}

// TestRolloverWithKnot: Knot, as secondary of a zone that we sign, finds nothing wrong
// with any version of a rollover; while it is away the rollover waits, and a problem
// says for whom.
func TestRolloverWithKnot(t *testing.T) {
	tools.Need(t, "knotd")
	at, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	f, knotFolder := newFolder(t), t.TempDir()
	f.write("zone", strings.Replace(peerZone(1), "$TTL 300", "$TTL 1", 1))
	n, _ := start(t, f.config(fmt.Sprintf(`dnssec: {policies: [{name: test, keys: ksk-zsk, denial: nsec3, zskLifetime: 0, parentTTL: 0s, parentPropagation: 0s, propagation: 0s, safety: 0s, keyTTL: 1s}]}
zones: [{name: peer.test, file: zone, dnssec: test, transfer: [{network: 127.0.0.0/8}], notify: [{address: %q}]}]
`, at)))
	serve := func() *peers.Server {
		server, err := peers.StartWith(context.Background(), peers.Knot, at, knotFolder, knotValidates(knotFolder, at, n.DNS()[0]))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Stop)
		return server
	}
	eventually(t, func() string { // Knot would refuse the version before, which is not signed
		if z := n.current.Load().apexes.Get(dnsname.MustParse("peer.test.")).served.Zone; z.DenialType() == 0 {
			return fmt.Sprintf("serial %d is not signed", z.Serial())
		}
		return ""
	})
	knot := serve()
	keys := func(want string) {
		t.Helper()
		patiently(t, func() string {
			k, err := n.newDesk().Keys(context.Background(), "peer.test")
			if err != nil {
				return err.Error()
			}
			var all []string
			for _, key := range k.Keys {
				all = append(all, key.Role+" "+key.State)
			}
			return missing(strings.Join(all, ", ")+fmt.Sprint(" ", k.Waiting, knot.Log()), want)
		})
	}
	keys("ksk ready, zsk active")
	waitForSerial(t, at, serialAt(n.DNS()[0]), knot.Log)
	wantSameRecords(t, n.DNS()[0], at, nil, nil)
	knot.Stop()
	if _, err := n.newDesk().Rollover(context.Background(), "peer.test", "zsk", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string { return n.hasProblem(problems.ServersBehind) })
	keys("ksk ready, zsk active, zsk publish")
	knot = serve()
	keys("ksk ready, zsk removed, zsk active")
	patiently(t, func() string {
		if n.hasProblem(problems.ServersBehind) == "" {
			return "the problem is still there"
		}
		return ""
	})
	waitForSerial(t, at, serialAt(n.DNS()[0]), knot.Log)
	wantSameRecords(t, n.DNS()[0], at, nil, nil)
	if log := knot.Log(); strings.Contains(log, "validation failed") || !strings.Contains(log, "IXFR") {
		t.Errorf("Knot says\n%s", log)
	}
}
