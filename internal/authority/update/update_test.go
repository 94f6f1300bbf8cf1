package update

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

const testZone = `$ORIGIN example.
$TTL 300
@     SOA ns1 admin 10 3600 600 86400 60
@     NS ns1
@     NS ns2
ns1   A 192.0.2.1
ns2   A 192.0.2.2
www   A 192.0.2.10
www   A 192.0.2.11
www   TXT "one"
alias CNAME www
mail  MX 10 WWW.example.
a.b   A 192.0.2.20
sub   NS ns.sub
ns.sub A 192.0.2.30
dn    DNAME other.test.
`

func buildZone(t testing.TB, text string) *zone.Zone {
	t.Helper()
	origin := dnsname.MustParse("example.")
	b := zone.NewBuilder(origin)
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: origin}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil {
		t.Fatal(problems)
	}
	return z
}

// message writes an update as lines say:
//
//	yes NAME [TYPE [RDATA]]   no NAME [TYPE]       prerequisites
//	add NAME TTL TYPE RDATA   del NAME [TYPE [RDATA]]
func message(t testing.TB, lines ...string) []byte {
	t.Helper()
	m := new(dns.Msg).SetUpdate("example.")
	for _, line := range lines {
		f := strings.SplitN(line, " ", 4)
		word, rest := f[0], f[1:]
		h := dns.RR_Header{Name: rest[0], Class: dns.ClassANY, Rrtype: dns.TypeANY}
		if word == "no" {
			h.Class = dns.ClassNONE
		}
		if len(rest) == 2 {
			h.Rrtype = dns.StringToType[rest[1]]
		}
		var rr dns.RR = &dns.ANY{Hdr: h}
		if len(rest) == 3 {
			text := strings.Join(rest, " ")
			if word != "add" {
				text = fmt.Sprintf("%s 0 %s %s", rest[0], rest[1], rest[2])
			}
			var err error
			if rr, err = dns.NewRR("$ORIGIN example.\n" + text); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if word == "del" {
				rr.Header().Class = dns.ClassNONE
			}
		}
		if word == "yes" || word == "no" {
			m.Answer = append(m.Answer, rr)
		} else {
			m.Ns = append(m.Ns, rr)
		}
	}
	wire, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return wire
}

func everything(dnsname.Name, rdata.Type) bool { return true }

// told is what a change does: one record a line, "-" or "+" before it.
func told(c Change) string {
	var b strings.Builder
	for _, r := range c.Deleted {
		fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(r.String(), "\t", " "))
	}
	for _, r := range c.Added {
		fmt.Fprintf(&b, "+ %s\n", strings.ReplaceAll(r.String(), "\t", " "))
	}
	return b.String()
}

func decide(t testing.TB, z *zone.Zone, terms Terms, lines ...string) (string, *Refusal) {
	t.Helper()
	r, why := Parse(message(t, lines...))
	if why != nil {
		return "", why
	}
	c, why := r.Decide(z, terms)
	if why != nil && !c.IsEmpty() {
		t.Errorf("%q: refused, and changes %s", lines, told(c))
	}
	return told(c), why
}

