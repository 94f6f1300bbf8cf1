package judges

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/authority/sign"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// Offsets in RRSIG RDATA (RFC 4034 §3.1).
const (
	sigAlgorithm = 2
	sigLabels    = 3
	sigTTL       = 4
	sigTag       = 16
)

func covered(r rdata.Record) rdata.Type {
	if r.Type != rdata.TypeRRSIG {
		return 0
	}
	return rdata.Type(binary.BigEndian.Uint16(r.Data))
}

// alter gives the RRSIG records that pick chooses to change, which returns the new RDATA
// or nil for none.
func (p *planting) alter(pick func(rdata.Record) bool, change func(data []byte) []byte) {
	var out []rdata.Record
	for _, r := range p.records {
		if r.Type == rdata.TypeRRSIG && pick(r) {
			if r.Data = change(bytes.Clone(r.Data)); r.Data == nil {
				continue
			}
		}
		out = append(out, r)
	}
	p.records = out
}

func (p *planting) drop(pick func(rdata.Record) bool) { p.records = slices.DeleteFunc(p.records, pick) }

func (p *planting) at(label string) dnsname.Name {
	if label == "" {
		return p.zone.Name
	}
	return dnsname.MustParse(label + "." + p.zone.Name.String())
}

// sigs chooses the signatures of a type at a name.
func (p *planting) sigs(label string, t rdata.Type) func(rdata.Record) bool {
	name := p.at(label)
	return func(r rdata.Record) bool { return r.Name == name && covered(r) == t }
}

func isDenial(t rdata.Type) bool { return t == rdata.TypeNSEC || t == rdata.TypeNSEC3 }

func remove([]byte) []byte { return nil }

// spoil changes the last octet, which is one of the signature.
func spoil(data []byte) []byte {
	data[len(data)-1] ^= 1
	return data
}

func set(at int, value byte) func([]byte) []byte {
	return func(data []byte) []byte {
		data[at] = value
		return data
	}
}

// resign makes the signatures of a set anew, by the key that signs the zone.
func (p *planting) resign(name dnsname.Name, t rdata.Type, from, until time.Duration) {
	s := rdata.RRset{Name: name, Type: t, Class: rdata.ClassIN}
	for _, r := range p.records {
		if r.Name == name && r.Type == t {
			s.TTL, s.Data = r.TTL, append(s.Data, r.Data)
		}
	}
	k := p.keys[len(p.keys)-1]
	if t == rdata.TypeDNSKEY {
		k = p.keys[0]
	}
	data, err := k.SignRRset(s, p.zone.Name, p.now.Add(from), p.now.Add(until))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	p.drop(func(r rdata.Record) bool { return r.Name == name && covered(r) == t })
	p.records = append(p.records, rdata.Record{Name: name, Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: s.TTL, Data: data})
}

// digest returns the DS record of the zone's first key, changed.
func digest(p *planting, digestType uint8, change func([]byte)) rdata.Record {
	data, err := p.keys[0].DS(p.zone.Name, digestType)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if change != nil {
		change(data)
	}
	return rdata.Record{Name: p.zone.Name, Type: rdata.TypeDS, Class: rdata.ClassIN, TTL: 3600, Data: data}
}

func ds(digestType uint8, change func([]byte)) func(*planting) []rdata.Record {
	return func(p *planting) []rdata.Record { return []rdata.Record{digest(p, digestType, change)} }
}

func both(all ...func(*planting) []rdata.Record) func(*planting) []rdata.Record {
	return func(p *planting) (out []rdata.Record) {
		for _, one := range all {
			out = append(out, one(p)...)
		}
		return out
	}
}

func wrong(data []byte) { data[len(data)-1] ^= 1 }

func as(at int, value byte) func([]byte) { return func(data []byte) { data[at] = value } }

// alsoTXT adds TXT to the types of every name, and signs that: a zone that contradicts
// itself.
func alsoTXT(p *planting) {
	var denials []rdata.Record
	for i, r := range p.records {
		if !isDenial(r.Type) {
			continue
		}
		rr, _, err := dns.UnpackRRWithHeader(dns.RR_Header{Name: r.Name.String(), Rrtype: uint16(r.Type), Class: 1, Rdlength: uint16(len(r.Data))}, r.Data, 0)
		if err != nil {
			panic("BUG: " + err.Error())
		}
		add := func(types []uint16) []uint16 {
			types = append(types, dns.TypeTXT)
			slices.Sort(types)
			return slices.Compact(types)
		}
		switch rr := rr.(type) {
		case *dns.NSEC:
			rr.TypeBitMap = add(rr.TypeBitMap)
		case *dns.NSEC3:
			rr.TypeBitMap = add(rr.TypeBitMap)
		}
		p.records[i].Data = packed(rr)
		denials = append(denials, p.records[i])
	}
	for _, r := range denials {
		p.resign(r.Name, r.Type, -time.Hour, 240*time.Hour)
	}
}

