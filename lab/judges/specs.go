package judges

import (
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// spec is how a zone is made: its content, its keys, what its parent says of it, and what
// is wrong with it.
type spec struct {
	name       string // below zz., or of a child the whole name
	text       string // more than what every zone has
	bare       bool   // without that
	at         netip.Addr
	algorithms []uint8
	single     bool // one key for all
	nsec3      *sign.NSEC3
	unsigned   bool
	shift      time.Duration // of the clock of the signer
	key        func(*sign.Key)
	dsOf       func(*planting) []rdata.Record
	fault      func(*planting)
	tamper     func(q, m *dns.Msg)
	records    []rdata.Record
	children   []spec
	state      State            // of all answers
	states     map[string]State // of some of them
	ede        uint16           // of those that are Bogus, or Insecure with all of the zone
	extra      []extra          // questions beyond those of every zone
}

// extra is a question beyond those of every zone.
type extra struct {
	label string // also what stands before the zone's name
	t     rdata.Type
	rcode int
	state State
}

// content is what every zone has.
const content = `@ SOA ns host 1 1h 15m 1w 5m
@ NS ns
@ MX 10 www
@ TXT "apex"
www A 192.0.2.1
www A 192.0.2.2
txt TXT "text"
alias CNAME www
*.wild A 192.0.2.3
below.ent A 192.0.2.4
dn DNAME other
y.other A 192.0.2.5
`

// asked is what is asked about every zone.
var asked = []struct {
	label, name string
	t           rdata.Type
	rcode       int
}{
	{"positive", "www", rdata.TypeA, dns.RcodeSuccess},
	{"nodata", "www", rdata.TypeTXT, dns.RcodeSuccess},
	{"nxdomain", "nope", rdata.TypeA, dns.RcodeNameError},
	{"nxdomain below", "a.b.www", rdata.TypeA, dns.RcodeNameError},
	{"wildcard", "x.wild", rdata.TypeA, dns.RcodeSuccess},
	{"wildcard below", "x.y.wild", rdata.TypeA, dns.RcodeSuccess},
	{"wildcard nodata", "x.wild", rdata.TypeTXT, dns.RcodeSuccess},
	{"empty non-terminal", "ent", rdata.TypeA, dns.RcodeSuccess},
	{"alias", "alias", rdata.TypeA, dns.RcodeSuccess},
	{"dname", "y.dn", rdata.TypeA, dns.RcodeSuccess},
	{"soa", "", rdata.TypeSOA, dns.RcodeSuccess},
	{"mx", "", rdata.TypeMX, dns.RcodeSuccess},
	{"dnskey", "", rdata.TypeDNSKEY, dns.RcodeSuccess},
	{"ds", "", rdata.TypeDS, dns.RcodeSuccess},
}

// denied are the questions whose answers take a denial.
var denied = []string{"nodata", "nxdomain", "nxdomain below", "wildcard", "wildcard below", "wildcard nodata", "empty non-terminal"}

func (s spec) origin() dnsname.Name {
	name := s.name
	if name[len(name)-1] != '.' {
		name += ".zz."
	}
	return dnsname.MustParse(name)
}

func each(labels []string, state State) map[string]State {
	all := map[string]State{}
	for _, l := range labels {
		all[l] = state
	}
	return all
}

func (s spec) with(change func(*spec)) spec {
	change(&s)
	return s
}

// ask adds the questions about a zone.
func (t *Tree) ask(z *Zone, s spec) {
	add := func(label string, n dnsname.Name, ty rdata.Type, rcode int, state State) {
		q := Question{Zone: z, Label: label, Name: n, Type: ty, Rcode: rcode, State: state}
		switch {
		case state == Bogus, state == Insecure && s.state == Insecure:
			q.EDE = s.ede
		case state == Insecure && s.nsec3 != nil && s.nsec3.Iterations > dnssec.MaxIterations:
			q.EDE = uint16(dnswire.EDENSEC3Iterations)
		}
		t.Questions = append(t.Questions, q)
	}
	below := func(name string) dnsname.Name {
		if name == "" {
			return z.Name
		}
		return dnsname.MustParse(name + "." + z.Name.String())
	}
	for _, q := range asked {
		state, special := s.states[q.label]
		switch {
		case special:
		case q.label == "ds": // the parent's word
			state = Secure
		default:
			state = s.state
		}
		if s.bare && q.label != "soa" && q.label != "dnskey" {
			continue
		}
		add(q.label, below(q.name), q.t, q.rcode, state)
	}
	for _, e := range s.extra {
		add("extra "+e.label, below(e.label), e.t, e.rcode, e.state)
	}
}

// denial is a way to prove that something is not there.
type denial struct {
	name  string
	nsec3 *sign.NSEC3
	// states are those of a zone that is right.
	states map[string]State
}

func iterations(n uint16, salt string) *sign.NSEC3 {
	return &sign.NSEC3{Iterations: n, Salt: []byte(salt)}
}

// spanned are the questions whose denial is a span of names, in which there may be unsigned
// delegations where the zone opted out (RFC 5155 §9.2).
var spanned = []string{"nxdomain", "nxdomain below", "wildcard", "wildcard below", "wildcard nodata"}

func denials() []denial {
	return []denial{
		{"nsec", nil, nil},
		{"nsec3", iterations(0, ""), nil},
		{"optout", &sign.NSEC3{OptOut: true}, each(spanned, Insecure)},
	}
}

func moreDenials() []denial {
	return []denial{
		{"iter1", iterations(1, ""), nil},
		{"iter10", iterations(10, "salt"), nil},
		{"iter50", iterations(50, ""), nil},
		{"iter51", iterations(51, ""), each(denied, Insecure)},
		{"iter100", iterations(100, ""), each(denied, Insecure)},
		{"iter150", iterations(150, "saltsalt"), each(denied, Insecure)},
		{"iter500", iterations(500, ""), each(denied, Insecure)},
	}
}

// specs are all zones below zz.
func specs() []spec {
	var all []spec
	for _, a := range []uint8{dnssec.RSASHA256, dnssec.RSASHA512, dnssec.ECDSAP256, dnssec.ECDSAP384, dnssec.Ed25519, dnssec.Ed448} {
		for _, d := range append(denials(), moreDenials()...) {
			if a != dnssec.ECDSAP256 && d.name != "nsec" && d.name != "nsec3" && d.name != "optout" && d.name != "iter10" {
				continue
			}
			s := spec{name: "good-" + dns.AlgorithmToString[a] + "-" + d.name, algorithms: []uint8{a}, nsec3: d.nsec3, state: Secure, states: d.states, text: content}
			all = append(all, s)
			if d.name == "nsec" || d.name == "optout" { // on the server of its parent
				s.name, s.at = s.name+"-beside", TopAt
				all = append(all, s)
			}
		}
	}
	for _, d := range denials() {
		for _, v := range append(variants(), links()...) {
			v.name += "-" + d.name
			v.nsec3 = d.nsec3
			v.text = content + v.text
			if v.state == "" {
				v.state = Secure
			}
			for label, state := range d.states {
				if _, has := v.states[label]; !has && v.state == Secure {
					if v.states == nil {
						v.states = map[string]State{}
					}
					v.states[label] = state
				}
			}
			all = append(all, v)
		}
	}
	return append(append(all, families()...), crossing())
}
