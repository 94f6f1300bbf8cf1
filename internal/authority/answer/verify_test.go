package answer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
)

// verifier is a validating resolver's view of responses from one signed zone, made
// from RFC 4035 §5 and RFC 5155 §8 without a look at the code that answers. It
// knows the zone's keys, and which of its RRsets have signatures, to tell what is
// missing from what never was.
type verifier struct {
	origin dnsname.Name
	keys   []*dns.DNSKEY
	signed map[string]bool // "owner TYPE"
	exists map[string]bool // owners, and empty non-terminals
}

func newVerifier(origin string, zone []dns.RR) *verifier {
	v := &verifier{origin: dnsname.MustParse(origin), signed: map[string]bool{}, exists: map[string]bool{}}
	for _, rr := range zone {
		switch rr := rr.(type) {
		case *dns.DNSKEY:
			v.keys = append(v.keys, rr)
		case *dns.RRSIG:
			v.signed[setID(rr.Hdr.Name, rr.TypeCovered)] = true
		}
		owner := strings.ToLower(rr.Header().Name)
		for at, end := 0, false; !end; at, end = dns.NextLabel(owner, at) {
			v.exists[owner[at:]] = true
		}
	}
	return v
}

func setID(owner string, t uint16) string { return strings.ToLower(owner) + " " + dns.TypeToString[t] }

// verdict is what the verifier concludes from a response.
type verdict struct {
	Kind   string // answer, nodata, nxdomain, referral, partial
	OptOut bool   // insecure, for an NSEC3 record with opt-out covers the name
}

// verify checks a response to a question and returns what it proves.
func (v *verifier) verify(m *dns.Msg, qtype uint16) (verdict, error) {
	d := denials{v: v}
	var expanded []*dns.RRSIG
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		sigs, err := v.verifySection(section)
		if err != nil {
			return verdict{}, err
		}
		expanded = append(expanded, sigs...)
	}
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.NSEC:
			d.nsec = append(d.nsec, rr)
		case *dns.NSEC3:
			d.nsec3 = append(d.nsec3, rr)
		}
	}
	for _, sig := range expanded {
		if err := d.provesExpansion(sig); err != nil {
			return verdict{}, err
		}
	}
	got, err := v.conclude(m, qtype, &d)
	got.OptOut = d.optOut
	return got, err
}

// verifySection checks that each RRset that should have signatures has them, that
// each signature is good, and returns those of wildcards.
func (v *verifier) verifySection(section []dns.RR) (expanded []*dns.RRSIG, err error) {
	sets, covered := map[string][]dns.RR{}, map[string]bool{}
	for _, rr := range section {
		if h := rr.Header(); h.Rrtype != dns.TypeRRSIG && h.Rrtype != dns.TypeOPT {
			sets[setID(h.Name, h.Rrtype)] = append(sets[setID(h.Name, h.Rrtype)], rr)
		}
	}
	for _, rr := range section {
		sig, ok := rr.(*dns.RRSIG)
		if !ok {
			continue
		}
		id := setID(sig.Hdr.Name, sig.TypeCovered)
		set := sets[id]
		if len(set) == 0 {
			return nil, fmt.Errorf("a signature of %s, which is not there", id)
		}
		if sig.Hdr.Ttl != set[0].Header().Ttl {
			return nil, fmt.Errorf("%s has TTL %d, its signature %d (RFC 4034 §3)", id, set[0].Header().Ttl, sig.Hdr.Ttl)
		}
		if err := v.verifySignature(sig, set); err != nil {
			return nil, fmt.Errorf("%s: %w", id, err)
		}
		covered[id] = true
		if owner := sig.Hdr.Name; int(sig.Labels) < dns.CountLabel(owner) && !strings.HasPrefix(owner, "*.") {
			expanded = append(expanded, sig)
		}
	}
	for id, set := range sets {
		if !covered[id] && v.mustBeSigned(section, set[0]) {
			return nil, fmt.Errorf("%s has no signature", id)
		}
	}
	return expanded, nil
}

