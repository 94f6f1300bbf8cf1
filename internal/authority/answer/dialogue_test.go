package answer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// dialogueZone has one of everything; see TestDialogues.
const dialogueZone = `
@            3600 SOA    ns1 hostmaster 7 3600 900 604800 300
@            3600 NS     ns1
@            3600 NS     ns.child
@            3600 MX     10 mail
@            3600 MX     20 mail
@            3600 MX     30 any.wild
@            3600 MX     40 mx.elsewhere.
ns1          60   A      192.0.2.1
ns1          60   AAAA   2001:db8::1
mail         60   A      192.0.2.2
Upper        60   CNAME  MAIL
www          60   CNAME  mail
caps         60   CNAME  Any.WILD
capital      60   DNAME  NEW
leaves       60   CNAME  www.elsewhere.
dangling     60   CNAME  nothing
down         60   CNAME  www.child
loop1        60   CNAME  loop2
loop2        60   CNAME  loop1
self         60   CNAME  self
tocert       60   CNAME  ent.deep
child        60   NS     ns.child
child        60   NS     ns.sibling
child        60   NS     ns1
child        60   NS     ns.elsewhere.
child        60   DS     1 13 2 0000000000000000000000000000000000000000000000000000000000000000
ns.child     60   A      192.0.2.3
sibling      60   NS     ns.sibling
ns.sibling   60   AAAA   2001:db8::3
*.wild       60   A      192.0.2.4
*.wild       60   TXT    "any"
sub.wild     60   TXT    "none"
*.alias      60   CNAME  mail
a.ent.deep   60   CERT   1 2 3 AAAA
old          60   DNAME  new
old          60   TXT    "at the DNAME"
hidden.old   60   A      192.0.2.5
www.new      60   A      192.0.2.6
away         60   DNAME  elsewhere.
growing      60   DNAME  more.growing
long         60   DNAME  a23456789012345678901234567890123456789012345678901234567890.b23456789012345678901234567890123456789012345678901234567890.c23456789012345678901234567890123456789012345678901234567890
_sip._tcp    60   SRV    0 5 5060 mail
svc          60   HTTPS  1 . alpn="h2"
svc          60   A      192.0.2.7
pool         60   A      192.0.2.10
pool         60   A      192.0.2.11
unknown      60   TYPE65280 \# 3 010203
unknown      60   CLASS1 TYPE65281 \# 0
mixed        60   A      192.0.2.8
mixed        60   TXT    "x"
`

// show writes a response as the dialogues below have it: rcode and flags, then
// each section's records, in no order, behind the letter of the section.
func show(m *dns.Msg) string {
	lines := []string{}
	for i, rrs := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		var section []string
		for _, rr := range rrs {
			section = append(section, "AUX"[i:i+1]+" "+strings.Join(strings.Fields(rr.String()), " "))
		}
		slices.Sort(section)
		lines = append(lines, section...)
	}
	head := strings.Join(append([]string{dns.RcodeToString[m.Rcode]}, flagsOf(m)[1:]...), " ")
	return strings.Join(append([]string{head}, lines...), "\n")
}

