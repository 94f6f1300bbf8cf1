package sign

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// signing is one version of a zone being signed at one moment. It does not change
// once made.
type signing struct {
	p      *Params
	z      *zone.Zone // unsigned
	old    *zone.Zone // the version signed before, nil if there is none
	now    time.Time
	origin dnsname.Name

	zoneKeys []signer
	keyKeys  []signer // of DNSKEY, CDS and CDNSKEY
	kept     []signer // whose signatures stay until they are due

	apex      []rdata.RRset // all of the signed zone's apex but NSEC and signatures, by type
	denialTTL rdata.TTL     // of NSEC and NSEC3
	reuse     bool          // old has signatures that may stay
}

// signer is a key with what is asked of it for each signature.
type signer struct {
	*Key
	tag uint16
}

// newSigning prepares z to be signed. z has no DNSSEC records of a signer; see Strip.
func newSigning(z, old *zone.Zone, params Params, now time.Time) (*signing, error) {
	p, err := params.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &signing{p: p, z: z, old: old, now: now, origin: z.Origin()}
	for _, u := range p.Keys {
		k := signer{u.Key, u.Tag()}
		if u.SignZone {
			s.zoneKeys = append(s.zoneKeys, k)
		}
		if u.SignKeys {
			s.keyKeys = append(s.keyKeys, k)
		}
		if u.Keep {
			s.kept = append(s.kept, k)
		}
	}
	if err := s.makeApex(); err != nil {
		return nil, err
	}
	s.reuse = old != nil && s.sameTags()
	return s, nil
}

// sameTags reports whether the keys of old with a tag of ours are ours, so that a tag
// says whose a signature is.
func (s *signing) sameTags() bool {
	set, _ := s.old.RRset(s.old.Apex(), rdata.TypeDNSKEY)
	at := 0
	for range set.Count {
		var data []byte
		data, _, at = set.Record(at)
		k, _ := dnssec.ParseKey(data)
		for _, own := range slices.Concat(s.zoneKeys, s.keyKeys, s.kept) {
			if own.tag == k.Tag && own.Algorithm == k.Algorithm && !bytes.Equal(own.Public, k.PublicKey) {
				return false
			}
		}
	}
	return true
}

// isMade reports whether records of type t are made by the signer, wherever they are.
func isMade(t rdata.Type) bool { return slices.Contains(madeTypes, t) }

// madeTypes are the types of the records that a signer makes.
var madeTypes = []rdata.Type{rdata.TypeRRSIG, rdata.TypeNSEC, rdata.TypeNSEC3, rdata.TypeNSEC3PARAM}

// isKeySet reports whether RRsets of type t are signed by the keys that the parent knows.
// RFC 7344 §4.1: "must be signed with a key that is represented in both the current
// DNSKEY and DS RRsets".
func isKeySet(t rdata.Type) bool {
	return t == rdata.TypeDNSKEY || t == rdata.TypeCDS || t == rdata.TypeCDNSKEY
}

// Strip returns z without the records that a signer makes: signatures and chains. DNSKEY,
// CDS and CDNSKEY stay: they may be those of another provider. It is z itself if there
// are none.
func Strip(z *zone.Zone) (*zone.Zone, []zone.Problem) {
	if !hasMade(z) {
		return z, nil
	}
	b := zone.NewBuilder(z.Origin())
	for r := range z.Records() {
		if !isMade(r.Type) {
			b.Add(r)
		}
	}
	for n := range z.Nodes() {
		if how := z.Steering(n); how != zone.NotSteered {
			b.Steer(z.Name(n), how)
		}
	}
	return b.Finish()
}

// hasMade reports whether z has such records. It looks at all of z only if it may.
func hasMade(z *zone.Zone) bool {
	if !slices.ContainsFunc(madeTypes, z.MayHave) {
		return false
	}
	for n := range z.Nodes() {
		sets := z.RRsets(n)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			if isMade(set.Type) {
				return true
			}
		}
	}
	return false
}

// setsOf appends the RRsets of n, of which the data are views, to sets.
func setsOf(z *zone.Zone, n zone.Node, sets []rdata.RRset) []rdata.RRset {
	name := z.Name(n)
	all := z.RRsets(n)
	for set, ok := all.Next(); ok; set, ok = all.Next() {
		if set.Type == rdata.TypeRRSIG {
			continue
		}
		sets = append(sets, rdata.RRset{Name: name, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: dataOf(&set)})
	}
	return sets
}

func dataOf(set *zone.RRset) [][]byte {
	data, at := make([][]byte, set.Count), 0
	for i := range data {
		data[i], _, at = set.Record(at)
	}
	return data
}

// contentOf returns the RRsets that the signed zone has at n, without NSEC and signatures.
// The result may be in the memory of room.
func (s *signing) contentOf(n zone.Node, room []rdata.RRset) []rdata.RRset {
	if n == s.z.Apex() {
		return s.apex
	}
	return setsOf(s.z, n, room[:0])
}

