package rewrite

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/localdata"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rrcache"
)

var now = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

func records(t testing.TB, origin, text string) (list []rdata.Record) {
	t.Helper()
	for r, err := range zonefile.Read(strings.NewReader("$TTL 300\n"+text), zonefile.Options{Origin: dnsname.MustParse(origin)}) {
		if err != nil {
			t.Fatal(err)
		}
		r.Name, r.Data = r.Name.Clone(), slices.Clone(r.Data)
		list = append(list, r)
	}
	return list
}

// policyZone makes a policy zone.
func policyZone(t testing.TB, name, text string, o policy.Options) *policy.Zone {
	t.Helper()
	list := records(t, name, "@ SOA ns.example. host.example. 1 3600 900 86400 30\n@ NS ns.example.\n"+text)
	z, problems := zone.Build(dnsname.MustParse(name), slices.Values(list))
	if z == nil {
		t.Fatal(problems)
	}
	return policy.Compile(z, o)
}

// internet is what can be resolved. What is not there does not exist; a name that begins
// with "fail" fails.
type internet struct {
	t       testing.TB
	records []rdata.Record
	asked   []string
}

func newInternet(t testing.TB, text string) *internet {
	return &internet{t: t, records: records(t, ".", text)}
}

func (n *internet) resolve(name dnsname.Name, t rdata.Type, then func(iterate.Answer)) {
	n.asked = append(n.asked, fmt.Sprintf("%v %v", name, t))
	then(n.answer(name, t))
}

func (n *internet) answer(name dnsname.Name, t rdata.Type) iterate.Answer {
	if strings.HasPrefix(name.Label(), "fail") || name.Label() == "bogus" {
		code := dnswire.EDENoReachableAuthority
		if name.Label() == "bogus" {
			code = dnswire.EDESignatureExpired
		}
		return iterate.Answer{Rcode: dnswire.RcodeServFail, Errors: []dnswire.ExtendedError{{Code: code, Text: "no"}}}
	}
	a := iterate.Answer{Sent: 1, AD: true, State: rrcache.Secure}
	exists := false
	for range 10 {
		next := dnsname.Name{}
		for _, r := range n.records {
			exists = exists || r.Name.IsSubdomainOf(name)
			switch {
			case r.Name != name:
			case r.Type == t:
				a.Answer = append(a.Answer, r)
			case r.Type == rdata.TypeCNAME:
				a.Answer = append(a.Answer, r)
				next, _ = rdata.NameAt(r.Data, 0)
			}
		}
		if next.IsZero() {
			break
		}
		name, exists = next, false
	}
	if !exists {
		a.Rcode = dnswire.RcodeNXDomain
	}
	if len(a.Answer) == 0 || a.Answer[len(a.Answer)-1].Type != t {
		a.Authority = records(n.t, ".", "example. 120 SOA ns host 1 2 3 4 120\n")
	}
	return a
}

// show writes a Result in one line.
func show(res Result) string {
	switch {
	case res.Drop:
		return "drop"
	case res.Truncate:
		return "truncate"
	}
	words := []string{res.Rcode.String()}
	if res.AA {
		words = append(words, "AA")
	}
	if res.AD {
		words = append(words, "AD")
	}
	for _, r := range res.Answer.Answer {
		text := strings.Fields(r.String())
		words = append(words, text[0], text[3], text[4])
	}
	for _, e := range res.Errors {
		words = append(words, fmt.Sprintf("EDE%d", e.Code))
	}
	return strings.Join(words, " ")
}

// answer asks by both ways and holds them against each other: what the quick one says,
// the slow one says too, and what may be given from the cache is what the slow one would
// give.
func answer(t *testing.T, r *Rules, n *internet, q Question) string {
	t.Helper()
	var got Result
	calls := 0
	r.Answer(now, q, n.resolve, func(res Result) { got, calls = res, calls+1 })
	if calls != 1 {
		t.Fatalf("%v %v: answered %d times", q.Name, q.Type, calls)
	}
	slow := show(got)
	if quick, ok := answerQuick(t, r, n, q); ok && quick != slow {
		t.Errorf("%v %v: the quick way says %s, the slow one %s", q.Name, q.Type, quick, slow)
	}
	return slow
}

