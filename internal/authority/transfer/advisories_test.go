package transfer

import (
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// TestAdvisoryTransfers replays what ended NSD 4.14.3 to 4.15.1 by an assertion when a
// primary sent it: each is refused with a reason, and nothing of it is published.
func TestAdvisoryTransfers(t *testing.T) {
	long := dnsname.MustParse(strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 53) + ".example.")
	for _, tt := range []struct {
		name string
		text string
		want string // in the error; "": it is good
		with func(m *dnswire.Message)
	}{
		{"an SOA record of another serial mid-AXFR", soa(5) + "example. NS ns.example.\n" + soa(4) + soa(5), "serial 4 in a transfer of serial 5", nil},
		{"an SOA record that is cut off", soa(5) + soa(5), "SOA", func(m *dnswire.Message) { m.Answer[1].Data = m.Answer[1].Data[:len(m.Answer[1].Data)-3] }},
		{"an SOA record that is empty", soa(5) + soa(5), "SOA", func(m *dnswire.Message) { m.Answer[0].Data = nil }},
		{"an owner name of 255 octets", soa(5) + "example. NS ns.example.\n" + soa(5), "", func(m *dnswire.Message) {
			m.Answer[1].Name = long
		}},
		{"an NSEC3 owner of 255 octets with RDATA that ends early", soa(5) + "example. NS ns.example.\n" + soa(5), "NSEC3", func(m *dnswire.Message) {
			m.Answer[1] = rdata.Record{Name: long, Type: rdata.TypeNSEC3, Class: rdata.ClassIN, Data: []byte{1, 0, 0, 0, 255, 1}}
		}},
		{"an SVCB record of the largest size whose parameter is larger", soa(5) + "example. NS ns.example.\n" + soa(5), "SVCB", func(m *dnswire.Message) {
			m.Answer[1] = rdata.Record{Name: origin, Type: rdata.TypeSVCB, Class: rdata.ClassIN, Data: append([]byte{0, 1, 0, 0xFF, 0, 0xFF, 0xFF}, make([]byte, 60_000)...)}
		}},
		{"an APL record with more octets than an address has", soa(5) + "example. NS ns.example.\n" + soa(5), "APL", func(m *dnswire.Message) {
			m.Answer[1] = rdata.Record{Name: origin, Type: rdata.TypeAPL, Class: rdata.ClassIN, Data: append([]byte{0, 1, 8, 127}, make([]byte, 127)...)}
		}},
	} {
		r := &Receiver{Zone: origin, Asked: rdata.TypeAXFR, Record: func(rdata.Record) {}}
		_, err := r.Take(message(t, rdata.TypeAXFR, tt.text, tt.with))
		if (err != nil) != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}