// isSigned reports whether the RRset of type t at n is authoritative data (RFC 4035
// §2.2), n itself not being occluded.
func (s *signing) isSigned(n zone.Node, t rdata.Type) bool {
	if s.p.Live {
		return n == s.z.Apex() && isKeySet(t)
	}
	return !s.z.IsCut(n) || t == rdata.TypeDS || t == rdata.TypeNSEC
}

// inChain reports whether n has an NSEC record, or NSEC3 (RFC 4035 §2.3, RFC 5155 §7.1).
// Empty non-terminals above nothing but delegations that are opted out may be left
// out, but are not: there are few, and what lies below need not be looked at.
func (s *signing) inChain(n zone.Node) bool {
	switch {
	case s.p.Live, s.z.IsOccluded(n):
		return false
	case s.p.NSEC3 == nil:
		return s.z.HasData(n) || s.z.IsSteered(n)
	case s.p.NSEC3.OptOut && s.z.IsCut(n):
		_, secure := s.z.RRset(n, rdata.TypeDS)
		return secure
	}
	return true
}

// makeApex makes the RRsets of the apex.
func (s *signing) makeApex() error {
	s.denialTTL = s.z.NegativeTTL() // RFC 9077 §3: the lesser of the SOA record's TTL and MINIMUM
	var keys, cds, cdnskey [][]byte
	replaceCDS := s.p.RemoveDS
	for _, u := range s.p.Keys {
		if u.Publish {
			keys = append(keys, u.RDATA())
		}
		if !u.Parent || s.p.RemoveDS {
			continue
		}
		replaceCDS = true
		cdnskey = append(cdnskey, u.RDATA())
		for _, digest := range s.p.Digests {
			ds, err := u.DS(s.origin, digest)
			if err != nil {
				return err
			}
			cds = append(cds, ds)
		}
	}
	if s.p.RemoveDS { // RFC 8078 §4
		cds, cdnskey = [][]byte{{0, 0, 0, 0, 0}}, [][]byte{{0, 0, 3, 0, 0}}
	}
	for _, set := range setsOf(s.z, s.z.Apex(), nil) {
		switch {
		case isMade(set.Type), set.Type == rdata.TypeZONEMD, // a digest of what is not signed fits no more
			replaceCDS && (set.Type == rdata.TypeCDS || set.Type == rdata.TypeCDNSKEY):
			continue
		case set.Type == rdata.TypeDNSKEY: // of another provider (RFC 8901)
			keys = append(keys, set.Data...)
			continue
		case set.Type == rdata.TypeSOA && s.p.Serial != nil:
			soa := bytes.Clone(set.Data[0])
			binary.BigEndian.PutUint32(soa[len(soa)-20:], uint32(*s.p.Serial))
			set.Data = [][]byte{soa}
		}
		s.apex = append(s.apex, set)
	}
	s.addApex(rdata.TypeDNSKEY, s.p.KeyTTL, keys)
	s.addApex(rdata.TypeCDS, s.askTTL(rdata.TypeCDS), cds)
	s.addApex(rdata.TypeCDNSKEY, s.askTTL(rdata.TypeCDNSKEY), cdnskey)
	if c := s.p.NSEC3; c != nil && !s.p.Live {
		// RFC 5155 §4.1.2: the flag Opt-Out is not set here.
		s.addApex(rdata.TypeNSEC3PARAM, 0, [][]byte{c.append(nil, 0)})
	}
	if err := s.placeDigests(); err != nil {
		return err
	}
	slices.SortFunc(s.apex, func(a, b rdata.RRset) int { return int(a.Type) - int(b.Type) })
	return nil
}

// askTTL returns the TTL of what asks the parent: that which has been signed elsewhere, for
// it is part of the signature (RFC 4034 §3.1.4), else that of the keys.
func (s *signing) askTTL(t rdata.Type) rdata.TTL {
	for _, data := range s.p.Signatures {
		if sig, ok := dnssec.ParseSignature(data); ok && sig.Covered == t {
			return sig.OriginalTTL
		}
	}
	return s.p.KeyTTL
}

// addApex adds an RRset to the apex, without duplicates and in canonical order.
func (s *signing) addApex(t rdata.Type, ttl rdata.TTL, data [][]byte) {
	if len(data) == 0 {
		return
	}
	slices.SortFunc(data, bytes.Compare)
	data = slices.CompactFunc(data, bytes.Equal)
	s.apex = append(s.apex, rdata.RRset{Name: s.origin, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: data})
}

// append appends the fields that NSEC3 and NSEC3PARAM begin with.
func (c *NSEC3) append(b []byte, flags byte) []byte {
	b = append(b, 1, flags)
	b = binary.BigEndian.AppendUint16(b, c.Iterations)
	b = append(b, byte(len(c.Salt)))
	return append(b, c.Salt...)
}
