package node

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/lab/peers"
	"pharos/lab/tools"
)

// peerKey is the key of the signed half of the tests with real servers.
var peerKey = &peers.Key{Name: "transfer-key", Algorithm: "hmac-sha256", Secret: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))}

// peerZone is a version of a zone with one of most things, an RRset larger than a
// datagram, and enough names for several messages.
func peerZone(serial int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN peer.test.\n$TTL 300\n@ SOA ns1 hostmaster %d 3600 600 86400 300\n@ NS ns1\n@ NS ns2\n@ MX 10 Mail\nns1 A 127.0.0.1\nns2 AAAA ::1\n", serial)
	b.WriteString("*.wild TXT \"any\"\nalias CNAME www\nsub NS ns.sub\nns.sub A 192.0.2.53\n_s._tcp SRV 1 2 3 www\nold DNAME new.test.\nempty.non.terminal A 192.0.2.9\n@ CAA 0 issue \"ca.test\"\nsvc HTTPS 1 . alpn=h2\nu TYPE65280 \\# 3 010203\n")
	for i := range 1500 {
		fmt.Fprintf(&b, "host%d A 192.0.2.%d\n", i, (i+serial*(i%7/6))%250+1) // a seventh of them changes
	}
	for i := range 60 {
		fmt.Fprintf(&b, "big TXT \"%d %s\"\n", i, strings.Repeat("x", 100))
	}
	fmt.Fprintf(&b, "only%d A 192.0.2.77\n", serial)
	return b.String()
}

