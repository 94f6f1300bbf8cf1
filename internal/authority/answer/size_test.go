package answer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// sizeZone has answers that are too large for 512 octets.
func sizeZone() string {
	var b strings.Builder
	b.WriteString("@ 60 SOA ns1 hostmaster 7 3600 900 604800 300\n@ 60 NS ns1\nns1 60 A 192.0.2.1\n")
	for i := range 30 {
		fmt.Fprintf(&b, "many 60 AAAA 2001:db8::%x\n", i+1)
		fmt.Fprintf(&b, "mx 60 MX %d target%d\ntarget%d 60 AAAA 2001:db8::%x\n", i, i, i, i)
		if i < 12 {
			fmt.Fprintf(&b, "child 60 NS a%d.child\na%d.child 60 AAAA 2001:db8::%x\na%d.child 60 A 192.0.2.%d\n", i, i, i, i, i)
			fmt.Fprintf(&b, "other 60 NS a%d.child\n", i)
		}
	}
	b.WriteString("alias 60 CNAME many\n")
	b.WriteString("big 60 TXT " + strings.Repeat(`"`+strings.Repeat("x", 200)+`" `, 3) + "\n")
	return b.String()
}

// TestTruncation: RRsets are whole or absent; TC says that something required is
// absent (RFC 2181 §9, RFC 9471 §3).
func TestTruncation(t *testing.T) {
	z := buildZone(t, "example.", sizeZone())
	for _, tt := range []struct {
		rule, name                    string
		qtype                         uint16
		limit                         int
		tc                            bool
		answer, authority, additional int
	}{
		{"an answer that does not fit is left out as a whole", "many.example.", dns.TypeAAAA, 512, true, 0, 0, 0},
		{"with room it is whole", "many.example.", dns.TypeAAAA, 1232, false, 30, 0, 0},
		{"what came before it stays", "alias.example.", dns.TypeAAAA, 512, true, 1, 0, 0},
		{"a single record may be too large", "big.example.", dns.TypeTXT, 512, true, 0, 0, 0},
		{"additional records are not required", "mx.example.", dns.TypeMX, 900, false, 30, 0, 4},
		{"in-domain glue is", "www.child.example.", dns.TypeA, 512, true, 0, 12, 6},
		{"with room it is complete", "www.child.example.", dns.TypeA, 1232, false, 0, 12, 24},
		{"glue of another delegation is not required", "www.other.example.", dns.TypeA, 512, false, 0, 12, 5},
	} {
		m := ask(t, z, tt.name, tt.qtype, 0, tt.limit)
		if m.Truncated != tt.tc || len(m.Answer) != tt.answer || len(m.Ns) != tt.authority {
			t.Errorf("%s: TC %v, %d answers, %d authority records; want %v, %d, %d", tt.rule,
				m.Truncated, len(m.Answer), len(m.Ns), tt.tc, tt.answer, tt.authority)
		}
		if got := len(m.Extra); tt.additional == 0 && got != 0 || got < tt.additional {
			t.Errorf("%s: %d additional records, want at least %d", tt.rule, got, tt.additional)
		}
	}
}

// TestEverySize asks with every limit: a response never passes it, is always well
// formed, has only whole RRsets, and never less than with a smaller limit.
func TestEverySize(t *testing.T) {
	z := buildZone(t, "example.", sizeZone())
	for _, question := range []struct {
		name  string
		qtype uint16
		sets  int // records in the RRset of the answer or authority section
	}{{"many.example.", dns.TypeAAAA, 30}, {"mx.example.", dns.TypeMX, 30}, {"www.child.example.", dns.TypeA, 12}} {
		most := 0
		for limit := dnswire.MaxUDP512; limit < 2500; limit += 3 {
			m := ask(t, z, question.name, question.qtype, uint32(limit), limit)
			size := m.Len()
			if got := len(m.Answer) + len(m.Ns); got != 0 && got != question.sets {
				t.Fatalf("%s, limit %d: %d records of the RRset, want all %d", question.name, limit, got, question.sets)
			}
			records := len(m.Answer) + len(m.Ns) + len(m.Extra)
			if m.Compress = true; m.Len() > limit+2 { // the library's own count
				t.Fatalf("%s, limit %d: %d octets", question.name, limit, size)
			}
			most = max(most, records)
			if !m.Truncated && question.qtype == dns.TypeA && len(m.Extra) != 24 {
				t.Fatalf("limit %d: %d glue records and no TC", limit, len(m.Extra))
			}
		}
		if most < question.sets {
			t.Errorf("%s: never complete", question.name)
		}
	}
}