// TestDialogues asks the zone above, one sentence of the RFCs after the other.
func TestDialogues(t *testing.T) {
	const soa = "\nU example. 300 IN SOA ns1.example. hostmaster.example. 7 3600 900 604800 300"
	z := buildZone(t, "example.", dialogueZone)
	for _, tt := range []struct{ rule, question, want string }{
		{"RFC 1034 §4.3.2 step 3a: the RRset asked for", "mail.example. A", `NOERROR AA
A mail.example. 60 IN A 192.0.2.2`},
		{"RFC 4343: case does not matter", "MAIL.Example. A", `NOERROR AA
A MAIL.Example. 60 IN A 192.0.2.2`},
		{"RFC 3597 §3: unknown types are data as any other", "unknown.example. TYPE65280", `NOERROR AA
A unknown.example. 60 CLASS1 TYPE65280 \# 3 010203`},
		{"RFC 3597 §3: RDATA may be empty", "unknown.example. TYPE65281", `NOERROR AA
A unknown.example. 60 CLASS1 TYPE65281 \# 0`},
		{"RFC 2308 §2.2: NODATA, §3: the SOA's TTL is the lesser one", "mail.example. TXT", "NOERROR AA" + soa},
		{"RFC 2308 §2.1: NXDOMAIN", "nothing.example. A", "NXDOMAIN AA" + soa},
		{"RFC 4592 §2.2.2: an empty non-terminal exists", "ent.deep.example. A", "NOERROR AA" + soa},
		{"RFC 4592 §2.2.2: with a type that is below it", "deep.example. CERT", "NOERROR AA" + soa},
		{"RFC 1035 §3.2.3: ANY is all RRsets", "mixed.example. ANY", `NOERROR AA
A mixed.example. 60 IN A 192.0.2.8
A mixed.example. 60 IN TXT "x"`},
		{"ANY at an empty non-terminal", "deep.example. ANY", "NOERROR AA" + soa},
		{"RFC 1034 §3.6.2: ANY matches the CNAME itself", "www.example. ANY", `NOERROR AA
A www.example. 60 IN CNAME mail.example.`},

		{"RFC 1034 §3.6.2: a CNAME is followed", "www.example. A", `NOERROR AA
A mail.example. 60 IN A 192.0.2.2
A www.example. 60 IN CNAME mail.example.`},
		{"RFC 1034 §3.6.2: but not when it is asked for", "www.example. CNAME", `NOERROR AA
A www.example. 60 IN CNAME mail.example.`},
		{"RFC 4343: the target's case is kept and does not matter", "upper.example. A", `NOERROR AA
A MAIL.example. 60 IN A 192.0.2.2
A upper.example. 60 IN CNAME MAIL.example.`},
		{"RFC 4343: not by a wildcard either", "caps.example. A", `NOERROR AA
A Any.WILD.example. 60 IN A 192.0.2.4
A caps.example. 60 IN CNAME Any.WILD.example.`},
		{"RFC 4343: nor by a DNAME", "www.capital.example. A", `NOERROR AA
A capital.example. 60 IN DNAME NEW.example.
A www.capital.example. 60 IN CNAME www.new.example.
A www.new.example. 60 IN A 192.0.2.6`},
		{"RFC 1034 §4.3.2 step 3a: a target outside the zone ends the answer", "leaves.example. A", `NOERROR AA
A leaves.example. 60 IN CNAME www.elsewhere.`},
		{"RFC 6604 §3: the rcode is that of the chain's last name", "dangling.example. A", `NXDOMAIN AA
A dangling.example. 60 IN CNAME nothing.example.` + soa},
		{"RFC 2308 §2.2: NODATA at the end of a chain", "tocert.example. A", `NOERROR AA
A tocert.example. 60 IN CNAME ent.deep.example.` + soa},
		{"RFC 1034 §4.3.2: a chain may end in a referral", "down.example. A", `NOERROR AA
A down.example. 60 IN CNAME www.child.example.
U child.example. 60 IN NS ns.child.example.
U child.example. 60 IN NS ns.elsewhere.
U child.example. 60 IN NS ns.sibling.example.
U child.example. 60 IN NS ns1.example.
X ns.child.example. 60 IN A 192.0.2.3
X ns.sibling.example. 60 IN AAAA 2001:db8::3
X ns1.example. 60 IN A 192.0.2.1
X ns1.example. 60 IN AAAA 2001:db8::1`},
		{"RFC 1034 §3.6.2: a loop of CNAMEs is an error, and ends", "loop1.example. A", `NOERROR AA
A loop1.example. 60 IN CNAME loop2.example.
A loop2.example. 60 IN CNAME loop1.example.`},
		{"the shortest loop", "self.example. A", `NOERROR AA
A self.example. 60 IN CNAME self.example.`},

		{"RFC 1034 §4.3.2 step 3b: a referral; RFC 9471: glue", "www.child.example. A", `NOERROR
U child.example. 60 IN NS ns.child.example.
U child.example. 60 IN NS ns.elsewhere.
U child.example. 60 IN NS ns.sibling.example.
U child.example. 60 IN NS ns1.example.
X ns.child.example. 60 IN A 192.0.2.3
X ns.sibling.example. 60 IN AAAA 2001:db8::3
X ns1.example. 60 IN A 192.0.2.1
X ns1.example. 60 IN AAAA 2001:db8::1`},
		{"RFC 2181 §6.1: the cut's NS are the child's, here too", "sibling.example. NS", `NOERROR
U sibling.example. 60 IN NS ns.sibling.example.
X ns.sibling.example. 60 IN AAAA 2001:db8::3`},
		{"RFC 2181 §5.4.1: glue is no answer", "ns.sibling.example. AAAA", `NOERROR
U sibling.example. 60 IN NS ns.sibling.example.
X ns.sibling.example. 60 IN AAAA 2001:db8::3`},
		{"RFC 4035 §3.1.4.1: DS is answered above the cut", "child.example. DS", `NOERROR AA
A child.example. 60 IN DS 1 13 2 0000000000000000000000000000000000000000000000000000000000000000`},
		{"RFC 4035 §3.1.4.1: and so is that there is none", "sibling.example. DS", "NOERROR AA" + soa},
		{"DS below the cut is the child's", "x.sibling.example. DS", `NOERROR
U sibling.example. 60 IN NS ns.sibling.example.
X ns.sibling.example. 60 IN AAAA 2001:db8::3`},

		{"RFC 4592 §3.3: synthesis", "x.y.wild.example. A", `NOERROR AA
A x.y.wild.example. 60 IN A 192.0.2.4`},
		{"RFC 4592 §4.9: no synthesis of types that the source has not", "x.wild.example. MX", "NOERROR AA" + soa},
		{"RFC 4592 §2.2.1: a name that exists is not synthesised", "sub.wild.example. A", "NOERROR AA" + soa},
		{"RFC 4592 §2.2.1: nor one below it", "x.sub.wild.example. A", "NXDOMAIN AA" + soa},
		{"RFC 4592 §2.2.1: the wildcard's parent is no match", "wild.example. A", "NOERROR AA" + soa},
		{"RFC 4592 §4.1: the asterisk may be asked for", "*.wild.example. A", `NOERROR AA
A *.wild.example. 60 IN A 192.0.2.4`},
		{"RFC 4592 §2.3: and is an encloser as any other", "x.*.wild.example. A", "NXDOMAIN AA" + soa},
		{"RFC 4592 §3.3.2: a CNAME by a wildcard", "x.alias.example. A", `NOERROR AA
A mail.example. 60 IN A 192.0.2.2
A x.alias.example. 60 IN CNAME mail.example.`},

		{"RFC 6672 §3.2: redirection", "www.old.example. A", `NOERROR AA
A old.example. 60 IN DNAME new.example.
A www.new.example. 60 IN A 192.0.2.6
A www.old.example. 60 IN CNAME www.new.example.`},
		{"RFC 6672 §2.3: the owner itself is not redirected", "old.example. TXT", `NOERROR AA
A old.example. 60 IN TXT "at the DNAME"`},
		{"RFC 6672 §2.4: what stands below a DNAME is hidden", "hidden.old.example. A", `NXDOMAIN AA
A hidden.old.example. 60 IN CNAME hidden.new.example.
A old.example. 60 IN DNAME new.example.` + soa},
		{"RFC 6672 §3.2: to another zone", "a.b.away.example. MX", `NOERROR AA
A a.b.away.example. 60 IN CNAME a.b.elsewhere.
A away.example. 60 IN DNAME elsewhere.`},
		{"RFC 6672 §3.2: the CNAME asked for is the one made", "www.old.example. CNAME", `NOERROR AA
A old.example. 60 IN DNAME new.example.
A www.old.example. 60 IN CNAME www.new.example.`},
		{"a DNAME into its own subtree is followed once", "x.growing.example. A", `NOERROR AA
A growing.example. 60 IN DNAME more.growing.example.
A x.growing.example. 60 IN CNAME x.more.growing.example.`},

		{"RFC 1035 §3.3.9: addresses of MX targets, each once, also by a wildcard", "example. MX", `NOERROR AA
A example. 3600 IN MX 10 mail.example.
A example. 3600 IN MX 20 mail.example.
A example. 3600 IN MX 30 any.wild.example.
A example. 3600 IN MX 40 mx.elsewhere.
X any.wild.example. 60 IN A 192.0.2.4
X mail.example. 60 IN A 192.0.2.2`},
		{"RFC 1035 §3.3.11: addresses of name servers, below a cut too", "example. NS", `NOERROR AA
A example. 3600 IN NS ns.child.example.
A example. 3600 IN NS ns1.example.
X ns.child.example. 60 IN A 192.0.2.3
X ns1.example. 60 IN A 192.0.2.1
X ns1.example. 60 IN AAAA 2001:db8::1`},
		{"RFC 2782: addresses of SRV targets", "_sip._tcp.example. SRV", `NOERROR AA
A _sip._tcp.example. 60 IN SRV 0 5 5060 mail.example.
X mail.example. 60 IN A 192.0.2.2`},
		{"RFC 9460 §2.5: the target . is the owner", "svc.example. HTTPS", `NOERROR AA
A svc.example. 60 IN HTTPS 1 . alpn="h2"
X svc.example. 60 IN A 192.0.2.7`},
		{"a name of another zone", "example.com. A", "REFUSED"},
	} {
		name, typeText, _ := strings.Cut(tt.question, " ")
		qtype, ok := rdata.ParseType(typeText)
		if !ok {
			t.Fatal(typeText)
		}
		if got := show(ask(t, z, name, uint16(qtype), 0, dnswire.MaxMessage)); got != tt.want {
			t.Errorf("%s: %s\n got %s\nwant %s", tt.rule, tt.question, got, tt.want)
		}
	}
}