func packed(rr dns.RR) []byte {
	buf := make([]byte, 4096)
	n, err := dns.PackRR(rr, buf, 0, nil, false)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	_, at, err := dnsname.FromWire(buf[:n])
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return buf[at+10 : n]
}

// withoutDenial takes NSEC and NSEC3 records with their signatures out of answers that have
// an answer section: the proof that nothing nearer than a wildcard exists.
func withoutDenial(_, m *dns.Msg) {
	if len(m.Answer) == 0 {
		return
	}
	m.Ns = slices.DeleteFunc(m.Ns, func(rr dns.RR) bool {
		if sig, ok := rr.(*dns.RRSIG); ok {
			return isDenial(rdata.Type(sig.TypeCovered))
		}
		return isDenial(rdata.Type(rr.Header().Rrtype))
	})
}

func withoutSignatures(_, m *dns.Msg) {
	for _, section := range []*[]dns.RR{&m.Answer, &m.Ns} {
		*section = slices.DeleteFunc(*section, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeRRSIG })
	}
}

// variants are what can be right or wrong with one zone, whatever its denials.
func variants() []spec {
	const older, newer = -60 * 24 * time.Hour, 60 * 24 * time.Hour
	code := func(e dnswire.EDE) uint16 { return uint16(e) }
	www := map[string]State{"positive": Bogus, "alias": Bogus}
	denialsBogus := each(denied, Bogus)
	return []spec{
		{name: "single", single: true},
		{name: "no-sep", single: true, key: func(k *sign.Key) { k.Flags = 256 }},
		{name: "expired", shift: older, state: Bogus, ede: code(dnswire.EDESignatureExpired)},
		{name: "future", shift: newer, state: Bogus, ede: code(dnswire.EDESignatureNotYetValid)},
		{name: "www-expired", states: www, ede: code(dnswire.EDESignatureExpired), fault: func(p *planting) { p.resign(p.at("www"), rdata.TypeA, older, older/2) }},
		{name: "www-future", states: www, ede: code(dnswire.EDESignatureNotYetValid), fault: func(p *planting) { p.resign(p.at("www"), rdata.TypeA, newer/2, newer) }},
		{name: "www-inverted", states: www, ede: code(dnswire.EDESignatureInverted), fault: func(p *planting) { p.resign(p.at("www"), rdata.TypeA, time.Hour, -time.Hour) }},
		{name: "www-unsigned", states: www, ede: code(dnswire.EDERRSIGsMissing), fault: func(p *planting) { p.alter(p.sigs("www", rdata.TypeA), remove) }},
		{name: "www-spoilt", states: www, ede: code(dnswire.EDEDNSSECBogus), fault: func(p *planting) { p.alter(p.sigs("www", rdata.TypeA), spoil) }},
		{name: "www-tag", states: www, ede: code(dnswire.EDEDNSKEYMissing), fault: func(p *planting) {
			p.alter(p.sigs("www", rdata.TypeA), func(d []byte) []byte { d[sigTag] ^= 0x55; return d })
		}},
		{name: "www-algorithm", states: www, ede: code(dnswire.EDEUnsupportedDNSKEYAlgorithm), fault: func(p *planting) { p.alter(p.sigs("www", rdata.TypeA), set(sigAlgorithm, 200)) }},
		{name: "www-labels-less", states: www, ede: code(dnswire.EDEDNSSECBogus), fault: func(p *planting) {
			p.alter(p.sigs("www", rdata.TypeA), func(d []byte) []byte { d[sigLabels]--; return d })
		}},
		{name: "www-labels-more", states: www, ede: code(dnswire.EDEDNSSECBogus), fault: func(p *planting) {
			p.alter(p.sigs("www", rdata.TypeA), func(d []byte) []byte { d[sigLabels]++; return d })
		}},
		{name: "www-ttl", fault: func(p *planting) { // a TTL above the signed one (RFC 4035 §5.3.3)
			for i, r := range p.records {
				if r.Name == p.at("www") && r.Type == rdata.TypeA {
					p.records[i].TTL *= 2
				}
			}
		}},
		{name: "www-two-signatures", fault: func(p *planting) {
			var more []rdata.Record
			p.alter(p.sigs("www", rdata.TypeA), func(d []byte) []byte {
				more = append(more, rdata.Record{Name: p.at("www"), Type: rdata.TypeRRSIG, Class: rdata.ClassIN, TTL: 3600, Data: spoil(bytes.Clone(d))})
				return d
			})
			p.records = append(more, p.records...)
		}},
		{name: "keys-unsigned", state: Bogus, ede: code(dnswire.EDERRSIGsMissing), fault: func(p *planting) { p.alter(p.sigs("", rdata.TypeDNSKEY), remove) }},
		{name: "keys-spoilt", state: Bogus, ede: code(dnswire.EDEDNSSECBogus), fault: func(p *planting) { p.alter(p.sigs("", rdata.TypeDNSKEY), spoil) }},
		{name: "keys-expired", state: Bogus, ede: code(dnswire.EDESignatureExpired), fault: func(p *planting) { p.resign(p.zone.Name, rdata.TypeDNSKEY, older, older/2) }},
		{name: "keys-absent", state: Bogus, ede: code(dnswire.EDEDNSKEYMissing), fault: func(p *planting) {
			p.drop(func(r rdata.Record) bool { return r.Type == rdata.TypeDNSKEY || covered(r) == rdata.TypeDNSKEY })
		}},
		{name: "keys-zsk-absent", state: Bogus, states: map[string]State{"dnskey": Secure}, ede: code(dnswire.EDEDNSKEYMissing), fault: func(p *planting) {
			zsk := p.keys[1].RDATA()
			p.drop(func(r rdata.Record) bool { return r.Type == rdata.TypeDNSKEY && bytes.Equal(r.Data, zsk) })
			p.resign(p.zone.Name, rdata.TypeDNSKEY, -time.Hour, 240*time.Hour)
		}},
		{name: "all-unsigned", state: Bogus, fault: func(p *planting) { p.alter(func(rdata.Record) bool { return true }, remove) }},
		{name: "soa-spoilt", states: map[string]State{"soa": Bogus, "nodata": Bogus, "nxdomain": Bogus, "nxdomain below": Bogus, "wildcard nodata": Bogus, "empty non-terminal": Bogus},
			ede: code(dnswire.EDEDNSSECBogus), fault: func(p *planting) { p.alter(p.sigs("", rdata.TypeSOA), spoil) }},
		{name: "denial-absent", states: denialsBogus, ede: code(dnswire.EDENSECMissing), fault: func(p *planting) {
			p.drop(func(r rdata.Record) bool { return isDenial(r.Type) || isDenial(covered(r)) })
		}},
		{name: "denial-unsigned", states: denialsBogus, fault: func(p *planting) {
			p.alter(func(r rdata.Record) bool { return isDenial(covered(r)) }, remove)
		}},
		{name: "denial-spoilt", states: denialsBogus, ede: code(dnswire.EDEDNSSECBogus), fault: func(p *planting) {
			p.alter(func(r rdata.Record) bool { return isDenial(covered(r)) }, spoil)
		}},
		{name: "denial-also-txt", states: map[string]State{"nodata": Bogus, "wildcard nodata": Bogus}, ede: code(dnswire.EDEDNSSECBogus), fault: alsoTXT},
		{name: "wildcard-unproven", states: map[string]State{"wildcard": Bogus, "wildcard below": Bogus}, ede: code(dnswire.EDENSECMissing), tamper: withoutDenial},
		{name: "stripped", state: Bogus, tamper: withoutSignatures},
	}
}

