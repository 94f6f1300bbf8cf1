package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"pharos/internal/authority/xfr"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// knotSigns is the configuration of a Knot that signs child.example and looks at its parent
// before it takes an old key away.
func knotSigns(folder string, at, parent netip.AddrPort) string {
	return fmt.Sprintf(`server:
  rundir: %[1]q
  listen: %[2]s@%[3]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: %[1]q
log:
  - target: stderr
    any: info
remote:
  - id: parent
    address: %[4]s@%[5]d
submission:
  - id: seen
    parent: parent
    check-interval: 1
policy:
  - id: quick
    algorithm: ed25519
    ksk-lifetime: 0
    zsk-lifetime: 0
    dnskey-ttl: 1
    zone-max-ttl: 1
    propagation-delay: 0
    delete-delay: 0
    cds-cdnskey-publish: always
    ksk-submission: seen
zone:
  - domain: child.example
    file: %[6]q
    dnssec-signing: on
    dnssec-policy: quick
`, folder, at.Addr(), at.Port(), parent.Addr(), parent.Port(), filepath.Join(folder, "child.zone"))
}

// TestChildOfKnot: a zone that Knot signs rolls its KSK: its parent here follows the CDS records
// of Knot, and Knot, which looks at the parent, takes the old key away.
func TestChildOfKnot(t *testing.T) {
	tools.Need(t, "knotd", "knotc")
	at, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	own, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	f, folder := newFolder(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "child.zone"), []byte("$TTL 1\n@ SOA ns h 1 3600 900 604800 1\n@ NS ns\nns A 127.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	knot, err := peers.StartWith(context.Background(), peers.Knot, at, folder, knotSigns(folder, at, own))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(knot.Stop)
	var first []byte
	patiently(t, func() string {
		m, err := xfr.Ask(t.Context(), xfr.Peer{Address: at}, dnsname.MustParse("child.example."), rdata.TypeCDS)
		if err != nil || len(m.Answer) != 1 {
			return fmt.Sprintf("no CDS record: %v\n%s", err, knot.Log())
		}
		first = m.Answer[0].Data
		return ""
	})
	f.write("example.zone", "$TTL 1\n@ SOA ns h 1 3600 900 604800 1\n@ NS ns\nns A 127.0.0.1\nchild NS ns.child\nns.child A 127.0.0.1\nchild DS "+string(rdata.AppendText(nil, rdata.TypeDS, first))+"\n")
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf("data: data\nlisten: {dns: [%q], admin: \"127.0.0.1:0\"}\nresolver: {allow: [], port: %d}\n"+
		"zones: [{name: example, kind: store, file: example.zone, children: {cds: follow, every: 1s}}]\n", own, at.Port())))
	tag := func() (all []uint16) {
		for _, r := range ask(t, n.DNS()[0], "child.example.", rdata.TypeDS, false).Answer {
			all = append(all, binary.BigEndian.Uint16(r.Data))
		}
		return all
	}
	state := func() string {
		return fmt.Sprint(n.children.State(dnsname.MustParse("example.")), tag(), "\n", knot.Log())
	}
	patiently(t, func() string { return missing(state(), "agrees") })

	roll := exec.Command("knotc", "-s", filepath.Join(folder, "knot.sock"), "zone-key-rollover", "child.example", "ksk")
	if out, err := roll.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	old := binary.BigEndian.Uint16(first)
	patiently(t, func() string {
		if now := tag(); len(now) != 1 || now[0] == old {
			return "the parent has the old DS record: " + state()
		}
		return ""
	})
	patiently(t, func() string { // and Knot has seen that
		m, err := xfr.Ask(t.Context(), xfr.Peer{Address: at}, dnsname.MustParse("child.example."), rdata.TypeDNSKEY)
		if err != nil {
			return err.Error()
		}
		for _, r := range m.Answer {
			if r.Type == rdata.TypeDNSKEY && dnssec.KeyTag(r.Data) == old {
				return "Knot has the old key: " + state()
			}
		}
		return ""
	})
	if past, err := n.ledger.Load().History(dnsname.MustParse("example."), 10); err != nil || past[0].By != "CDS of child.example." {
		t.Errorf("the last change is by %+v, %v", past, err)
	}
}