// TestNameTooLong: RFC 6672 §2.2: a substitution that passes 255 octets is
// answered with YXDOMAIN and the DNAME.
func TestNameTooLong(t *testing.T) {
	z := buildZone(t, "example.", dialogueZone)
	m := ask(t, z, strings.Repeat("abcdefghi.", 8)+"long.example.", dns.TypeA, 0, dnswire.MaxMessage)
	if m.Rcode != dns.RcodeYXDomain || !m.Authoritative || len(m.Answer) != 1 || m.Answer[0].Header().Rrtype != dns.TypeDNAME {
		t.Errorf("%v", m)
	}
}

// TestChainLimit: a long chain is answered up to the limit, as a good answer.
func TestChainLimit(t *testing.T) {
	text := dialogueZone
	for i := range 3 * maxAliases {
		text += fmt.Sprintf("c%d 60 CNAME c%d\n", i, i+1)
	}
	m := ask(t, buildZone(t, "example.", text), "c0.example.", dns.TypeA, 0, dnswire.MaxMessage)
	if m.Rcode != dns.RcodeSuccess || m.Truncated || len(m.Answer) != maxAliases+1 || len(m.Ns) != 0 {
		t.Errorf("%d CNAMEs, %d in authority, %v", len(m.Answer), len(m.Ns), m.MsgHdr)
	}
	// A chain just within it reaches its end.
	m = ask(t, buildZone(t, "example.", text), fmt.Sprintf("c%d.example.", 2*maxAliases), dns.TypeA, 0, dnswire.MaxMessage)
	if m.Rcode != dns.RcodeNameError || len(m.Answer) != maxAliases {
		t.Errorf("%d CNAMEs, %v", len(m.Answer), m.MsgHdr)
	}
}