func answerQuick(t *testing.T, r *Rules, n *internet, q Question) (string, bool) {
	t.Helper()
	var query dnswire.Query
	spec := dnswire.QuerySpec{Name: q.Name, Type: q.Type, Class: rdata.ClassIN, RD: true, CD: q.CD, EDNS: true, DO: q.DO}
	if query.Parse(dnswire.AppendQuery(nil, spec)) != dnswire.Accept {
		t.Fatal("query")
	}
	var out dnswire.Builder
	out.Reset(&query, make([]byte, 4096+dnswire.BufferSlack), 4096)
	start := out.Len()
	verdict, _ := r.Quick(&query, q.Client, q.UDP, &out)
	switch verdict {
	case Dropped:
		return "drop", true
	case Ready, Exempt:
		a := n.answer(q.Name, q.Type)
		a.Write(&out)
		if passes, _ := r.Passes(now, &query, &out, start, verdict == Exempt); !passes {
			return "", false
		}
	case Slow:
		return "", false
	}
	m, err := dnswire.ParseMessage(out.Finish())
	if err != nil {
		t.Fatal(err)
	}
	if m.TC {
		return "truncate", true
	}
	return show(Result{Answer: iterate.Answer{Rcode: m.Rcode, Answer: m.Answer, AD: m.AD, Errors: m.EDE}, AA: m.AA}), true
}

func question(name string, qtype rdata.Type) Question {
	return Question{Name: dnsname.MustParse(name), Type: qtype, Client: netip.MustParseAddr("198.51.100.1"), UDP: true}
}

// ask is a line of a dialogue.
type ask struct {
	name  string
	qtype rdata.Type
	want  string
}

func play(t *testing.T, r *Rules, n *internet, asks []ask) {
	t.Helper()
	for _, a := range asks {
		if got := answer(t, r, n, question(a.name, a.qtype)); got != a.want {
			t.Errorf("%s %v: got %s, want %s", a.name, a.qtype, got, a.want)
		}
	}
}

const world = `
www.example.        A     192.0.2.1
www.example.        AAAA  2001:db8::1
alias.example.      CNAME www.example.
twice.example.      CNAME alias.example.
evil.example.       A     203.0.113.5
evil.example.       A     192.0.2.200
toevil.example.     CNAME evil.example.
bad.example.        A     192.0.2.66
tobad.example.      CNAME bad.example.
garden.example.     A     192.0.2.80
v4.example.         A     192.0.2.4
v4.example.         A     192.0.2.5
tov4.example.       CNAME v4.example.
mapped.example.     AAAA  ::ffff:192.0.2.9
mapped.example.     A     192.0.2.9
old.example.        AAAA  2001:db8::9
old.example.        A     192.0.2.10
only6.old.example.  AAAA  2001:db8::a
text.example.       TXT   "x"
inside.example.     A     10.0.0.1
mixed.example.      A     192.0.2.3
mixed.example.      A     192.168.1.1
app.corp.example.   A     10.0.0.2
tocorp.example.     CNAME app.corp.example.
mapped4.example.    AAAA  ::ffff:10.0.0.1
4.2.0.192.in-addr.arpa. PTR v4.example.
5.2.0.192.in-addr.arpa. CNAME 5.sub.2.0.192.in-addr.arpa.
5.sub.2.0.192.in-addr.arpa. PTR v4.example.
`

