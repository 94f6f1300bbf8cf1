package answer

import (
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

const serviceZone = `
@       3600 SOA   ns1 hostmaster 7 3600 900 604800 300
@       3600 NS    ns1
@       60   HTTPS 0 svc
@       60   MX    10 mail
ns1     60   A     192.0.2.1
mail    60   A     192.0.2.2
svc     60   HTTPS 0 real
svc     60   A     192.0.2.3
real    60   HTTPS 1 . alpn=h2
real    60   HTTPS 2 backup alpn=h2
real    60   AAAA  2001:db8::4
backup  60   HTTPS 1 . alpn=h3
backup  60   A     192.0.2.5
loop1   60   SVCB  0 loop2
loop2   60   SVCB  0 loop1
loop2   60   A     192.0.2.6
none    60   SVCB  0 .
mixed   60   SVCB  0 real
below   60   SVCB  0 svc.child
child   60   NS    ns.child
ns.child  60 A     192.0.2.7
svc.child 60 SVCB  1 .
svc.child 60 A     192.0.2.8
long0   60   SVCB  0 long1
long1   60   SVCB  0 long2
long2   60   SVCB  0 long3
long3   60   SVCB  0 long4
long4   60   SVCB  0 long5
long5   60   SVCB  1 .
`

// TestServiceTargets: RFC 9460 §4.1, what an answer with service bindings has in its
// additional section.
func TestServiceTargets(t *testing.T) {
	z := buildZone(t, "example.", serviceZone)
	for _, tt := range []struct {
		rule, name string
		qtype      uint16
		want       string // of the additional section: name type
	}{
		{"AliasMode: the target's addresses, its bindings, and so on", "example.", dns.TypeHTTPS,
			"svc.example. A; svc.example. HTTPS; real.example. AAAA; real.example. HTTPS; real.example. HTTPS; backup.example. A"},
		{"ServiceMode: addresses; the bindings of a target are none of its own", "real.example.", dns.TypeHTTPS, "real.example. AAAA; backup.example. A"},
		{"a loop", "loop1.example.", dns.TypeSVCB, "loop2.example. A; loop2.example. SVCB"},
		{"RFC 9460 §2.5.1: no service", "none.example.", dns.TypeSVCB, ""},
		{"SVCB asks for SVCB, not HTTPS", "mixed.example.", dns.TypeSVCB, "real.example. AAAA"},
		{"no bindings of another zone; its glue may help", "below.example.", dns.TypeSVCB, "svc.child.example. A"},
		{"a long chain is followed for four links", "long0.example.", dns.TypeSVCB, "long1.example. SVCB; long2.example. SVCB; long3.example. SVCB; long4.example. SVCB"},
	} {
		m := ask(t, z, tt.name, tt.qtype, 0, 4000)
		var got []string
		for _, rr := range m.Extra {
			got = append(got, rr.Header().Name+" "+dns.TypeToString[rr.Header().Rrtype])
		}
		if text := strings.Join(got, "; "); !sameItems(text, tt.want) {
			t.Errorf("%s: %s\n got %s\nwant %s", tt.rule, tt.name, text, tt.want)
		}
	}
}

func sameItems(a, b string) bool {
	x, y := strings.Split(a, "; "), strings.Split(b, "; ")
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// TestMinimal: nothing that an answer can do without; referrals keep their glue.
func TestMinimal(t *testing.T) {
	z := buildZone(t, "example.", serviceZone)
	for name, want := range map[string]int{"example. HTTPS": 0, "example. MX": 0, "example. NS": 0, "www.child.example. A": 1} {
		owner, qtype, _ := strings.Cut(name, " ")
		var q dnswire.Query
		var out dnswire.Builder
		q.Parse(query(t, owner, dns.StringToType[qtype]))
		out.Reset(&q, make([]byte, 2000), 1500)
		With(Options{Minimal: true}, &q, z, 0, &out)
		if got := out.Count(dnswire.Additional); got != want {
			t.Errorf("%s: %d additional records, want %d", name, got, want)
		}
		out.Finish()
	}
}

// TestNoAllocsService: following service bindings does not allocate.
func TestNoAllocsService(t *testing.T) {
	z := buildZone(t, "example.", serviceZone)
	for _, name := range []string{"example.", "loop1.example.", "long0.example."} {
		for _, qtype := range []uint16{dns.TypeHTTPS, dns.TypeSVCB} {
			wire, buf := query(t, name, qtype), make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
			var q dnswire.Query
			var out dnswire.Builder
			if got := testing.AllocsPerRun(20, func() {
				n := copy(buf, wire)
				q.Parse(buf[:n])
				out.Reset(&q, buf, dnswire.MaxUDP512)
				Answer(&q, z, 1, &out)
				out.Finish()
			}); got != 0 {
				t.Errorf("%s: %v allocations", name, got)
			}
		}
	}
}