// TestOutcome: what happened is told to the caller.
func TestOutcome(t *testing.T) {
	z := buildZone(t, "example.", dialogueZone)
	for _, tt := range []struct {
		name     string
		kind     Kind
		aliases  int
		wildcard bool
		encloser string // of the last name
	}{
		{"mail.example.", Positive, 0, false, "mail.example."},
		{"x.y.wild.example.", Positive, 0, true, "wild.example."},
		{"x.alias.example.", Positive, 1, true, "mail.example."},
		{"www.old.example.", Positive, 1, false, "www.new.example."},
		{"wild.example.", NoData, 0, false, "wild.example."},
		{"dangling.example.", NXDomain, 1, false, "example."},
		{"www.child.example.", Referral, 0, false, "child.example."},
		{"down.example.", Referral, 1, false, "child.example."},
		{"leaves.example.", Partial, 1, false, "leaves.example."},
		{"self.example.", Partial, 1, false, "self.example."},
		{"other.", Refused, 0, false, ""},
	} {
		o := outcomeOf(t, z, tt.name)
		encloser := ""
		if o.Last.Encloser != 0 {
			encloser = z.Name(o.Last.Encloser).String()
		}
		if o.Kind != tt.kind || o.Aliases != tt.aliases || o.Wildcard != tt.wildcard || encloser != tt.encloser {
			t.Errorf("%s: %s, %+v", tt.name, o.Kind, o)
		}
	}
}

