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

// namedSigns is the configuration of a BIND that signs child.example and takes commands at a
// port of its own. Who parents it is told by the test, as its own looks are an hour apart.
func namedSigns(folder string, at, control netip.AddrPort) string {
	return fmt.Sprintf(`key "control" { algorithm hmac-sha256; secret "c2VjcmV0IG9mIGEgdGVzdA=="; };
options {
  directory %[1]q; pid-file none; session-keyfile none; lock-file none;
  listen-on port %[3]d { %[2]s; }; listen-on-v6 { none; };
  recursion no; dnssec-validation no; notify no;
};
controls { inet %[4]s port %[5]d allow { 127.0.0.1; } keys { "control"; }; };
dnssec-policy "quick" {
  keys { ksk lifetime unlimited algorithm ed25519; zsk lifetime unlimited algorithm ed25519; };
  dnskey-ttl 1; max-zone-ttl 1; parent-ds-ttl 1;
  publish-safety 0; retire-safety 0; zone-propagation-delay 0; parent-propagation-delay 0;
};
zone "child.example" { type primary; file %[6]q; dnssec-policy "quick"; inline-signing yes; };
`, folder, at.Addr(), at.Port(), control.Addr(), control.Port(), filepath.Join(folder, "child.zone"))
}

// TestChildOfBIND: a zone with the dnssec-policy of BIND has its DS record of another digest
// replaced as its CDS record says; when BIND rolls its KSK, the DS record follows, and the old key goes.
func TestChildOfBIND(t *testing.T) {
	tools.Need(t, "named", "rndc")
	var free [3]netip.AddrPort
	for i := range free {
		var err error
		if free[i], err = peers.FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	at, own, control := free[0], free[1], free[2]
	f, folder := newFolder(t), t.TempDir()
	for name, text := range map[string]string{
		"child.zone": "$TTL 1\n@ SOA ns h 1 3600 900 604800 1\n@ NS ns\nns A 127.0.0.1\n",
		"rndc.conf": fmt.Sprintf("key \"control\" { algorithm hmac-sha256; secret \"c2VjcmV0IG9mIGEgdGVzdA==\"; };\noptions { default-server %s; default-port %d; default-key \"control\"; };\n",
			control.Addr(), control.Port()),
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	named, err := peers.StartWith(context.Background(), peers.Named, at, folder, namedSigns(folder, at, control))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(named.Stop)
	child := dnsname.MustParse("child.example.")
	says := func(qtype rdata.Type) (all [][]byte, err error) {
		m, err := xfr.Ask(t.Context(), xfr.Peer{Address: at}, child, qtype)
		if err != nil {
			return nil, err
		}
		for _, r := range m.Answer {
			if r.Type == qtype {
				all = append(all, r.Data)
			}
		}
		return all, nil
	}
	var key []byte
	patiently(t, func() string {
		found, err := says(rdata.TypeCDNSKEY)
		if err != nil || len(found) != 1 {
			return fmt.Sprintf("no CDNSKEY record: %v\n%s", err, named.Log())
		}
		key = found[0]
		return ""
	})
	old := dnssec.KeyTag(key)
	other, ok := dnssec.MakeDS(child, key, dnssec.DigestSHA384)
	if !ok {
		t.Fatal("no DS record can be made of the key")
	}
	f.write("example.zone", "$TTL 1\n@ SOA ns h 1 3600 900 604800 1\n@ NS ns\nns A 127.0.0.1\nchild NS ns.child\nns.child A 127.0.0.1\nchild DS "+string(rdata.AppendText(nil, rdata.TypeDS, other.AppendRDATA(nil)))+"\n")
	n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf("data: data\nlisten: {dns: [%q], admin: \"127.0.0.1:0\"}\nresolver: {allow: [], port: %d}\n"+
		"zones: [{name: example, kind: store, file: example.zone, children: {cds: follow, every: 1s}}]\n", own, at.Port())))
	// has reports whether the parent shows one DS record, of a key that is, or is not, the old one.
	has := func(isOld bool) (tag uint16, ok bool) {
		answer := ask(t, n.DNS()[0], "child.example.", rdata.TypeDS, false).Answer
		if len(answer) != 1 {
			return 0, false
		}
		d, _ := dnssec.ParseDS(answer[0].Data)
		return d.Tag, d.DigestType == dnssec.DigestSHA256 && isOld == (d.Tag == old)
	}
	state := func() string { return fmt.Sprint(n.children.State(dnsname.MustParse("example.")), "\n", named.Log()) }
	patiently(t, func() string {
		if _, ok := has(true); !ok {
			return "the DS record is not as BIND asks: " + state()
		}
		return ""
	})

	rndc := func(args ...string) {
		t.Helper()
		command := exec.Command("rndc", append([]string{"-c", filepath.Join(folder, "rndc.conf"), "dnssec"}, append(args, "child.example")...)...)
		if out, err := command.CombinedOutput(); err != nil {
			t.Fatalf("rndc %v: %v: %s\n%s", args, err, out, named.Log())
		}
	}
	// BIND begins when it believes that the parent has had the DS record for long enough.
	rndc("-checkds", "-key", fmt.Sprint(old), "published")
	rndc("-rollover", "-key", fmt.Sprint(old))
	var now uint16
	patiently(t, func() string {
		tag, ok := has(false)
		if now = tag; !ok {
			return "the DS record has not followed: " + state()
		}
		return ""
	})
	rndc("-checkds", "-key", fmt.Sprint(now), "published")
	rndc("-checkds", "-key", fmt.Sprint(old), "withdrawn")
	patiently(t, func() string {
		keys, err := says(rdata.TypeDNSKEY)
		for _, data := range keys {
			if dnssec.KeyTag(data) == old {
				return "BIND has the old key: " + state()
			}
		}
		if err != nil || len(keys) == 0 {
			return fmt.Sprintf("no keys: %v", err)
		}
		return ""
	})
	if _, ok := has(false); !ok {
		t.Errorf("in the end: %s", state())
	}
}
