package iterate

import (
	"crypto/ed25519"
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// signedZone is an honest server of a signed zone. It signs with miekg/dns, so that
// nothing here vouches for itself.
type signedZone struct {
	t         *testing.T
	zone      dnsname.Name
	key       *dns.DNSKEY
	private   ed25519.PrivateKey
	records   []rdata.Record
	from, to  time.Time // of all signatures
	nsec3     int       // iterations; -1: NSEC
	optOut    bool
	change    func(q, m *dnswire.Message) // the last word, unsigned
	beforeSig func(sig *dns.RRSIG)        // what to falsify under the signature
}

func newSignedZone(t *testing.T, origin string, lines ...string) *signedZone {
	zone := dnsname.MustParse(origin)
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, origin)
	z := &signedZone{t: t, zone: zone, private: ed25519.NewKeyFromSeed(seed), nsec3: -1,
		from: worldBegin.Add(-24 * time.Hour), to: worldBegin.Add(30 * 24 * time.Hour)}
	z.key = &dns.DNSKEY{Hdr: dns.RR_Header{Name: origin, Rrtype: dns.TypeDNSKEY, Class: 1, Ttl: 3600}, Flags: 257, Protocol: 3,
		Algorithm: dns.ED25519, PublicKey: base64.StdEncoding.EncodeToString(z.private.Public().(ed25519.PublicKey))}
	z.records = append(rrs(lines...), wireRecord(t, z.key))
	return z
}

func (z *signedZone) ds() rdata.Record {
	r := wireRecord(z.t, z.key.ToDS(dns.SHA256))
	r.TTL = 3600
	return r
}

func (z *signedZone) add(records ...rdata.Record) { z.records = append(z.records, records...) }