func outcomeOf(t *testing.T, z *zone.Zone, qname string) Outcome {
	t.Helper()
	var q dnswire.Query
	var out dnswire.Builder
	q.Parse(query(t, qname, dns.TypeA))
	out.Reset(&q, make([]byte, dnswire.MaxMessage+dnswire.BufferSlack), dnswire.MaxMessage)
	return Answer(&q, z, 0, &out)
}

// TestRotation: RRsets of several records begin with another one each time.
func TestRotation(t *testing.T) {
	z := buildZone(t, "example.", dialogueZone)
	for rotation := range uint32(4) {
		m := ask(t, z, "pool.example.", dns.TypeA, rotation, dnswire.MaxUDP512)
		want := fmt.Sprintf("192.0.2.%d", 10+rotation%2)
		if got := m.Answer[0].(*dns.A).A.String(); got != want || len(m.Answer) != 2 {
			t.Errorf("rotation %d: %s first of %d, want %s", rotation, got, len(m.Answer), want)
		}
	}
}

// TestNoAllocs: no kind of answer allocates.
func TestNoAllocs(t *testing.T) {
	z := buildZone(t, "example.", dialogueZone)
	for _, name := range []string{
		"mail.example.", "nothing.example.", "wild.example.", "www.child.example.", "x.wild.example.", "x.alias.example.",
		"www.old.example.", "upper.example.", "loop1.example.", "down.example.", "growing.example.", "other.", "example.",
		strings.Repeat("abcdefghi.", 8) + "long.example.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeMX, dns.TypeNS, dns.TypeANY, dns.TypeRRSIG, dns.TypeDS} {
			wire := query(t, name, qtype)
			buf := make([]byte, dnswire.MaxUDP+dnswire.BufferSlack)
			var q dnswire.Query
			var out dnswire.Builder
			if got := testing.AllocsPerRun(20, func() {
				n := copy(buf, wire)
				q.Parse(buf[:n])
				out.Reset(&q, buf, dnswire.MaxUDP512)
				Answer(&q, z, 1, &out)
				out.Finish()
			}); got != 0 {
				t.Errorf("%s %s: %v allocations", name, dns.TypeToString[qtype], got)
			}
		}
	}
}

// TestSteeredTargets: the addresses that a zone has of a steered name are not
// served, be it as additional records or by a wildcard.
func TestSteeredTargets(t *testing.T) {
	b := zone.NewBuilder(dnsname.MustParse("example."))
	b.Steer(dnsname.MustParse("app.example."), zone.SteersAddresses)
	b.Steer(dnsname.MustParse("*.apps.example."), zone.SteersAddresses)
	text := "@ 60 SOA ns.other. h.other. 1 2 3 4 5\n@ 60 NS app\n@ 60 MX 10 app\napp 60 A 192.0.2.1\n"
	for r, err := range zonefile.Read(strings.NewReader(text), zonefile.Options{Origin: dnsname.MustParse("example.")}) {
		if err != nil {
			t.Fatal(err)
		}
		b.Add(r)
	}
	z, problems := b.Finish()
	if z == nil || len(problems) != 0 {
		t.Fatal(problems)
	}
	for question, want := range map[string]string{
		"example. MX":       "NOERROR AA\nA example. 60 IN MX 10 app.example.",
		"x.apps.example. A": "NOERROR AA\nU example. 5 IN SOA ns.other. h.other. 1 2 3 4 5",
	} {
		name, qtype, _ := strings.Cut(question, " ")
		if got := show(ask(t, z, name, dns.StringToType[qtype], 0, dnswire.MaxUDP512)); got != want {
			t.Errorf("%s:\n got %s\nwant %s", question, got, want)
		}
	}
}