// TestPolicy: draft-vixie-dnsop-dns-rpz §3 and §5.1: actions, and that policy is asked
// name by name along the aliases.
func TestPolicy(t *testing.T) {
	n := newInternet(t, world)
	r := &Rules{Revision: 1, Policies: policy.NewSet(policyZone(t, "rpz", `
bad.example         CNAME .
nodata.example      CNAME *.
drop.example        CNAME rpz-drop.
tcp.example         CNAME rpz-tcp-only.
fine.bad.example    CNAME rpz-passthru.
*.bad.example       CNAME .
local.example       A 192.0.2.99
walled.example      CNAME garden.example.
*.walled.example    CNAME *.logs.example.
loop.example        CNAME loop2.example.
loop2.example       CNAME loop.example.
24.0.113.0.203.rpz-ip CNAME .
32.10.2.0.192.rpz-ip  A 192.0.2.98
32.7.100.51.198.rpz-client-ip CNAME .
`, policy.Options{EDE: dnswire.EDEBlocked}))}
	play(t, r, n, []ask{
		{"www.example", rdata.TypeA, "NOERROR AD www.example. A 192.0.2.1"},
		{"twice.example", rdata.TypeA, "NOERROR AD twice.example. CNAME alias.example. alias.example. CNAME www.example. www.example. A 192.0.2.1"},
		{"bad.example", rdata.TypeA, "NXDOMAIN AA EDE15"},
		{"x.bad.example", rdata.TypeTXT, "NXDOMAIN AA EDE15"},
		{"fine.bad.example", rdata.TypeA, "NXDOMAIN AD"}, // the Internet's word
		{"nodata.example", rdata.TypeA, "NOERROR AA EDE15"},
		{"drop.example", rdata.TypeA, "drop"},
		{"tcp.example", rdata.TypeA, "truncate"},
		{"local.example", rdata.TypeA, "NOERROR AA local.example. A 192.0.2.99 EDE4"},
		{"local.example", rdata.TypeTXT, "NOERROR AA EDE4"},
		{"walled.example", rdata.TypeA, "NOERROR AA walled.example. CNAME garden.example. garden.example. A 192.0.2.80 EDE4"},
		{"walled.example", rdata.TypeCNAME, "NOERROR AA walled.example. CNAME garden.example. EDE4"},
		{"a.walled.example", rdata.TypeA, "NXDOMAIN AA a.walled.example. CNAME a.walled.example.logs.example. EDE4"},
		{strings.Repeat("a123456789.", 21) + "walled.example", rdata.TypeA, "YXDOMAIN AA EDE0"},
		{"loop.example", rdata.TypeA, "NXDOMAIN AA loop.example. CNAME loop2.example. EDE4"},
		{"tobad.example", rdata.TypeA, "NXDOMAIN tobad.example. CNAME bad.example. EDE15"},
		{"tobad.example", rdata.TypeCNAME, "NOERROR AD tobad.example. CNAME bad.example."},
		{"evil.example", rdata.TypeA, "NXDOMAIN EDE15"},
		{"toevil.example", rdata.TypeA, "NXDOMAIN toevil.example. CNAME evil.example. EDE15"},
		{"old.example", rdata.TypeA, "NOERROR old.example. A 192.0.2.98 EDE4"},
		{"fail.example", rdata.TypeA, "SERVFAIL EDE22"},
	})
	q := question("tcp.example", rdata.TypeA)
	if q.UDP = false; answer(t, r, n, q) != "NXDOMAIN AD" {
		t.Error("tcp-only over TCP is not what the Internet says")
	}
	q = question("www.example", rdata.TypeA)
	if q.Client = netip.MustParseAddr("198.51.100.7"); answer(t, r, n, q) != "NXDOMAIN AA EDE15" {
		t.Error("a client by its address")
	}
	n.asked = nil
	answer(t, r, n, question("bad.example", rdata.TypeA))
	if len(n.asked) > 0 {
		t.Errorf("to answer by policy, the Internet was asked %q", n.asked)
	}
}