func (v *verifier) verifySignature(sig *dns.RRSIG, set []dns.RR) error {
	for _, key := range v.keys {
		if key.KeyTag() == sig.KeyTag && key.Algorithm == sig.Algorithm {
			original := make([]dns.RR, len(set))
			for i, rr := range set { // Verify wants the TTL that was signed; in a denial it is lowered
				original[i] = dns.Copy(rr)
				original[i].Header().Ttl = sig.OrigTtl
			}
			if err := sig.Verify(key, original); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("no key verifies %v", sig)
}

// mustBeSigned reports whether an RRset without signatures lacks them. The zone is
// asked what it has, at the name or at a wildcard above it; a CNAME that a DNAME
// made has none (RFC 6672 §5.3.1).
func (v *verifier) mustBeSigned(section []dns.RR, rr dns.RR) bool {
	owner, t := strings.ToLower(rr.Header().Name), rr.Header().Rrtype
	if v.signed[setID(owner, t)] {
		return true
	}
	for _, other := range section {
		if d, ok := other.(*dns.DNAME); ok && t == dns.TypeCNAME && dns.IsSubDomain(d.Hdr.Name, owner) {
			return false
		}
	}
	if v.exists[owner] {
		return false
	}
	for at, end := 0, false; !end; at, end = dns.NextLabel(owner, at) {
		if v.exists[owner[at:]] {
			return v.signed[setID("*."+owner[at:], t)]
		}
	}
	return false
}

// conclude follows the aliases of a response whose signatures are good, and checks
// that what it says of the last name is proved.
func (v *verifier) conclude(m *dns.Msg, qtype uint16, d *denials) (verdict, error) {
	name := dnsname.MustParse(m.Question[0].Name)
	for range m.Answer {
		for _, rr := range m.Answer {
			if c, ok := rr.(*dns.CNAME); ok && qtype != dns.TypeCNAME && qtype != dns.TypeANY && same(c.Hdr.Name, name) {
				name = dnsname.MustParse(c.Target)
			}
		}
	}
	for _, rr := range m.Answer {
		if h := rr.Header(); same(h.Name, name) && (h.Rrtype == qtype || qtype == dns.TypeANY) {
			return verdict{Kind: "answer"}, nil
		}
	}
	if m.Rcode == dns.RcodeNameError {
		return verdict{Kind: "nxdomain"}, d.provesNoName(name)
	}
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			return verdict{Kind: "nodata"}, d.provesNoType(name, qtype)
		case *dns.NS:
			if slices.ContainsFunc(m.Ns, func(o dns.RR) bool { return o.Header().Rrtype == dns.TypeDS && o.Header().Name == rr.Hdr.Name }) {
				return verdict{Kind: "referral"}, nil
			}
			return verdict{Kind: "referral"}, d.provesInsecure(dnsname.MustParse(rr.Hdr.Name))
		}
	}
	if !name.IsSubdomainOf(v.origin) || len(m.Answer) > 0 {
		return verdict{Kind: "partial"}, nil
	}
	return verdict{}, fmt.Errorf("a response that says nothing of %s", name)
}

func same(text string, n dnsname.Name) bool { return dnsname.MustParse(text) == n }

// denials are the verified denying records of one response.
type denials struct {
	v      *verifier
	nsec   []*dns.NSEC
	nsec3  []*dns.NSEC3
	optOut bool // a proof rested on a record with opt-out
}

// hasType reports whether a type is in a bit map.
func hasType(bits []uint16, t uint16) bool { return slices.Contains(bits, t) }

// covering returns the NSEC record that proves that n does not exist.
func (d *denials) covering(n dnsname.Name) *dns.NSEC {
	for _, r := range d.nsec {
		owner, next := dnsname.MustParse(r.Hdr.Name), dnsname.MustParse(r.NextDomain)
		if n.IsSubdomainOf(owner) && n != owner && (hasType(r.TypeBitMap, dns.TypeDNAME) || hasType(r.TypeBitMap, dns.TypeNS) && !hasType(r.TypeBitMap, dns.TypeSOA)) {
			continue // RFC 6840 §4.1
		}
		if owner.Compare(n) < 0 && (n.Compare(next) < 0 || next == d.v.origin) {
			return r
		}
	}
	return nil
}

func (d *denials) matching(n dnsname.Name) *dns.NSEC {
	for _, r := range d.nsec {
		if same(r.Hdr.Name, n) {
			return r
		}
	}
	return nil
}

// encloserOf returns the closest encloser of a name that r covers: the longer of
// what it has in common with the names that r says exist.
func encloserOf(r *dns.NSEC, n dnsname.Name) dnsname.Name {
	a, b := n.CommonAncestor(dnsname.MustParse(r.Hdr.Name)), n.CommonAncestor(dnsname.MustParse(r.NextDomain))
	if a.Len() > b.Len() {
		return a
	}
	return b
}

func star(n dnsname.Name) dnsname.Name {
	child, err := n.Child("*")
	if err != nil {
		panic(err)
	}
	return child
}

func (d *denials) match3(n dnsname.Name) *dns.NSEC3 {
	for _, r := range d.nsec3 {
		if r.Match(n.String()) {
			return r
		}
	}
	return nil
}

func (d *denials) cover3(n dnsname.Name) *dns.NSEC3 {
	for _, r := range d.nsec3 {
		if r.Cover(n.String()) {
			return r
		}
	}
	return nil
}

// encloser3 is the closest encloser proof of RFC 5155 §8.3.
func (d *denials) encloser3(n dnsname.Name) (encloser dnsname.Name, next *dns.NSEC3, err error) {
	for c, a := n, n.Parent(); !a.IsZero(); c, a = a, a.Parent() {
		r := d.match3(a)
		if r == nil {
			continue
		}
		if hasType(r.TypeBitMap, dns.TypeDNAME) || hasType(r.TypeBitMap, dns.TypeNS) && !hasType(r.TypeBitMap, dns.TypeSOA) {
			return a, nil, fmt.Errorf("the closest encloser %s of %s is a delegation or DNAME", a, n)
		}
		if next = d.cover3(c); next == nil {
			return a, nil, fmt.Errorf("no NSEC3 covers the next closer name %s", c)
		}
		d.optOut = d.optOut || next.Flags&1 != 0
		return a, next, nil
	}
	return dnsname.Name{}, nil, fmt.Errorf("no NSEC3 matches an ancestor of %s", n)
}