// links are what can be right or wrong between a zone and its parent.
func links() []spec {
	code := func(e dnswire.EDE) uint16 { return uint16(e) }
	insecure := map[string]State{}
	first := []uint8{dnssec.ECDSAP256, dnssec.Ed25519}
	return []spec{
		{name: "ds-digest", dsOf: ds(2, wrong), state: Bogus, ede: code(dnswire.EDEDNSKEYMissing)},
		{name: "ds-tag", dsOf: ds(2, func(d []byte) { d[0] ^= 0x55 }), state: Bogus, ede: code(dnswire.EDEDNSKEYMissing)},
		{name: "ds-algorithm", dsOf: ds(2, as(2, dnssec.Ed25519)), state: Bogus, ede: code(dnswire.EDEDNSKEYMissing)},
		{name: "ds-sha1", dsOf: ds(1, nil)},
		{name: "ds-sha384", dsOf: ds(4, nil)},
		{name: "ds-unknown-digest", dsOf: ds(2, as(3, 200)), state: Insecure, states: insecure, ede: code(dnswire.EDEUnsupportedDSDigest)},
		{name: "ds-unknown-algorithm", dsOf: ds(2, as(2, 200)), state: Insecure, states: insecure, ede: code(dnswire.EDEUnsupportedDNSKEYAlgorithm)},
		{name: "ds-also-unknown-digest", dsOf: both(ds(2, as(3, 200)), ds(2, nil))},
		{name: "ds-also-unknown-algorithm", dsOf: both(ds(2, as(2, 200)), ds(2, nil))},
		{name: "ds-also-stale", dsOf: both(ds(2, func(d []byte) { d[0] ^= 0x55 }), ds(2, nil))},
		{name: "ds-sha1-wrong-sha256-right", dsOf: both(ds(1, wrong), ds(2, nil))},
		{name: "ds-sha256-wrong-sha1-right", dsOf: both(ds(2, wrong), ds(1, nil)), state: Bogus}, // RFC 4509 §3
		{name: "ds-absent", dsOf: func(*planting) []rdata.Record { return nil }, state: Insecure, states: insecure},
		{name: "unsigned", unsigned: true, state: Insecure, states: insecure},
		{name: "unsigned-with-ds", unsigned: true, dsOf: ds(2, nil), state: Bogus},
		{name: "key-revoked", key: func(k *sign.Key) {
			if k.IsSEP() {
				k.Flags |= 0x80
			}
		}, state: Bogus},
		{name: "key-no-zone-flag", key: func(k *sign.Key) {
			if k.IsSEP() {
				k.Flags = 1
			}
		}, state: Bogus, ede: code(dnswire.EDENoZoneKeyBitSet)},
		{name: "two-algorithms", algorithms: first},
		{name: "two-algorithms-one-ds", algorithms: first, dsOf: ds(2, nil)},
		{name: "two-algorithms-one-stripped", algorithms: first, fault: func(p *planting) {
			p.alter(func(r rdata.Record) bool {
				return r.Data[sigAlgorithm] == dnssec.Ed25519 && covered(r) != rdata.TypeDNSKEY
			}, remove)
		}}, // RFC 6840 §5.11
	}
}

