package reports

import (
	"fmt"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

var agent = dnsname.MustParse("agent.example.")

// RFC 9567 §6.1.1, and what is none.
func TestParse(t *testing.T) {
	for _, test := range []struct {
		name string
		want string // empty: no report
	}{
		{"_er.1.broken.test.7._er.agent.example.", "broken.test. A Signature Expired"},
		{"_ER.15.Broken.Test.22._er.Agent.Example.", "broken.test. MX No Reachable Authority"},
		{"_er.2.9._er.agent.example.", ". NS DNSKEY Missing"},
		{"_er.16.a._er.b.6._er.agent.example.", "a._er.b. TXT DNSSEC Bogus"},
		{"_er.65535.x.65535._er.agent.example.", "x. TYPE65535 EDE 65535"},
		{"agent.example.", ""}, {"_er.agent.example.", ""}, {"x.agent.example.", ""}, {"_er.1._er.agent.example.", ""},
		{"_er.x.broken.test.7._er.agent.example.", ""}, {"_er.1.broken.test.x._er.agent.example.", ""}, {"_er.01.broken.test.7._er.agent.example.", ""},
		{"_er.1.broken.test.7.agent.example.", ""}, {"_er.65536.a.7._er.agent.example.", ""}, {"_er.1.broken.test.7._er.other.example.", ""},
		{"_er.1.broken.test.7._erx.agent.example.", ""}, {"_er.1.a.7.x.agent.example.", ""},
	} {
		r, ok := Parse(dnsname.MustParse(test.name), agent)
		got := ""
		if ok {
			got = fmt.Sprintf("%s %s %s", r.Name, r.Type, r.Code)
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// The memory is bounded, whatever names are invented.
func TestLog(t *testing.T) {
	var l Log
	now := time.Unix(1_000_000, 0)
	report := func(i int) Report {
		return Report{dnsname.MustParse(fmt.Sprintf("n%d.test", i)), rdata.TypeA, dnswire.EDEDNSSECBogus}
	}
	for i := range 2 * most {
		now = now.Add(time.Second)
		if !l.Add(report(i), now) {
			t.Fatal("a new report is known")
		}
		if i > 0 && l.Add(report(0), now) { // comes again and again
			t.Fatal("a known report is new")
		}
	}
	all := l.List()
	if len(all) != most || l.Count() != 4*most-1 || all[0].Last != now {
		t.Errorf("%d entries, %d reports, the last %v; want %d, %d, %v", len(all), l.Count(), all[0].Last, most, 4*most-1, now)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("\x03_er\x011\x01a\x017\x03_er\x05agent\x07example\x00"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		name, _, err := dnsname.FromWire(wire)
		if err != nil {
			return
		}
		r, ok := Parse(name, agent)
		if !ok {
			return
		}
		again := fmt.Sprintf("\x03_er%s%s%s\x03_er%s", string(rune(len(fmt.Sprint(uint16(r.Type)))))+fmt.Sprint(uint16(r.Type)), r.Name.Wire()[:r.Name.Len()-1],
			string(rune(len(fmt.Sprint(uint16(r.Code)))))+fmt.Sprint(uint16(r.Code)), agent.Wire())
		if back, _, err := dnsname.FromWire([]byte(again)); err != nil || back != name {
			t.Errorf("%s is read as %+v, which is %s", name, r, back)
		}
	})
}