func wireRecord(t *testing.T, rr dns.RR) rdata.Record {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	name, at, err := dnsname.FromWire(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	return rdata.Record{Name: name, Type: rdata.Type(rr.Header().Rrtype), Class: 1, TTL: rdata.TTL(rr.Header().Ttl), Data: buf[at+10 : n]}
}

func toRR(t *testing.T, r rdata.Record) dns.RR {
	t.Helper()
	rr, _, err := dns.UnpackRRWithHeader(dns.RR_Header{Name: r.Name.String(), Rrtype: uint16(r.Type), Class: 1, Ttl: uint32(r.TTL), Rdlength: uint16(len(r.Data))}, r.Data, 0)
	if err != nil {
		t.Fatal(err)
	}
	return rr
}

// sign returns the RRSIG of an RRset.
func (z *signedZone) sign(set []rdata.Record) rdata.Record {
	z.t.Helper()
	var rrs []dns.RR
	for _, r := range set {
		rrs = append(rrs, toRR(z.t, r))
	}
	sig := &dns.RRSIG{Hdr: dns.RR_Header{Ttl: uint32(set[0].TTL)}, KeyTag: z.key.KeyTag(), SignerName: z.zone.String(), Algorithm: dns.ED25519,
		Inception: uint32(z.from.Unix()), Expiration: uint32(z.to.Unix())}
	if z.beforeSig != nil {
		z.beforeSig(sig)
	}
	if err := sig.Sign(z.private, rrs); err != nil {
		z.t.Fatal(err)
	}
	return wireRecord(z.t, sig)
}

// signAll adds signatures to a section, but not to a CNAME that a DNAME makes, nor
// to the NS records of a delegation.
func (z *signedZone) signAll(section []rdata.Record) []rdata.Record {
	out := slices.Clone(section)
	for _, set := range group(section, 1000) {
		made := set.Type == rdata.TypeCNAME && findDNAME(group(section, 1000), set.Name, dnsname.Root) != nil
		if !made && !(set.Type == rdata.TypeNS && set.Name != z.zone) && set.Name.IsSubdomainOf(z.zone) {
			out = append(out, z.sign(records(set, set.TTL)))
		}
	}
	return out
}

func (z *signedZone) at(n dnsname.Name, t rdata.Type) (out []rdata.Record) {
	for _, r := range z.records {
		if r.Name == n && r.Type == t {
			out = append(out, r)
		}
	}
	return out
}

// serve is the zone's server.
func (z *signedZone) serve() responder {
	return func(q *dnswire.Message, tcp bool) [][]byte {
		m, err := dnswire.ParseMessage(serveZone(z.zone, z.records)(q, tcp)[0])
		if err != nil {
			z.t.Fatal(err)
		}
		if q.EDNS.DO && !z.expand(q, m) {
			z.decorate(q, m)
		}
		if z.change != nil {
			z.change(q, m)
		}
		return wire(m)
	}
}

// expand answers from a wildcard, if one stands for the name, with its records of the type
// or its alias, and reports whether it did.
func (z *signedZone) expand(q, m *dnswire.Message) bool {
	name, types := q.Question.Name, z.owners()
	if !m.AA || len(m.Answer) > 0 || m.Rcode != dnswire.RcodeNXDomain || z.exists(types, name) {
		return false
	}
	next, encloser := name, name.Parent()
	for !z.exists(types, encloser) {
		next, encloser = encloser, encloser.Parent()
	}
	wildcard, err := encloser.Child("*")
	if err != nil {
		z.t.Fatal(err)
	}
	set := z.at(wildcard, q.Question.Type)
	if len(set) == 0 {
		set = z.at(wildcard, rdata.TypeCNAME)
	}
	cover := func() rdata.Record {
		if z.nsec3 < 0 {
			return z.nsecAt(types, name)
		}
		return z.nsec3At(types, next)
	}
	switch {
	case len(set) > 0:
		m.Authority = z.signAll([]rdata.Record{cover()})
		for _, r := range append(set, z.sign(set)) {
			r.Name = name
			m.Answer = append(m.Answer, r)
		}
	case len(types[wildcard]) > 0: // it has other types
		m.Authority = append(m.Authority, cover(), z.nsecOf(types, wildcard))
		if z.nsec3 >= 0 {
			m.Authority = append(m.Authority, z.nsec3At(types, encloser))
		}
		m.Authority = z.signAll(m.Authority)
	default:
		return false
	}
	m.Rcode = dnswire.RcodeNoError
	return true
}

func (z *signedZone) nsecOf(types map[dnsname.Name][]uint16, name dnsname.Name) rdata.Record {
	if z.nsec3 < 0 {
		return z.nsecAt(types, name)
	}
	return z.nsec3At(types, name)
}

func (z *signedZone) decorate(q, m *dnswire.Message) {
	switch {
	case !m.AA && len(m.Authority) > 0: // a referral
		cut := m.Authority[0].Name
		if ds := z.at(cut, rdata.TypeDS); len(ds) > 0 {
			m.Authority = append(append(m.Authority, ds...), z.sign(ds))
		} else {
			m.Authority = append(m.Authority, z.signAll(z.deny(cut, false))...)
		}
	case len(m.Authority) > 0: // SOA
		m.Authority = z.signAll(append(m.Authority, z.deny(q.Question.Name, m.Rcode == dnswire.RcodeNXDomain)...))
	}
	m.Answer = z.signAll(m.Answer)
}

// owners returns the names of the zone with their types, without glue.
func (z *signedZone) owners() map[dnsname.Name][]uint16 {
	types := map[dnsname.Name][]uint16{}
	for _, r := range z.records {
		below := false
		for n := r.Name.Parent(); n.IsSubdomainOf(z.zone) && n != z.zone; n = n.Parent() {
			below = below || len(z.at(n, rdata.TypeNS)) > 0
		}
		if cut := r.Name != z.zone && len(z.at(r.Name, rdata.TypeNS)) > 0; below || cut && r.Type != rdata.TypeNS && r.Type != rdata.TypeDS {
			continue
		}
		if !slices.Contains(types[r.Name], uint16(r.Type)) {
			types[r.Name] = append(types[r.Name], uint16(r.Type))
		}
	}
	return types
}

// deny returns the NSEC or NSEC3 records about a name.
func (z *signedZone) deny(name dnsname.Name, nx bool) []rdata.Record {
	types := z.owners()
	encloser := name
	for !nx == false && !z.exists(types, encloser) {
		encloser = encloser.Parent()
	}
	wildcard, err := encloser.Child("*")
	if err != nil {
		z.t.Fatal(err)
	}
	var out []rdata.Record
	add := func(r rdata.Record) {
		if !slices.ContainsFunc(out, func(o rdata.Record) bool { return o.Name == r.Name }) {
			out = append(out, r)
		}
	}
	if z.nsec3 < 0 {
		add(z.nsecAt(types, name))
		if nx {
			add(z.nsecAt(types, wildcard))
		}
		return out
	}
	if z.optOut {
		for n := range types {
			if n != z.zone && slices.Contains(types[n], dns.TypeNS) && !slices.Contains(types[n], dns.TypeDS) {
				delete(types, n)
			}
		}
	}
	if _, ok := types[name]; ok {
		add(z.nsec3At(types, name))
		return out
	}
	for encloser = name; !z.exists(types, encloser); {
		encloser = encloser.Parent()
	}
	add(z.nsec3At(types, encloser))
	if encloser != name {
		add(z.nsec3At(types, name.Ancestor(encloser.Labels()+1)))
	}
	if nx {
		add(z.nsec3At(types, wildcard))
	}
	return out
}

func (z *signedZone) exists(types map[dnsname.Name][]uint16, n dnsname.Name) bool {
	for owner := range types {
		if owner.IsSubdomainOf(n) {
			return true
		}
	}
	return false
}

// nsecAt returns the NSEC record that matches or covers name.
func (z *signedZone) nsecAt(types map[dnsname.Name][]uint16, name dnsname.Name) rdata.Record {
	var names []dnsname.Name
	for n := range types {
		names = append(names, n)
	}
	slices.SortFunc(names, dnsname.Name.Compare)
	i := len(names) - 1
	for i > 0 && names[i].Compare(name) > 0 {
		i--
	}
	rr := &dns.NSEC{Hdr: dns.RR_Header{Name: names[i].String(), Rrtype: dns.TypeNSEC, Class: 1, Ttl: 300}, NextDomain: names[(i+1)%len(names)].String()}
	rr.TypeBitMap = append(slices.Clone(types[names[i]]), dns.TypeRRSIG, dns.TypeNSEC)
	slices.Sort(rr.TypeBitMap)
	return wireRecord(z.t, rr)
}

// nsec3At returns the NSEC3 record that matches or covers name.
func (z *signedZone) nsec3At(types map[dnsname.Name][]uint16, name dnsname.Name) rdata.Record {
	hash := func(n dnsname.Name) string {
		return strings.ToLower(dns.HashName(n.String(), dns.SHA1, uint16(z.nsec3), ""))
	}
	byHash := map[string]dnsname.Name{}
	var hashes []string
	for n := range types {
		for ; n.IsSubdomainOf(z.zone); n = n.Parent() {
			if _, ok := byHash[hash(n)]; !ok {
				byHash[hash(n)], hashes = n, append(hashes, hash(n))
			}
		}
	}
	slices.Sort(hashes)
	i := len(hashes) - 1
	for j, h := range hashes {
		if h <= hash(name) {
			i = j
		}
	}
	flags := uint8(0)
	if z.optOut {
		flags = 1
	}
	rr := &dns.NSEC3{Hdr: dns.RR_Header{Name: hashes[i] + "." + z.zone.String(), Rrtype: dns.TypeNSEC3, Class: 1, Ttl: 300},
		Hash: 1, Flags: flags, Iterations: uint16(z.nsec3), HashLength: 20, NextDomain: hashes[(i+1)%len(hashes)]}
	rr.TypeBitMap = slices.Sorted(slices.Values(types[byHash[hashes[i]]]))
	return wireRecord(z.t, rr)
}

// signedWorld is root, com. and example.com., all signed, and plain.com., which is
// not.
type signedWorld struct {
	*world
	root, com, example *signedZone
}

func newSignedWorld(t *testing.T) *signedWorld {
	w := &signedWorld{world: newWorld(t)}
	w.example = newSignedZone(t, "example.com.", "example.com. 900 SOA", "example.com. 3600 NS ns.example.com.", "ns.example.com. 3600 A 192.0.2.3",
		"www.example.com. 300 A 203.0.113.1", "alias.example.com. 300 CNAME www.example.com.", "away.example.com. 300 CNAME www.plain.com.",
		"d.example.com. 300 DNAME example.com.", "a.ent.example.com. 300 TXT x")
	w.com = newSignedZone(t, "com.", "com. 900 SOA", "com. 3600 NS ns.com.", "ns.com. 3600 A 192.0.2.2",
		"example.com. 3600 NS ns.example.com.", "ns.example.com. 3600 A 192.0.2.3", "plain.com. 3600 NS ns.plain.com.", "ns.plain.com. 3600 A 192.0.2.4")
	w.com.add(w.example.ds())
	w.root = newSignedZone(t, ".", ". 900 SOA", ". 3600 NS a.root.", "a.root. 3600 A "+rootAddr, "com. 3600 NS ns.com.", "ns.com. 3600 A 192.0.2.2")
	w.root.add(w.com.ds())
	w.servers[rootAddr], w.servers["192.0.2.2"], w.servers["192.0.2.3"] = w.root.serve(), w.com.serve(), w.example.serve()
	w.servers["192.0.2.4"] = authority("plain.com.", "plain.com. 900 SOA", "plain.com. 3600 NS ns.plain.com.", "ns.plain.com. 3600 A 192.0.2.4", "www.plain.com. 300 A 203.0.113.4")
	w.begin(nil)
	return w
}

// begin makes a new resolver, with an empty cache.
func (w *signedWorld) begin(change func(*Config)) {
	w.cache = rrcache.New(w.now, rrcache.Limits{})
	cfg := Config{Hints: rrs(". 518400 NS a.root.", "a.root. 518400 A "+rootAddr), Rand: rand.New(rand.NewChaCha8([32]byte{7})), Cache: w.cache,
		Validate: true, Anchors: []rdata.Record{w.root.ds()}}
	if change != nil {
		change(&cfg)
	}
	w.r = New(cfg)
	w.sent, w.asked = nil, nil
}

// query asks with flags: any of DO, AD, CD.
func (w *signedWorld) query(name, t string, flags ...string) Answer {
	w.t.Helper()
	w.tokens++
	qtype, _ := rdata.ParseType(t)
	w.step(Ask{Token: w.tokens, Name: dnsname.MustParse(name), Type: qtype, Trace: true,
		DO: slices.Contains(flags, "DO"), AD: slices.Contains(flags, "AD"), CD: slices.Contains(flags, "CD")})
	w.run()
	return w.answers[w.tokens]
}

// wantState checks the state of an answer, its RCODE, and that it begins with these records.
func (w *signedWorld) wantState(a Answer, state rrcache.State, want string) {
	w.t.Helper()
	if got := render(a); a.State != state || !strings.HasPrefix(got, want) {
		w.t.Errorf("%v (%s): %s, %v\nwant %v: %s", a.State, a.Why, got, a.Errors, state, want)
		for _, s := range a.Trace {
			w.t.Log(s)
		}
	}
}

// wantBogus checks that it is SERVFAIL with this extended error.
func (w *signedWorld) wantBogus(a Answer, code dnswire.EDE, text string) {
	w.t.Helper()
	if a.Rcode != dnswire.RcodeServFail || len(a.Errors) != 1 || a.Errors[0].Code != code || !strings.Contains(a.Errors[0].Text, text) || len(a.Answer) > 0 || a.AD {
		w.t.Errorf("%s, %v; want SERVFAIL, %v %q", render(a), a.Errors, code, text)
		for _, s := range a.Trace {
			w.t.Log(s)
		}
	}
}