// families are zones with zones below them.
func families() []spec {
	child := func(parent, label string, change func(*spec)) spec {
		return spec{name: fmt.Sprintf("%s.%s.zz.", label, parent), text: content, state: Secure}.with(change)
	}
	same := func(s *spec) { s.at = ChildAt }
	insecure := func(s *spec) { s.unsigned, s.state = true, Insecure }
	below := func(s *spec) { s.state = Insecure; s.states = map[string]State{"ds": Insecure} }
	var all []spec
	for _, d := range denials() {
		p := spec{name: "family-" + d.name, text: content, nsec3: d.nsec3, state: Secure, states: d.states}
		p.children = []spec{
			child(p.name, "secure", same),
			child(p.name, "plain", func(s *spec) {
				insecure(s)
				if d.name == "optout" {
					s.states = map[string]State{"ds": Insecure}
				}
			}),
			child(p.name, "deep.down", same), // a cut below an empty non-terminal
			child(p.name, "plain.deeper.down", func(s *spec) {
				insecure(s)
				if d.name == "optout" {
					s.states = map[string]State{"ds": Insecure}
				}
			}),
			child(p.name, "expired", func(s *spec) { s.shift, s.state = -60*24*time.Hour, Bogus }),
		}
		all = append(all, p)
		island := spec{name: "island-" + d.name, text: content, nsec3: d.nsec3, state: Insecure, dsOf: func(*planting) []rdata.Record { return nil }}
		island.children = []spec{child(island.name, "chained", below), child(island.name, "expired", func(s *spec) {
			below(s)
			s.shift = -60 * 24 * time.Hour
		})}
		all = append(all, island)
	}
	return all
}

// crossing is a zone whose aliases lead into others.
func crossing() spec {
	s := spec{name: "crossing", bare: true, state: Secure, text: content}
	for _, to := range []struct {
		label, zone string
		state       State
	}{
		{"secure", "good-ED25519-nsec", Secure}, {"hashed", "good-ED448-nsec3", Secure}, {"optout", "good-ECDSAP256SHA256-optout", Secure},
		{"plain", "unsigned-nsec", Insecure}, {"island", "ds-absent-nsec3", Insecure}, {"unknown", "ds-unknown-algorithm-nsec", Insecure},
		{"expired", "expired-nsec", Bogus}, {"nokeys", "keys-absent-nsec3", Bogus}, {"wwwbad", "www-spoilt-nsec", Bogus},
	} {
		s.text += fmt.Sprintf("c-%s CNAME www.%s.zz.\nd-%s DNAME %s.zz.\n", to.label, to.zone, to.label, to.zone)
		s.extra = append(s.extra,
			extra{"c-" + to.label, rdata.TypeA, dns.RcodeSuccess, to.state},
			extra{"www.d-" + to.label, rdata.TypeA, dns.RcodeSuccess, to.state})
		if to.state != Bogus {
			state := to.state
			if to.label == "optout" {
				state = Insecure
			}
			s.extra = append(s.extra, extra{"gone.d-" + to.label, rdata.TypeA, dns.RcodeNameError, state})
		}
	}
	s.text += "loop CNAME loop2\nloop2 CNAME c-secure\nnowhere CNAME nope.good-ED25519-nsec.zz.\n"
	s.extra = append(s.extra, extra{"loop", rdata.TypeA, dns.RcodeSuccess, Secure}, extra{"nowhere", rdata.TypeA, dns.RcodeNameError, Secure})
	return s
}