// TestZonesInOrder: draft §5.2: what an earlier zone says of the answer counts more than
// what a later one says of the name; who passes, passes all.
func TestZonesInOrder(t *testing.T) {
	n := newInternet(t, world)
	r := &Rules{Revision: 1, Policies: policy.NewSet(
		policyZone(t, "one", "24.0.113.0.203.rpz-ip CNAME rpz-passthru.\n32.1.2.0.192.rpz-client-ip CNAME rpz-passthru.\n32.66.2.0.192.rpz-ip CNAME *.\n", policy.Options{}),
		policyZone(t, "off", "www.example CNAME .\n", policy.Options{Override: policy.Disabled}),
		policyZone(t, "two", "evil.example CNAME .\nwww.example CNAME *.\nbad.example CNAME .\nfail.example CNAME .\n", policy.Options{}))}
	play(t, r, n, []ask{
		{"evil.example", rdata.TypeA, "NOERROR AD evil.example. A 203.0.113.5 evil.example. A 192.0.2.200"},
		{"evil.example", rdata.TypeTXT, "NXDOMAIN AA"},
		{"www.example", rdata.TypeA, "NOERROR AA"},
		{"bad.example", rdata.TypeA, "NOERROR"},
		{"fail.example", rdata.TypeA, "NXDOMAIN AA"},
	})
	q := question("bad.example", rdata.TypeA)
	if q.Client = netip.MustParseAddr("192.0.2.1"); answer(t, r, n, q) != "NOERROR AD bad.example. A 192.0.2.66" {
		t.Error("a client that passes meets a later zone")
	}
	var res Result
	r.Answer(now, question("www.example", rdata.TypeA), n.resolve, func(got Result) { res = got })
	if len(res.Skipped) != 1 || res.Skipped[0].Zone.Name().String() != "off." || res.Hit.Zone.Name().String() != "two." {
		t.Errorf("disabled zone: skipped %v, hit %v", res.Skipped, res.Hit)
	}
}

// TestServers: draft §4.3 and §4.4: name servers by name and address, from what the cache
// knows of zone cuts; where it knows none any more, it is told.
func TestServers(t *testing.T) {
	cache := rrcache.New(now, rrcache.Limits{})
	put := func(zone, server, addr string) {
		cache.PutDelegation(now, dnsname.MustParse(zone), []rrcache.Server{{Name: dnsname.MustParse(server), Addrs: []netip.Addr{netip.MustParseAddr(addr)}}}, 300, time.Time{})
	}
	put("example", "ns.example", "192.0.2.53")
	put("bad.example", "ns.crime.test", "192.0.2.54")
	put("corp.example", "ns.corp.example", "203.0.113.53")
	n := newInternet(t, world+"late.test. A 192.0.2.111\n")
	r := &Rules{Revision: 1, Cache: cache, Policies: policy.NewSet(policyZone(t, "rpz",
		"*.crime.test.rpz-nsdname CNAME .\n24.0.113.0.203.rpz-nsip CNAME *.\nns.late.test.rpz-nsdname CNAME .\n", policy.Options{}))}
	play(t, r, n, []ask{
		{"www.example", rdata.TypeA, "NOERROR AD www.example. A 192.0.2.1"},
		{"bad.example", rdata.TypeA, "NXDOMAIN AA"},
		{"tobad.example", rdata.TypeA, "NXDOMAIN tobad.example. CNAME bad.example."},
		{"app.corp.example", rdata.TypeA, "NOERROR AA"},
	})
	n.asked = nil
	r.Answer(now, question("late.test", rdata.TypeA), func(name dnsname.Name, qtype rdata.Type, then func(iterate.Answer)) {
		if qtype == rdata.TypeNS {
			put("late.test", "ns.late.test", "192.0.2.55")
		}
		n.resolve(name, qtype, func(a iterate.Answer) { a.Sent, a.Cached = 0, true; then(a) })
	}, func(res Result) {
		if got := show(res); got != "NXDOMAIN AA" || len(n.asked) != 2 {
			t.Errorf("a zone cut that the cache has forgotten: got %s, asked %q", got, n.asked)
		}
	})
}

