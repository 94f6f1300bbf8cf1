package node

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Aliases of others that lead into a zone of ours are answered from that zone: the
// Internet, which has something else there or nothing, is not asked; a change holds at
// once. What is behind a delegation of ours is found by that delegation. A zone that is
// not for everybody stays closed: the Internet's word counts.
func TestAliasesIntoOurZones(t *testing.T) {
	sub, _ := authority(t, "127.0.0.9", 0, "sub.corp.test", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 1h\n@ NS ns\nns A 127.0.0.9\nwww A 192.0.2.9\n")
	port := sub.DNS()[0].Port()
	authority(t, "127.0.0.8", port, ".", `$TTL 1h
@ SOA ns.test. host.test. 1 1h 15m 1w 1h
@ NS ns.test.
ns.test. A 127.0.0.8
to.test. CNAME www.corp.test.
none.test. CNAME none.corp.test.
nodata.test. CNAME text.corp.test.
tree.test. DNAME corp.test.
below.test. CNAME www.sub.corp.test.
shut.test. CNAME www.closed.test.
www.closed.test. A 192.0.2.80
www.corp.test. A 192.0.2.66
`)
	f := newFolder(t)
	f.write("hints", ". 1d NS ns.test.\nns.test. 1d A 127.0.0.8\n")
	corp := func(serial int, address string) {
		f.write("corp.zone", fmt.Sprintf("$TTL 1h\n@ SOA ns host %d 1h 15m 1w 5m\n@ NS ns\nns A 127.0.0.1\nwww A %s\ntext TXT x\nsub NS ns.sub\nns.sub A 127.0.0.9\nback CNAME to.test.\n", serial, address))
	}
	corp(1, "192.0.2.1")
	f.write("closed.zone", "$TTL 1h\n@ SOA ns host 1 1h 15m 1w 5m\n@ NS ns\nns A 127.0.0.1\nwww A 192.0.2.5\n")
	n, _ := start(t, f.config(fmt.Sprintf(`resolver: {rootHints: hints, port: %d, validate: false}
zones:
  - {name: corp.test, file: corp.zone}
  - {name: closed.test, file: closed.zone, query: [{network: 203.0.113.0/24}]}
`, port)))
	want := func(name, answer string) {
		t.Helper()
		m := ask(t, n.DNS()[0], name, rdata.TypeA, true)
		if got := summary(m); !strings.HasSuffix(got, answer) {
			t.Errorf("%s: got %s %v, want %s", name, got, m.EDE, answer)
		}
		if m.AD {
			t.Errorf("%s: AD is set", name)
		}
	}
	want("to.test.", "www.corp.test. 3600 IN A 192.0.2.1")
	want("www.tree.test.", "www.corp.test. 3600 IN A 192.0.2.1")
	want("nodata.test.", "text.corp.test.")
	want("below.test.", "www.sub.corp.test. 3600 IN A 192.0.2.9")
	want("shut.test.", "www.closed.test. 3600 IN A 192.0.2.80")
	if m := ask(t, n.DNS()[0], "none.test.", rdata.TypeA, true); m.Rcode != dnswire.RcodeNXDomain {
		t.Errorf("none.test.: %v, want NXDOMAIN", m.Rcode)
	}
	corp(2, "192.0.2.2")
	if _, err := n.reload(); err != nil {
		t.Fatal(err)
	}
	want("to.test.", "www.corp.test. 3600 IN A 192.0.2.2")
	want("www.tree.test.", "www.corp.test. 3600 IN A 192.0.2.2")
}