// signZone signs a version of the zone with BIND's tools, with a key that stays.
func signZone(t *testing.T, folder, text string) string {
	t.Helper()
	run := func(program string, args ...string) {
		cmd := exec.Command(program, args...)
		cmd.Dir = folder
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	if keys, _ := filepath.Glob(filepath.Join(folder, "K*.key")); len(keys) == 0 {
		run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-f", "KSK", "peer.test")
		run("dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "peer.test")
	}
	file := filepath.Join(folder, "unsigned")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run("dnssec-signzone", "-q", "-S", "-3", "-", "-O", "full", "-o", "peer.test", "-f", "signed", "unsigned")
	signed, err := os.ReadFile(filepath.Join(folder, "signed"))
	if err != nil {
		t.Fatal(err)
	}
	return string(signed)
}

// allRecords transfers peer.test. from a server with another library and returns
// its records, sorted, in lower case.
func allRecords(server netip.AddrPort, key *peers.Key) ([]string, error) {
	tr := &dns.Transfer{DialTimeout: time.Minute, ReadTimeout: time.Minute} // a busy peer is slow
	m := new(dns.Msg).SetAxfr("peer.test.")
	if key != nil {
		m.SetTsig(dns.Fqdn(key.Name), key.Algorithm+".", 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{dns.Fqdn(key.Name): key.Secret}
	}
	in, err := tr.In(m, server.String())
	if err != nil {
		return nil, err
	}
	var all []string
	for e := range in {
		if e.Error != nil {
			return nil, e.Error
		}
		for _, rr := range e.RR {
			all = append(all, strings.ToLower(rr.String()))
		}
	}
	if len(all) > 0 {
		all = all[1:] // the SOA record stands twice
	}
	slices.Sort(all)
	return all, nil
}

// serialAt returns the serial of peer.test. at a server, 0 if it has none.
func serialAt(server netip.AddrPort) uint32 {
	m, _, err := (&dns.Client{Timeout: time.Second}).Exchange(new(dns.Msg).SetQuestion("peer.test.", dns.TypeSOA), server.String())
	if err != nil || len(m.Answer) == 0 {
		return 0
	}
	if soa, ok := m.Answer[0].(*dns.SOA); ok {
		return soa.Serial
	}
	return 0
}

// waitForSerial waits until a server has a version of the zone.
func waitForSerial(t *testing.T, server netip.AddrPort, want uint32, log func() string) {
	t.Helper()
	deadline, tick := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for got := uint32(0); got != want; got = serialAt(server) {
		select {
		case <-deadline:
			t.Fatalf("%v has serial %d, want %d\n%s", server, got, want, log())
		case <-tick.C:
		}
	}
}

// wantSameRecords compares what two servers send of the zone. A server of several processes may
// show a version by one of them while another, to which the transfer goes, has the one before.
func wantSameRecords(t *testing.T, a, b netip.AddrPort, keyA, keyB *peers.Key) {
	t.Helper()
	eventually(t, func() string {
		left, right := recordsAt(t, a, keyA), recordsAt(t, b, keyB)
		if len(left) >= 1500 && slices.Equal(left, right) {
			return ""
		}
		missing := slices.DeleteFunc(slices.Clone(left), func(r string) bool { _, ok := slices.BinarySearch(right, r); return ok })
		extra := slices.DeleteFunc(slices.Clone(right), func(r string) bool { _, ok := slices.BinarySearch(left, r); return ok })
		return fmt.Sprintf("%d records at %v, %d at %v; missing %.300q, too many %.300q", len(left), a, len(right), b, missing, extra)
	})
}

// recordsAt transfers the zone. A server of several processes may show a version by
// one of them while another, to which the transfer goes, refuses it still.
func recordsAt(t *testing.T, at netip.AddrPort, key *peers.Key) (all []string) {
	t.Helper()
	eventually(t, func() string {
		var err error
		if all, err = allRecords(at, key); err != nil && strings.Contains(err.Error(), "bad xfr rcode") {
			return fmt.Sprintf("AXFR from %v: %v", at, err)
		} else if err != nil {
			t.Fatalf("AXFR from %v: %v", at, err)
		}
		return ""
	})
	return all
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	a, err := peers.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func startPeer(t *testing.T, kind peers.Kind, o peers.Options) *peers.Server {
	t.Helper()
	o.Folder = t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	s, err := peers.Start(ctx, kind, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// withPeers runs test with each server, unsigned and with TSIG, and with a signed
// zone.
func withPeers(t *testing.T, test func(t *testing.T, kind peers.Kind, key *peers.Key, version func(serial int) string)) {
	for _, kind := range peers.All() {
		t.Run(string(kind), func(t *testing.T) {
			tools.Need(t, string(kind))
			t.Run("plain", func(t *testing.T) { test(t, kind, nil, peerZone) })
			t.Run("TSIG", func(t *testing.T) { test(t, kind, peerKey, peerZone) })
			t.Run("DNSSEC", func(t *testing.T) {
				tools.Need(t, "dnssec-keygen", "dnssec-signzone")
				folder := t.TempDir()
				test(t, kind, peerKey, func(serial int) string { return signZone(t, folder, peerZone(serial)) })
			})
		})
	}
}

// peerConfig returns a configuration for a node at an address of its own.
func peerConfig(f folder, at netip.AddrPort, key *peers.Key, zone string) string {
	text := fmt.Sprintf("data: data\nstore: {enabled: false}\nlisten: {dns: [\"%s\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\n", at)
	text += fmt.Sprintf("keys: [{name: %s, algorithm: %s, secret: \"%s\"}]\n", peerKey.Name, peerKey.Algorithm, peerKey.Secret)
	sign := ""
	if key != nil {
		sign = ", key: " + key.Name
	}
	return f.write("pharos.yaml", text+strings.ReplaceAll(zone, "KEY", sign))
}

// TestPeersAsSecondaries: BIND, Knot and NSD get a zone from Pharos by AXFR, are
// told of a change, and get it by IXFR.
func TestPeersAsSecondaries(t *testing.T) {
	withPeers(t, func(t *testing.T, kind peers.Kind, key *peers.Key, version func(int) string) {
		at, theirs, f := freePort(t), freePort(t), newFolder(t)
		f.write("peer.zone", version(1))
		rule := `{network: 127.0.0.0/8}`
		if key != nil {
			rule = `{key: ` + key.Name + `}`
		}
		n, _ := start(t, peerConfig(f, at, key, fmt.Sprintf("zones: [{name: peer.test, file: peer.zone, transfer: [%s], notify: [{address: \"%s\"KEY}]}]\n", rule, theirs)))
		s := startPeer(t, kind, peers.Options{Address: theirs, Key: key, Zones: []peers.Zone{{Name: "peer.test.", Primary: at}}})
		waitForSerial(t, theirs, 1, s.Log)
		wantSameRecords(t, at, theirs, key, nil)

		f.write("peer.zone", version(2))
		if _, err := n.reload(); err != nil {
			t.Fatal(err)
		}
		waitForSerial(t, theirs, 2, s.Log) // REFRESH is an hour: it was NOTIFY
		wantSameRecords(t, at, theirs, key, nil)
		eventually(t, func() string {
			// All signatures of a zone signed anew differ, which is more than the zone.
			if n.outgoing.Counts().Incremental == 0 && !strings.Contains(t.Name(), "DNSSEC") {
				return fmt.Sprintf("no IXFR with differences; %d whole\n%s", n.outgoing.Counts().Whole, s.Log())
			}
			for _, told := range n.notifier.Notices(n.current.Load().Config.Zones[0].Name) {
				if !told.Done || told.Error != "" || told.Serial != 2 {
					return fmt.Sprintf("notice %+v", told)
				}
			}
			return ""
		})
	})
}

// TestPeersAsPrimaries: Pharos gets a zone from BIND, Knot and NSD by AXFR, is
// told of a change, gets it, and serves its copy when it starts without them.
func TestPeersAsPrimaries(t *testing.T) {
	withPeers(t, func(t *testing.T, kind peers.Kind, key *peers.Key, version func(int) string) {
		at, theirs, f := freePort(t), freePort(t), newFolder(t)
		zone := peers.Zone{Name: "peer.test.", Text: version(1), Notify: at}
		s := startPeer(t, kind, peers.Options{Address: theirs, Key: key, Zones: []peers.Zone{zone}})
		waitForSerial(t, theirs, 1, s.Log)
		config := peerConfig(f, at, key, fmt.Sprintf("zones: [{name: peer.test, kind: secondary, primaries: [{address: \"%s\"KEY}], transfer: [{network: 127.0.0.1/32}]}]\n", theirs))
		n, stop := start(t, config)
		waitForSerial(t, at, 1, s.Log)
		wantSameRecords(t, theirs, at, key, nil)

		zone.Text = version(2)
		if err := s.Reload(zone); err != nil {
			t.Fatal(err)
		}
		waitForSerial(t, theirs, 2, s.Log)
		waitForSerial(t, at, 2, s.Log) // REFRESH is an hour: it was NOTIFY
		wantSameRecords(t, theirs, at, key, nil)
		if c := n.secondaries.Counts(); c.Whole+c.Incremental != 2 {
			t.Errorf("transfers: %+v", c)
		} else {
			t.Logf("%s: %+v", kind, c)
		}

		stop()
		s.Stop()
		_, stop = start(t, config)
		waitForSerial(t, at, 2, func() string { return "the copy was not served after a restart" })
		stop()
	})
}

// TestDigAndKdig: the clients that operators use get whole zones and differences,
// signed and unsigned; without the key they get neither.
func TestDigAndKdig(t *testing.T) {
	tools.Need(t, "dig", "kdig")
	at, f := freePort(t), newFolder(t)
	f.write("peer.zone", peerZone(1))
	n, _ := start(t, peerConfig(f, at, nil, "zones: [{name: peer.test, file: peer.zone, transfer: [{key: transfer-key}]}]\n"))
	f.write("peer.zone", peerZone(2))
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	key := peerKey.Algorithm + ":" + peerKey.Name + ":" + peerKey.Secret
	wrong := peerKey.Algorithm + ":" + peerKey.Name + ":" + base64.StdEncoding.EncodeToString([]byte("wrong"))
	for _, program := range []string{"dig", "kdig"} {
		for _, tt := range []struct {
			name string
			args []string
			want string
			not  string
		}{
			{"AXFR", []string{"-y", key, "AXFR"}, "only2.peer.test.", "only1"},
			{"IXFR", []string{"-y", key, "IXFR=1"}, "only1.peer.test.", "host0."},
			{"IXFR of the newest", []string{"-y", key, "IXFR=2"}, "hostmaster.peer.test. 2 3600", "only"},
			{"signed SOA", []string{"-y", key, "SOA"}, "hostmaster.peer.test. 2 3600", "BADSIG"},
			{"signed SOA over TCP", []string{"-y", key, "+tcp", "SOA"}, "hostmaster.peer.test. 2 3600", "BADSIG"},
			{"no key", []string{"AXFR"}, "", "host1"},
			{"wrong secret", []string{"-y", wrong, "AXFR"}, "", "host1"},
		} {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			args := append([]string{"@" + at.Addr().String(), "-p", fmt.Sprint(at.Port()), "+norec", "peer.test"}, tt.args...)
			out, _ := exec.CommandContext(ctx, program, args...).CombinedOutput()
			cancel()
			if !bytes.Contains(out, []byte(tt.want)) || bytes.Contains(out, []byte(tt.not)) {
				t.Errorf("%s %s: want %q and not %q in\n%.600s", program, tt.name, tt.want, tt.not, out)
			}
			for _, bad := range []string{"WARNING", "malformed", "Couldn't verify signature"} {
				if tt.name != "wrong secret" && bytes.Contains(out, []byte(bad)) {
					t.Errorf("%s %s: %.600s", program, tt.name, out)
				}
			}
		}
	}
}