// TestLocalData: before everything else, and it leads on where it is an alias.
func TestLocalData(t *testing.T) {
	n := newInternet(t, world)
	local, err := localdata.Compile(map[dnsname.Name]localdata.Kind{
		dnsname.MustParse("lan"):     localdata.Static,
		dnsname.MustParse("refused"): localdata.Refuse,
		dnsname.MustParse("quiet"):   localdata.Drop,
	}, records(t, ".", "printer.lan. A 192.0.2.50\nbad.example. A 192.0.2.51\nnick.example. CNAME www.example.\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Rules{Revision: 1, Local: local, Policies: policy.NewSet(policyZone(t, "rpz", "bad.example CNAME .\nprinter.lan CNAME .\n", policy.Options{EDE: dnswire.EDEBlocked}))}
	play(t, r, n, []ask{
		{"printer.lan", rdata.TypeA, "NOERROR AA printer.lan. A 192.0.2.50"},
		{"printer.lan", rdata.TypeAAAA, "NOERROR AA"},
		{"none.lan", rdata.TypeA, "NXDOMAIN AA"},
		{"x.refused", rdata.TypeA, "REFUSED AA"},
		{"x.quiet", rdata.TypeA, "drop"},
		{"bad.example", rdata.TypeA, "NOERROR AA bad.example. A 192.0.2.51"},
		{"nick.example", rdata.TypeA, "NOERROR AA nick.example. CNAME www.example. www.example. A 192.0.2.1"},
		{"www.example", rdata.TypeA, "NOERROR AD www.example. A 192.0.2.1"},
	})
}

// TestHidden: BIND's filter-aaaa, for any type.
func TestHidden(t *testing.T) {
	r := &Rules{Revision: 1, Hide: []rdata.Type{rdata.TypeAAAA, rdata.TypeHTTPS}}
	play(t, r, newInternet(t, world), []ask{
		{"www.example", rdata.TypeAAAA, "NOERROR EDE17"},
		{"www.example", rdata.TypeA, "NOERROR AD www.example. A 192.0.2.1"},
	})
}

// TestRebinding: private addresses do not answer for public names, by whatever alias;
// names that are excepted may have them.
func TestRebinding(t *testing.T) {
	r := &Rules{Revision: 1, Private: &Private{
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.168.0.0/16")},
		Except:   []dnsname.Name{dnsname.MustParse("corp.example")},
	}}
	play(t, r, newInternet(t, world), []ask{
		{"www.example", rdata.TypeA, "NOERROR AD www.example. A 192.0.2.1"},
		{"inside.example", rdata.TypeA, "NOERROR EDE15"},
		{"mapped4.example", rdata.TypeAAAA, "NOERROR EDE15"},
		{"mixed.example", rdata.TypeA, "NOERROR mixed.example. A 192.0.2.3 EDE15"},
		{"app.corp.example", rdata.TypeA, "NOERROR AD app.corp.example. A 10.0.0.2"},
		{"tocorp.example", rdata.TypeA, "NOERROR tocorp.example. CNAME app.corp.example. EDE15"},
	})
}

// TestDNS64: RFC 6147 §5.1, §5.3.1, §5.5; RFC 8880 §7.2.
func TestDNS64(t *testing.T) {
	tr, err := dns64.New(dns64.Config{
		Prefixes: []netip.Prefix{dns64.WellKnown},
		Exclude:  []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/96")},
		Ignore:   []dnsname.Name{dnsname.MustParse("old.example")},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &Rules{Revision: 1, DNS64: tr, Policies: policy.NewSet(policyZone(t, "rpz", "32.66.2.0.192.rpz-ip CNAME .\nlocal.example A 192.0.2.99\n", policy.Options{}))}
	n := newInternet(t, world)
	play(t, r, n, []ask{
		{"www.example", rdata.TypeAAAA, "NOERROR AD www.example. AAAA 2001:db8::1"},
		{"v4.example", rdata.TypeAAAA, "NOERROR v4.example. AAAA 64:ff9b::c000:204 v4.example. AAAA 64:ff9b::c000:205"},
		{"tov4.example", rdata.TypeAAAA, "NOERROR tov4.example. CNAME v4.example. v4.example. AAAA 64:ff9b::c000:204 v4.example. AAAA 64:ff9b::c000:205"},
		{"mapped.example", rdata.TypeAAAA, "NOERROR mapped.example. AAAA 64:ff9b::c000:209"},
		{"old.example", rdata.TypeAAAA, "NOERROR old.example. AAAA 64:ff9b::c000:20a"},
		{"only6.old.example", rdata.TypeAAAA, "NOERROR AD only6.old.example. AAAA 2001:db8::a"},
		{"text.example", rdata.TypeAAAA, "NOERROR AD"},
		{"none.example", rdata.TypeAAAA, "NXDOMAIN AD"},
		{"bogus.example", rdata.TypeAAAA, "SERVFAIL EDE7"},
		{"fail.example", rdata.TypeAAAA, "SERVFAIL EDE22"},
		{"bad.example", rdata.TypeAAAA, "NOERROR AD"},
		{"local.example", rdata.TypeAAAA, "NOERROR AA local.example. AAAA 64:ff9b::c000:263"},
		{"ipv4only.arpa", rdata.TypeAAAA, "NOERROR ipv4only.arpa. AAAA 64:ff9b::c000:aa ipv4only.arpa. AAAA 64:ff9b::c000:ab"},
		{"ipv4only.arpa", rdata.TypeA, "NOERROR ipv4only.arpa. A 192.0.0.170 ipv4only.arpa. A 192.0.0.171"},
		{"4.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa", rdata.TypePTR,
			"NOERROR 4.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa. PTR v4.example."},
		{"5.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa", rdata.TypePTR,
			"NOERROR 5.0.2.0.0.0.0.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.b.9.f.f.4.6.0.0.ip6.arpa. CNAME 5.sub.2.0.192.in-addr.arpa. 5.sub.2.0.192.in-addr.arpa. PTR v4.example."},
	})
	q := question("v4.example", rdata.TypeAAAA)
	if q.CD, q.DO = true, true; answer(t, r, n, q) != "NOERROR AD" {
		t.Error("§5.5: who sets CD and DO gets a translation")
	}
	r.Answer(now, question("v4.example", rdata.TypeAAAA), n.resolve, func(res Result) {
		if res.Answer.Answer[0].TTL != 120 {
			t.Errorf("§5.1.7: TTL %d, want that of the negative answer, 120", res.Answer.Answer[0].TTL)
		}
	})
}

func TestNoAllocs(t *testing.T) {
	tr, err := dns64.New(dns64.Config{Prefixes: []netip.Prefix{dns64.WellKnown}})
	if err != nil {
		t.Fatal(err)
	}
	local, err := localdata.Compile(map[dnsname.Name]localdata.Kind{dnsname.MustParse("lan"): localdata.Static}, records(t, ".", "printer.lan. A 192.0.2.50\n"))
	if err != nil {
		t.Fatal(err)
	}
	r := &Rules{Revision: 1, Local: local, DNS64: tr, Hide: []rdata.Type{rdata.TypeHTTPS},
		Private:  &Private{Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}},
		Policies: policy.NewSet(policyZone(t, "rpz", "bad.example CNAME .\n*.wild.example A 192.0.2.1\n24.0.113.0.203.rpz-ip CNAME .\n", policy.Options{EDE: dnswire.EDEBlocked}))}
	n := newInternet(t, world)
	for _, name := range []string{"www.example", "twice.example", "bad.example", "x.wild.example", "printer.lan", "none.lan"} {
		var query dnswire.Query
		query.Parse(dnswire.AppendQuery(nil, dnswire.QuerySpec{Name: dnsname.MustParse(name), Type: rdata.TypeA, Class: rdata.ClassIN, RD: true, EDNS: true}))
		client, buf := netip.MustParseAddr("198.51.100.1"), make([]byte, 4096+dnswire.BufferSlack)
		found := n.answer(query.Name, query.Type)
		var out dnswire.Builder
		got := testing.AllocsPerRun(100, func() {
			out.Reset(&query, buf, 4096)
			start := out.Len()
			verdict, _ := r.Quick(&query, client, true, &out)
			if verdict != Ready {
				return
			}
			found.Write(&out)
			if passes, keep := r.Passes(now, &query, &out, start, false); !passes || !keep {
				t.Fatalf("%s does not pass", name)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}