// TestPrerequisites: RFC 2136 §2.4 and §3.2: the five forms, and the code of each
// that does not hold.
func TestPrerequisites(t *testing.T) {
	z := buildZone(t, testZone)
	for _, tt := range []struct {
		lines string
		want  dnswire.Rcode
	}{
		{"yes www.example. A", 0},
		{"yes www.example. AAAA", dnswire.RcodeNXRRSet},
		{"yes nothing.example. A", dnswire.RcodeNXRRSet},
		{"yes www.example.", 0},
		{"yes nothing.example.", dnswire.RcodeNXDomain},
		{"yes b.example.", dnswire.RcodeNXDomain}, // §2.4.4: an empty non-terminal
		{"yes ns.sub.example.", 0},                // glue is data of the zone
		{"no www.example. A", dnswire.RcodeYXRRSet},
		{"no www.example. AAAA", 0},
		{"no www.example.", dnswire.RcodeYXDomain},
		{"no b.example.", 0},
		{"yes www.example. A 192.0.2.10", dnswire.RcodeNXRRSet},
		{"yes www.example. A 192.0.2.10;yes WWW.example. A 192.0.2.11", 0},
		{"yes www.example. A 192.0.2.10;yes www.example. A 192.0.2.10", dnswire.RcodeNXRRSet},
		{"yes www.example. A 192.0.2.10;yes www.example. A 192.0.2.11;yes www.example. A 192.0.2.12", dnswire.RcodeNXRRSet},
		{"yes mail.example. MX 10 www.EXAMPLE.", 0}, // names in RDATA have no case
		{"yes mail.example. MX 11 www.example.", dnswire.RcodeNXRRSet},
		{"yes www.example. A 192.0.2.9;no www.example.", dnswire.RcodeYXDomain}, // §3.2: values come last
		{"yes www.other. A", dnswire.RcodeNotZone},
		{"yes www.example. AXFR", dnswire.RcodeNXRRSet}, // §3.2.5 does not look at the type
	} {
		_, why := decide(t, z, Terms{Allow: everything}, strings.Split(tt.lines, ";")...)
		var got dnswire.Rcode
		if why != nil {
			got = why.Rcode
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %v", tt.lines, why, tt.want)
		}
	}
}

// TestUpdates: RFC 2136 §3.4.2: what each form changes, and what it leaves alone.
func TestUpdates(t *testing.T) {
	z := buildZone(t, testZone)
	for _, tt := range []struct {
		name, lines, want string
	}{
		{"a new name", "add new.example. 60 A 192.0.2.99", "+ new.example. 60 IN A 192.0.2.99\n"},
		{"one more record", "add www.example. 300 A 192.0.2.99", "+ www.example. 300 IN A 192.0.2.99\n"},
		{"what is there", "add www.example. 300 A 192.0.2.10", ""},
		{"another TTL, which all get", "add www.example. 60 A 192.0.2.10",
			"- www.example. 300 IN A 192.0.2.10\n- www.example. 300 IN A 192.0.2.11\n+ www.example. 60 IN A 192.0.2.10\n+ www.example. 60 IN A 192.0.2.11\n"},
		{"a CNAME beside other data", "add www.example. 60 CNAME x.example.", ""},
		{"other data beside a CNAME", "add alias.example. 60 A 192.0.2.99", ""},
		{"DNAME beside a CNAME", "add alias.example. 60 DNAME x.test.", ""},
		{"CNAME beside a DNAME", "add dn.example. 60 CNAME x.test.", ""},
		{"another CNAME", "add alias.example. 300 CNAME x.example.", "- alias.example. 300 IN CNAME www.example.\n+ alias.example. 300 IN CNAME x.example.\n"},
		{"the same CNAME", "add alias.example. 300 CNAME WWW.example.", ""},
		{"another DNAME", "add dn.example. 300 DNAME x.test.", "- dn.example. 300 IN DNAME other.test.\n+ dn.example. 300 IN DNAME x.test.\n"},
		{"CNAME in the place of data deleted before", "del www.example.;add www.example. 60 CNAME x.example.",
			"- www.example. 300 IN A 192.0.2.10\n- www.example. 300 IN A 192.0.2.11\n- www.example. 300 IN TXT \"one\"\n+ www.example. 60 IN CNAME x.example.\n"},
		{"a newer SOA", "add example. 300 SOA ns1.example. admin.example. 11 3600 600 86400 60",
			"- example. 300 IN SOA ns1.example. admin.example. 10 3600 600 86400 60\n+ example. 300 IN SOA ns1.example. admin.example. 11 3600 600 86400 60\n"},
		{"an older SOA", "add example. 300 SOA ns1.example. admin.example. 9 1 600 86400 60", ""},
		{"an SOA far ahead, which is behind (RFC 1982)", "add example. 300 SOA ns1.example. admin.example. 2147483659 1 600 86400 60", ""},
		{"an SOA below the apex", "add www.example. 300 SOA ns1.example. admin.example. 11 1 600 86400 60", ""},
		{"the SOA deleted", "del example. SOA", ""},
		{"the SOA deleted by value", "del example. SOA ns1.example. admin.example. 10 3600 600 86400 60", ""},
		{"all NS deleted", "del example. NS", ""},
		{"one NS deleted", "del example. NS ns2.example.", "- example. 300 IN NS ns2.example.\n"},
		{"both NS deleted by value", "del example. NS ns1.example.;del example. NS ns2.example.", "- example. 300 IN NS ns1.example.\n"},
		{"the apex deleted", "add example. 300 TXT x;del example.", ""},
		{"an RRset deleted", "del www.example. A", "- www.example. 300 IN A 192.0.2.10\n- www.example. 300 IN A 192.0.2.11\n"},
		{"a record deleted", "del www.example. A 192.0.2.10", "- www.example. 300 IN A 192.0.2.10\n"},
		{"a record deleted whose name has another case", "del mail.example. MX 10 www.example.", "- mail.example. 300 IN MX 10 WWW.example.\n"},
		{"what is not there, deleted", "del www.example. A 192.0.2.99;del www.example. AAAA;del nothing.example.", ""},
		{"a delegation deleted", "del sub.example.", "- sub.example. 300 IN NS ns.sub.example.\n"},
		{"its last NS deleted by value", "del sub.example. NS ns.sub.example.", "- sub.example. 300 IN NS ns.sub.example.\n"},
		{"deleted and added again", "del www.example. TXT;add www.example. 300 TXT one", ""},
		{"added and deleted again", "add new.example. 60 A 192.0.2.99;del new.example. A", ""},
		{"an empty update", "yes www.example.", ""},
	} {
		got, why := decide(t, z, Terms{Allow: everything}, strings.Split(tt.lines, ";")...)
		if why != nil || got != tt.want {
			t.Errorf("%s: %s, %v, want %s", tt.name, got, why, tt.want)
		}
	}
}

