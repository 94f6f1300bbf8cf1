package dnswire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// optionQuery returns a query with the given EDNS options.
func optionQuery(t testing.TB, options ...dns.EDNS0) []byte {
	m := new(dns.Msg).SetQuestion("example.", dns.TypeA)
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = options
	return pack(t, m)
}

func TestQueryOptions(t *testing.T) {
	unknown := func(code uint16, size int) dns.EDNS0 {
		return &dns.EDNS0_LOCAL{Code: code, Data: bytes.Repeat([]byte{1}, size)}
	}
	for _, tt := range []struct {
		rule    string
		options []dns.EDNS0
		verdict Verdict
		want    string // nsid keepalive cookie octets
	}{
		{"RFC 6891 §6.1.2: unknown options are ignored", []dns.EDNS0{unknown(100, 3), unknown(65001, 0)}, Accept, "false false 0"},
		{"RFC 5001 §2.3", []dns.EDNS0{unknown(3, 0)}, Accept, "true false 0"},
		{"RFC 5001 §2.3: what NSID contains is ignored", []dns.EDNS0{unknown(3, 7)}, Accept, "true false 0"},
		{"RFC 7828 §3.2.1", []dns.EDNS0{unknown(11, 0)}, Accept, "false true 0"},
		{"RFC 7828 §3.1: a timeout has two octets", []dns.EDNS0{unknown(11, 1)}, Reject, ""},
		{"RFC 7873 §4: a client cookie", []dns.EDNS0{unknown(10, 8)}, Accept, "false false 8"},
		{"RFC 7873 §4: and a server cookie", []dns.EDNS0{unknown(10, 24)}, Accept, "false false 24"},
		{"RFC 7873 §5.2: the first of several", []dns.EDNS0{unknown(10, 16), unknown(10, 24)}, Accept, "false false 16"},
		{"RFC 7873 §4: the shortest", []dns.EDNS0{unknown(10, 16)}, Accept, "false false 16"},
		{"RFC 7873 §4: the longest", []dns.EDNS0{unknown(10, 40)}, Accept, "false false 40"},
		{"RFC 7873 §5.2.2: too short for a client cookie", []dns.EDNS0{unknown(10, 7)}, Reject, ""},
		{"RFC 7873 §5.2.2: empty", []dns.EDNS0{unknown(10, 0)}, Reject, ""},
		{"RFC 7873 §5.2.2: between the two", []dns.EDNS0{unknown(10, 15)}, Reject, ""},
		{"RFC 7873 §5.2.2: too long", []dns.EDNS0{unknown(10, 41)}, Reject, ""},
	} {
		var q Query
		verdict := q.Parse(optionQuery(t, tt.options...))
		got := fmt.Sprint(q.EDNS.NSID, " ", q.EDNS.Keepalive, " ", len(q.EDNS.Cookie))
		if verdict != tt.verdict || verdict == Accept && got != tt.want || verdict == Reject && q.Rcode != RcodeFormErr {
			t.Errorf("%s: %v %s, rcode %v; want %v %s", tt.rule, verdict, got, q.Rcode, tt.verdict, tt.want)
		}
	}
}

// TestCookieWithoutQuestion: RFC 7873 §5.4.
func TestCookieWithoutQuestion(t *testing.T) {
	for option, want := range map[int]Rcode{8: RcodeNoError, 24: RcodeNoError, 9: RcodeFormErr, -1: RcodeFormErr} {
		m := new(dns.Msg)
		m.SetEdns0(1232, false)
		if option >= 0 {
			m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: 10, Data: make([]byte, option)}}
		}
		var q Query
		if verdict := q.Parse(pack(t, m)); verdict != Reject || q.Rcode != want {
			t.Errorf("cookie of %d octets: %v %v, want a response with %v", option, verdict, q.Rcode, want)
			continue
		}
		var b Builder
		b.Reset(&q, make([]byte, 600), 512)
		b.AddOption(OptionCookie, make([]byte, 24))
		var r dns.Msg
		if err := r.Unpack(b.Finish()); err != nil || len(r.Question) != 0 || len(r.IsEdns0().Option) != 1 {
			t.Errorf("response: %v %v", err, r)
		}
	}
}

// TestResponseOptions: options share the limit with records and have priority over
// the text of an extended error.
func TestResponseOptions(t *testing.T) {
	var q Query
	var b Builder
	if q.Parse(optionQuery(t)) != Accept {
		t.Fatal("query")
	}
	buf := make([]byte, MaxUDP512+BufferSlack)
	b.Reset(&q, buf, MaxUDP512)
	if !b.AddOption(OptionCookie, make([]byte, 24)) || !b.AddOption(OptionKeepalive, []byte{0, 100}) || !b.AddOption(OptionNSID, bytes.Repeat([]byte("n"), MaxNSID)) {
		t.Fatal("the three options of any answer do not fit")
	}
	if !b.AddSubnet(make([]byte, maxSubnet), 0) || !b.AddExpire(1) || !b.AddZoneVersion(1, 1) {
		t.Fatal("the three options about the zone do not fit")
	}
	if !b.AddOption(OptionReport, make([]byte, dnsname.MaxLen)) {
		t.Fatal("the name of the agent does not fit")
	}
	if b.AddOption(OptionNSID, nil) {
		t.Error("an eighth option fits")
	}
	b.SetEDE(EDEOther, strings.Repeat("e", 30))
	count := 0
	for b.Add(Answer, dnsname.MustParse("example."), rdata.TypeA, rdata.ClassIN, 1, []byte{192, 0, 2, 1}) {
		count++
	}
	wire := b.Finish()
	var m dns.Msg
	if err := m.Unpack(wire); err != nil || len(wire) > MaxUDP512 || len(m.Answer) != count {
		t.Fatalf("%d octets: %v", len(wire), err)
	}
	if got := len(m.IsEdns0().Option); got != 7 {
		t.Errorf("%d options, want 7 without room for the extended error", got)
	}
	b.Reset(&q, buf, MaxUDP512)
	b.SetEDE(EDEOther, "reason")
	if err := m.Unpack(b.Finish()); err != nil || len(m.IsEdns0().Option) != 1 {
		t.Errorf("the next response: %v %v", err, m.IsEdns0())
	}
	q.Parse(query(t, "example.", dns.TypeA, false))
	b.Reset(&q, buf, MaxUDP512)
	if b.AddOption(OptionNSID, []byte("x")) {
		t.Error("an option without EDNS")
	}
}
