package node

import (
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/rdata"
)

// TestNotifyOfChild (RFC 9859): NOTIFY(CDS) of a delegation is taken where DS records follow, and
// has the child looked at before its turn; the parent says where by a DSYNC record.
func TestNotifyOfChild(t *testing.T) {
	f := newFolder(t)
	f.write("parent.zone", "$TTL 60\n@ SOA ns h 1 3600 900 604800 60\n@ NS ns\nns A 127.0.0.1\n*._dsync DSYNC CDS NOTIFY 53 ns\nchild NS ns.child\nns.child A 127.0.0.1\n")
	n, _ := start(t, f.config(`store: {enabled: false}
zones:
  - {name: parent.test, kind: store, file: parent.zone, children: {cds: follow, every: 24h}}
  - {name: other.test, file: parent.zone}
`))
	eventually(t, func() string {
		if n.children.Counts().Asked == 0 {
			return "the child has not had its first turn"
		}
		return ""
	})
	for _, tt := range []struct {
		name  string
		qtype uint16
		rcode int
	}{
		{"child.parent.test.", dns.TypeCDS, dns.RcodeSuccess},
		{"ns.parent.test.", dns.TypeCDS, dns.RcodeRefused},
		{"parent.test.", dns.TypeCDS, dns.RcodeRefused},
		{"child.other.test.", dns.TypeCDS, dns.RcodeRefused},
		{"child.parent.test.", dns.TypeCSYNC, dns.RcodeFormatError},
	} {
		m := new(dns.Msg).SetNotify(tt.name)
		m.Question[0].Qtype = tt.qtype
		if r, err := newClient(n, "udp", "").ask(t, m, 0); err != nil || r.Rcode != tt.rcode || r.Opcode != dns.OpcodeNotify {
			t.Errorf("NOTIFY of %s: %v, %v, want %s", tt.name, r, err, dns.RcodeToString[tt.rcode])
		}
	}
	if got := summary(ask(t, n.DNS()[0], "child._dsync.parent.test.", rdata.TypeDSYNC, false)); got != "NOERROR child._dsync.parent.test. 60 IN DSYNC CDS 1 53 ns.parent.test." {
		t.Errorf("DSYNC: %s", got)
	}
}