// TestPrescan: RFC 2136 §3.4.1: one bad record, be it the last, and nothing changes.
func TestPrescan(t *testing.T) {
	z := buildZone(t, testZone)
	record := func(name string, rrtype, class uint16, ttl uint32, data string) dns.RR {
		return &dns.RFC3597{Hdr: dns.RR_Header{Name: name, Rrtype: rrtype, Class: class, Ttl: ttl}, Rdata: data}
	}
	for _, tt := range []struct {
		name string
		rr   dns.RR
		want dnswire.Rcode
	}{
		{"another zone", record("www.other.", dns.TypeA, dns.ClassINET, 60, "c0000201"), dnswire.RcodeNotZone},
		{"the parent", record(".", dns.TypeA, dns.ClassINET, 60, "c0000201"), dnswire.RcodeNotZone},
		{"a QTYPE", record("www.example.", dns.TypeANY, dns.ClassINET, 60, "c0000201"), dnswire.RcodeFormErr},
		{"AXFR deleted", record("www.example.", dns.TypeAXFR, dns.ClassANY, 0, ""), dnswire.RcodeFormErr},
		{"a deletion with TTL", record("www.example.", dns.TypeA, dns.ClassANY, 1, ""), dnswire.RcodeFormErr},
		{"a deletion with data", record("www.example.", dns.TypeA, dns.ClassANY, 0, "c0000201"), dnswire.RcodeFormErr},
		{"a deletion by value with TTL", record("www.example.", dns.TypeA, dns.ClassNONE, 1, "c0000201"), dnswire.RcodeFormErr},
		{"a deletion by value of ANY", record("www.example.", dns.TypeANY, dns.ClassNONE, 0, ""), dnswire.RcodeFormErr},
		{"class CH", record("www.example.", dns.TypeA, dns.ClassCHAOS, 0, "c0000201"), dnswire.RcodeFormErr},
		{"an address of three octets", record("www.example.", dns.TypeA, dns.ClassINET, 60, "c00002"), dnswire.RcodeFormErr},
		{"an MX without a name", record("www.example.", dns.TypeMX, dns.ClassINET, 60, "0001"), dnswire.RcodeFormErr},
		{"no data", record("www.example.", dns.TypeA, dns.ClassINET, 60, ""), dnswire.RcodeFormErr},
		{"a TXT that overruns", record("www.example.", dns.TypeTXT, dns.ClassINET, 60, "ff61"), dnswire.RcodeFormErr},
	} {
		m := new(dns.Msg).SetUpdate("example.")
		m.Ns = []dns.RR{record("new.example.", dns.TypeA, dns.ClassINET, 60, "c0000201"), tt.rr}
		wire, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		r, why := Parse(wire)
		if why == nil {
			_, why = r.Decide(z, Terms{Allow: everything})
		}
		if why == nil || why.Rcode != tt.want || why.Why == "" {
			t.Errorf("%s: %v, want %v", tt.name, why, tt.want)
		}
	}
}

