package node

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/lab/peers"
	"pharos/lab/tools"
)

// xotFolder makes the certificates of two servers; each is its own authority.
func xotFolder(t *testing.T) (f folder, ours, theirs peers.TLS) {
	f = newFolder(t)
	crt, key := makeCertificate(t, f, "ours", "ours.test")
	ours = peers.TLS{Certificate: crt, Key: key, Name: "ours.test"}
	crt, key = makeCertificate(t, f, "theirs", "theirs.test")
	return f, ours, peers.TLS{Certificate: crt, Key: key, Name: "theirs.test"}
}

// TestSecondariesOverTLS: BIND and NSD get a zone over TLS and show a certificate,
// which a rule wants; they are told of a change and come again.
func TestSecondariesOverTLS(t *testing.T) {
	for _, kind := range []peers.Kind{peers.Named, peers.NSD} {
		t.Run(string(kind), func(t *testing.T) {
			tools.Need(t, string(kind), "openssl")
			f, ours, theirs := xotFolder(t)
			at, dot, peer := freePort(t), freePort(t), freePort(t)
			f.write("peer.zone", peerZone(1))
			n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: ["%s"], dot: ["%s"], admin: "127.0.0.1:0"}
resolver: {allow: []}
tls: {certificates: [{certificate: ours.crt, key: ours.key}]}
zones:
  - name: peer.test
    file: peer.zone
    notify: [{address: "%s"}]
    transfer: [{network: 127.0.0.0/8, tls: {ca: theirs.crt, name: theirs.test}}]
`, at, dot, peer)))
			theirs.CA, theirs.Name = ours.Certificate, ours.Name
			s := startPeer(t, kind, peers.Options{Address: peer, TLS: &theirs, Zones: []peers.Zone{{Name: "peer.test.", Primary: dot}}})
			waitForSerial(t, peer, 1, s.Log)
			f.write("peer.zone", peerZone(2))
			if _, err := n.reload(); err != nil {
				t.Fatal(err)
			}
			waitForSerial(t, peer, 2, s.Log) // REFRESH is an hour: it was NOTIFY
			eventually(t, func() string {    // of which one process may have the version before
				if got, _ := allRecords(peer, nil); len(got) < 1500 || !strings.Contains(strings.Join(got, "\n"), "only2") {
					return fmt.Sprintf("%d records at the secondary", len(got))
				}
				return ""
			})
			if _, err := allRecords(at, nil); err == nil {
				t.Error("the zone went over TCP, against the rule")
			}
			out := run(t, "kdig", "@"+dot.Addr().String(), "-p", fmt.Sprint(dot.Port()), "+tls", "AXFR", "peer.test")
			if strings.Contains(out, "host1") {
				t.Errorf("without a certificate:\n%.300s", out)
			}
			stranger, key := makeCertificate(t, f, "stranger", "theirs.test")
			out = run(t, "kdig", "@"+dot.Addr().String(), "-p", fmt.Sprint(dot.Port()), "+tls", "+tls-certfile="+stranger, "+tls-keyfile="+key, "AXFR", "peer.test")
			if strings.Contains(out, "host1") {
				t.Errorf("with a stranger's certificate:\n%.300s", out)
			}
			out = run(t, "kdig", "@"+dot.Addr().String(), "-p", fmt.Sprint(dot.Port()), "+tls", "+tls-certfile="+theirs.Certificate, "+tls-keyfile="+theirs.Key, "AXFR", "peer.test")
			if !strings.Contains(out, "only2") {
				t.Errorf("with the right certificate:\n%.300s", out)
			}
		})
	}
}

// TestPrimaryOverTLS: a zone comes from BIND over TLS: with the authority and the
// name of its certificate, with its pin, and with a certificate of ours, which BIND
// wants; not from one with another name.
func TestPrimaryOverTLS(t *testing.T) {
	tools.Need(t, string(peers.Named), "openssl")
	for _, tt := range []struct {
		name, tls string
		mutual    bool
		problem   string
	}{
		{name: "authority", tls: "name: theirs.test, ca: theirs.crt"},
		{name: "mutual", tls: "name: theirs.test, ca: theirs.crt, certificate: ours.crt, key: ours.key", mutual: true},
		{name: "pin", tls: "pin: PIN"},
		{name: "another name", tls: "name: others.test, ca: theirs.crt", problem: "not others.test"},
		{name: "another authority", tls: "name: theirs.test, ca: ours.crt", problem: "unknown authority"},
		{name: "another pin", tls: "pin: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", problem: "has the pin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, ours, theirs := xotFolder(t)
			at, peer := freePort(t), freePort(t)
			theirs.Listen, theirs.Name = freePort(t), ""
			if tt.mutual {
				theirs.CA = ours.Certificate
			}
			zone := peers.Zone{Name: "peer.test.", Text: peerZone(1), Notify: at}
			s := startPeer(t, peers.Named, peers.Options{Address: peer, TLS: &theirs, Zones: []peers.Zone{zone}})
			waitForSerial(t, peer, 1, s.Log)
			pin := pinOf(t, filepath.Join(f.path, "theirs.crt"))
			n, _ := start(t, f.write("pharos.yaml", fmt.Sprintf(`data: data
store: {enabled: false}
listen: {dns: ["%s"], admin: "127.0.0.1:0"}
resolver: {allow: []}
zones: [{name: peer.test, kind: secondary, primaries: [{address: "%s", tls: {%s}}], transfer: [{network: 127.0.0.0/8}]}]
`, at, theirs.Listen, strings.ReplaceAll(tt.tls, "PIN", pin))))
			if tt.problem != "" {
				eventually(t, func() string {
					st, _ := n.secondaries.State(dnsname.MustParse("peer.test"))
					if strings.Contains(st.Problem, tt.problem) && !st.Present {
						return ""
					}
					return fmt.Sprintf("problem %q, present %v", st.Problem, st.Present)
				})
				return
			}
			waitForSerial(t, at, 1, s.Log)
			wantSameRecords(t, peer, at, nil, nil)
			zone.Text = peerZone(2)
			if err := s.Reload(zone); err != nil {
				t.Fatal(err)
			}
			waitForSerial(t, at, 2, s.Log) // NOTIFY over UDP, then SOA and IXFR over TLS
		})
	}
}

// pinOf returns the pin of a certificate as operators are told to print it.
func pinOf(t *testing.T, crt string) string {
	t.Helper()
	return strings.TrimSpace(run(t, "sh", "-c", "openssl x509 -in "+crt+" -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64"))
}