// provesNoName: RFC 4035 §5.4, RFC 5155 §8.4.
func (d *denials) provesNoName(n dnsname.Name) error {
	if len(d.nsec3) > 0 {
		encloser, _, err := d.encloser3(n)
		if err == nil && d.cover3(star(encloser)) == nil {
			err = fmt.Errorf("no NSEC3 covers %s", star(encloser))
		}
		return err
	}
	r := d.covering(n)
	if r == nil {
		return fmt.Errorf("no NSEC covers %s in %v", n, d.nsec)
	}
	if w := star(encloserOf(r, n)); d.covering(w) == nil {
		return fmt.Errorf("no NSEC covers %s in %v", w, d.nsec)
	}
	return nil
}

// provesNoType: RFC 4035 §5.4, RFC 5155 §8.5 to §8.7.
func (d *denials) provesNoType(n dnsname.Name, t uint16) error {
	if len(d.nsec3) > 0 {
		return d.provesNoType3(n, t)
	}
	if r := d.matching(n); r != nil {
		return lacks(n, r.TypeBitMap, t)
	}
	r := d.covering(n)
	if r == nil {
		return fmt.Errorf("no NSEC matches or covers %s in %v", n, d.nsec)
	}
	if dnsname.MustParse(r.NextDomain).IsSubdomainOf(n) {
		return nil // an empty non-terminal
	}
	w := star(encloserOf(r, n))
	if r := d.matching(w); r != nil {
		return lacks(w, r.TypeBitMap, t)
	}
	if r := d.covering(w); r != nil && dnsname.MustParse(r.NextDomain).IsSubdomainOf(w) {
		return nil
	}
	return fmt.Errorf("no NSEC matches %s in %v", w, d.nsec)
}

func (d *denials) provesNoType3(n dnsname.Name, t uint16) error {
	if r := d.match3(n); r != nil {
		return lacks(n, r.TypeBitMap, t)
	}
	encloser, next, err := d.encloser3(n)
	if err != nil {
		return err
	}
	if r := d.match3(star(encloser)); r != nil {
		return lacks(star(encloser), r.TypeBitMap, t)
	}
	if next.Flags&1 == 0 {
		return fmt.Errorf("%s is neither matched, nor covered with opt-out", n)
	}
	return nil
}

// lacks reports an error unless a bit map proves that its owner has neither the
// type nor an alias, as far as the zone can say (RFC 6840 §4.1 and §4.3).
func lacks(n dnsname.Name, bits []uint16, t uint16) error {
	switch {
	case hasType(bits, t):
		return fmt.Errorf("%s has type %s", n, dns.TypeToString[t])
	case hasType(bits, dns.TypeCNAME):
		return fmt.Errorf("%s is an alias", n)
	case hasType(bits, dns.TypeNS) && !hasType(bits, dns.TypeSOA) && t != dns.TypeDS:
		return fmt.Errorf("%s is delegated", n)
	}
	return nil
}

// provesInsecure: the delegation at n has no DS (RFC 4035 §5.2, RFC 5155 §8.9).
func (d *denials) provesInsecure(n dnsname.Name) error {
	var bits []uint16
	if r := d.matching(n); r != nil {
		bits = r.TypeBitMap
	} else if r := d.match3(n); r != nil {
		bits = r.TypeBitMap
	} else {
		if len(d.nsec3) == 0 {
			return fmt.Errorf("no NSEC matches the cut %s", n)
		}
		_, next, err := d.encloser3(n)
		if err == nil && next.Flags&1 == 0 {
			err = fmt.Errorf("the cut %s is covered without opt-out", n)
		}
		return err
	}
	if !hasType(bits, dns.TypeNS) || hasType(bits, dns.TypeDS) || hasType(bits, dns.TypeSOA) {
		return fmt.Errorf("cut %s with types %v", n, bits)
	}
	return nil
}

// provesExpansion: no name is closer than the wildcard that sig is of
// (RFC 4035 §5.3.4, RFC 5155 §8.8).
func (d *denials) provesExpansion(sig *dns.RRSIG) error {
	n := dnsname.MustParse(sig.Hdr.Name)
	if len(d.nsec3) > 0 {
		next := n.Ancestor(int(sig.Labels) + 1)
		r := d.cover3(next)
		if r == nil {
			return fmt.Errorf("no NSEC3 covers %s, the next closer name of an expansion", next)
		}
		d.optOut = d.optOut || r.Flags&1 != 0
		return nil
	}
	r := d.covering(n)
	if r == nil {
		return fmt.Errorf("no NSEC covers the expanded %s", n)
	}
	if got := encloserOf(r, n).Labels(); got != int(sig.Labels) {
		return fmt.Errorf("%s is expanded from %d labels, but its closest encloser has %d", n, sig.Labels, got)
	}
	return nil
}