// TestParse: RFC 2136 §3.1.1: the zone section.
func TestParse(t *testing.T) {
	notSOA := new(dns.Msg).SetUpdate("example.")
	notSOA.Question[0].Qtype = dns.TypeA
	chaos := new(dns.Msg).SetUpdate("example.")
	chaos.Question[0].Qclass = dns.ClassCHAOS
	none := new(dns.Msg).SetUpdate("example.")
	none.Question = nil
	long := new(dns.Msg).SetUpdate("example.")
	for range MaxRecords + 1 {
		long.Ns = append(long.Ns, &dns.ANY{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeANY, Class: dns.ClassANY}})
	}
	for _, tt := range []struct {
		m    *dns.Msg
		want dnswire.Rcode
	}{
		{notSOA, dnswire.RcodeFormErr}, {none, dnswire.RcodeFormErr}, {chaos, dnswire.RcodeNotAuth}, {long, dnswire.RcodeRefused},
		{new(dns.Msg).SetQuestion("example.", dns.TypeSOA), dnswire.RcodeFormErr},
	} {
		wire, err := tt.m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if _, why := Parse(wire); why == nil || why.Rcode != tt.want {
			t.Errorf("%v: %v, want %v", tt.m.Question, why, tt.want)
		}
		for cut := range min(len(wire), 100) {
			if r, why := Parse(wire[:cut]); why == nil {
				t.Fatalf("%d octets of a message are read as %v", cut, r)
			}
		}
	}
}

// TestPermission: nothing is changed by an update of which one record may not be;
// prerequisites tell nothing to who may change nothing; a name is deleted by who
// may delete all its types.
func TestPermission(t *testing.T) {
	z := buildZone(t, testZone)
	txt := func(n dnsname.Name, t rdata.Type) bool { return t == rdata.TypeTXT }
	for _, tt := range []struct {
		lines string
		terms Terms
		want  dnswire.Rcode
	}{
		{"add x.example. 60 TXT a", Terms{Allow: txt}, 0},
		{"add x.example. 60 TXT a;add x.example. 60 A 192.0.2.1", Terms{Allow: txt}, dnswire.RcodeRefused},
		{"no www.example.;add x.example. 60 A 192.0.2.1", Terms{Allow: txt}, dnswire.RcodeRefused},
		{"del www.example. TXT", Terms{Allow: txt}, 0},
		{"del www.example. TXT one", Terms{Allow: txt}, 0},
		{"del www.example. A", Terms{Allow: txt}, dnswire.RcodeRefused},
		{"del www.example.", Terms{Allow: txt}, dnswire.RcodeRefused},
		{"del nothing.example.", Terms{Allow: txt}, 0},
		{"del example.", Terms{Allow: txt}, 0}, // nothing but SOA and NS, which stay
		{"add example. 60 DNSKEY 257 3 13 AAAA", Terms{Allow: everything, Signed: true}, dnswire.RcodeRefused},
		{"del example. RRSIG", Terms{Allow: everything, Signed: true}, dnswire.RcodeRefused},
		{"add example. 60 DNSKEY 257 3 13 AAAA", Terms{Allow: everything}, 0},
		{"add x.example. 60 DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000", Terms{Allow: everything, Signed: true}, 0},
	} {
		_, why := decide(t, z, tt.terms, strings.Split(tt.lines, ";")...)
		var got dnswire.Rcode
		if why != nil {
			got = why.Rcode
		}
		if got != tt.want {
			t.Errorf("%s: %v, want %v", tt.lines, why, tt.want)
		}
	}
}

// TestRules: the first rule that is about client, name and type decides.
func TestRules(t *testing.T) {
	name := dnsname.MustParse
	rules := Rules{
		{Deny: true, Key: name("robot."), Names: []dnsname.Name{name("safe.dyn.example.")}},
		{Key: name("robot."), Subtrees: []dnsname.Name{name("dyn.example.")}, Types: []rdata.Type{rdata.TypeA, rdata.TypeAAAA}},
		{Key: name("robot."), Names: []dnsname.Name{name("_acme-challenge.example.")}, Types: []rdata.Type{rdata.TypeTXT}},
		{Key: name("host.example."), Self: true},
		{Key: name("root-key."), Types: []rdata.Type{rdata.TypeANY}},
		{Key: name("plain.")},
		{Network: netip.MustParsePrefix("192.0.2.0/24"), Key: name("office.")},
	}
	for _, tt := range []struct {
		key, address, name string
		t                  rdata.Type
		want               bool
	}{
		{"robot.", "", "a.dyn.example.", rdata.TypeA, true}, {"robot.", "", "dyn.example.", rdata.TypeA, true},
		{"robot.", "", "a.dyn.example.", rdata.TypeTXT, false}, {"robot.", "", "safe.dyn.example.", rdata.TypeA, false},
		{"robot.", "", "x.safe.dyn.example.", rdata.TypeA, true}, {"robot.", "", "xdyn.example.", rdata.TypeA, false},
		{"robot.", "", "_acme-challenge.example.", rdata.TypeTXT, true}, {"robot.", "", "a._acme-challenge.example.", rdata.TypeTXT, false},
		{"host.example.", "", "host.example.", rdata.TypeA, true}, {"host.example.", "", "x.host.example.", rdata.TypeA, false},
		{"root-key.", "", "example.", rdata.TypeSOA, true}, {"plain.", "", "www.example.", rdata.TypeA, true},
		{"plain.", "", "example.", rdata.TypeNS, false}, {"plain.", "", "example.", rdata.TypeRRSIG, false},
		{"office.", "192.0.2.7", "www.example.", rdata.TypeA, true}, {"office.", "198.51.100.7", "www.example.", rdata.TypeA, false},
		{"", "192.0.2.7", "www.example.", rdata.TypeA, false}, {"", "", "www.example.", rdata.TypeA, false},
	} {
		c := Client{Address: netip.MustParseAddr("203.0.113.1")}
		if tt.address != "" {
			c.Address = netip.MustParseAddr(tt.address)
		}
		if tt.key != "" {
			c.Key = name(tt.key)
		}
		if got := rules.Allow(c, name(tt.name), tt.t); got != tt.want {
			t.Errorf("%+v: %v", tt, got)
		}
		if tt.want && !rules.Knows(c) {
			t.Errorf("%+v: the client is not known", tt)
		}
	}
	if rules.Knows(Client{Address: netip.MustParseAddr("192.0.2.7")}) {
		t.Error("a client without a key is known")
	}
}

// TestLimits: an RRset that no message could carry is refused; one that is so
// already may still be made smaller; long updates of large RRsets take no long time.
func TestLimits(t *testing.T) {
	var b strings.Builder
	b.WriteString(testZone)
	const count = 5000
	for i := range count {
		fmt.Fprintf(&b, "big A 10.0.%d.%d\n", i/250, i%250)
	}
	z := buildZone(t, b.String())
	if _, why := decide(t, z, Terms{Allow: everything}, "add big.example. 300 A 10.1.0.1"); why == nil || why.Rcode != dnswire.RcodeRefused {
		t.Errorf("an RRset of %d records: %v", count+1, why)
	}
	if got, why := decide(t, z, Terms{Allow: everything}, "del big.example. A 10.0.0.1"); why != nil || strings.Count(got, "\n") != 1 {
		t.Errorf("one record less: %v, %s", why, got)
	}
	var lines []string
	for i := range MaxRecords / 2 {
		lines = append(lines, fmt.Sprintf("add big.example. %d A 10.0.0.1", i), "del big.example. TXT")
	}
	r, why := Parse(message(t, lines...))
	if why != nil {
		t.Fatal(why)
	}
	began := time.Now()
	if _, why := r.Decide(z, Terms{Allow: everything}); why != nil {
		t.Error(why)
	}
	if took := time.Since(began); took > 5*time.Second { // some 20 ms
		t.Errorf("it took %v", took)
	}
}

// TestNextSerial: whatever the clock and the policy before, the serial goes forward.
func TestNextSerial(t *testing.T) {
	now := time.Date(2026, 11, 22, 23, 30, 0, 0, time.FixedZone("", -3600))
	for _, tt := range []struct {
		p         SerialPolicy
		old, want rdata.Serial
	}{
		{Increment, 1, 2}, {Increment, 1<<32 - 1, 1}, {Increment, 1<<31 - 1, 1 << 31},
		{Unixtime, 1, rdata.Serial(now.Unix())}, {Unixtime, rdata.Serial(now.Unix()), rdata.Serial(now.Unix()) + 1},
		{Unixtime, 2026112300, 2026112301}, {Unixtime, 4000000000, rdata.Serial(now.Unix())}, // a good 2^31 behind: forward
		{Date, 1, 2026112300}, {Date, 2026112300, 2026112301}, {Date, 2026112399, 2026112400}, {Date, 2026112205, 2026112300},
	} {
		if got := NextSerial(tt.p, tt.old, now); got != tt.want || !tt.old.Less(got) {
			t.Errorf("%v after %d: %d, want %d", tt.p, tt.old, got, tt.want)
		}
	}
	for _, p := range []SerialPolicy{Increment, Unixtime, Date} {
		for i := range 100_000 {
			old := rdata.Serial(i * 42950)
			if got := NextSerial(p, old, now); !old.Less(got) || got == 0 {
				t.Fatalf("%v after %d: %d", p, old, got)
			}
		}
		if back, err := ParseSerialPolicy(p.String()); err != nil || back != p {
			t.Errorf("%v: %v, %v", p, back, err)
		}
	}
	if _, err := ParseSerialPolicy("random"); err == nil {
		t.Error("random is no policy")
	}
}

// FuzzUpdate: no message, however made, does more than be refused or change records
// of the zone, and what it changes can be changed.
func FuzzUpdate(f *testing.F) {
	for _, lines := range [][]string{
		{"yes www.example. A", "no x.example.", "add new.example. 60 A 192.0.2.99", "del www.example."},
		{"yes mail.example. MX 10 www.example.", "del mail.example. MX 10 www.example.", "add alias.example. 3 CNAME y.example."},
		{"add example. 300 SOA ns1.example. admin.example. 11 3600 600 86400 60", "add n.example. 1 NAPTR 1 2 \"u\" \"sip\" \"\" x.example."},
	} {
		f.Add(message(f, lines...))
	}
	z := buildZone(f, testZone)
	f.Fuzz(func(t *testing.T, msg []byte) {
		r, why := Parse(msg)
		if why != nil || r.Zone != z.Origin() {
			return
		}
		c, why := r.Decide(z, Terms{Allow: everything})
		if why != nil {
			return
		}
		there := map[string]bool{}
		for r := range z.Records() {
			there[r.String()] = true
		}
		for _, r := range c.Deleted {
			if !there[r.String()] {
				t.Fatalf("deletes %v, which is not there", r)
			}
			delete(there, r.String())
		}
		for _, r := range c.Added {
			if there[r.String()] || !r.Name.IsSubdomainOf(z.Origin()) || rdata.Validate(r.Type, r.Data) != nil {
				t.Fatalf("adds %v", r)
			}
		}
		b := zone.NewBuilder(z.Origin())
		for r := range z.Records() {
			if there[r.String()] {
				b.Add(r)
			}
		}
		for _, r := range c.Added {
			b.Add(r)
		}
		next, problems := b.Finish()
		if next == nil {
			t.Fatalf("no zone is left: %v", problems)
		}
		if i := slices.IndexFunc(problems, func(p zone.Problem) bool { return strings.Contains(p.Text, "outside") }); i >= 0 {
			t.Fatal(problems[i])
		}
	})
}
