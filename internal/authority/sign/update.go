package sign

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
)

// Revision is a signed version that another one is to follow.
type Revision struct {
	Old *zone.Zone // the version signed last
	New *zone.Zone // the unsigned version that is to be signed; see Strip
	// Touched are the names at which the unsigned version that Old was made of and New
	// differ; more do no harm. The apex need not be among them.
	Touched []dnsname.Name
	// Due are further names, those whose signatures are to be made again; see Due.
	Due []dnsname.Name
}

// Change is records to be deleted from a signed version, and to be added to it.
type Change struct {
	Deleted, Added []rdata.Record
	Steered        map[dnsname.Name]zone.Steering // names that are steered now; see zone.Builder.Steer
}

// Apply returns the version of old that c makes.
func (c Change) Apply(old *zone.Zone) (*zone.Zone, []zone.Problem) {
	e := old.Edit()
	for _, r := range c.Deleted {
		e.Delete(r)
	}
	for _, r := range c.Added {
		e.Add(r)
	}
	for n, how := range c.Steered {
		e.Steer(n, how)
	}
	return e.Finish()
}

// Update returns what makes r.Old the signed form of r.New. Signatures that still fit and
// are not due stay; but where keys, the parameters of the chain or the TTL of denials are
// others than those of r.Old, more than the touched names has to change, and it returns
// ErrWhole: then a Plan with r.Old for its old version does it.
//
// It costs what the touched names cost, however large the zone is; but a digest of the
// zone (Params.ZONEMD) is one of all of it.
func Update(r Revision, params Params, now time.Time) (Change, error) {
	s, err := newSigning(r.New, r.Old, params, now)
	if err != nil {
		return Change{}, fmt.Errorf("signing zone %s: %w", r.New.Origin(), err)
	}
	if !s.continues() {
		return Change{}, fmt.Errorf("signing zone %s: %w", r.New.Origin(), ErrWhole)
	}
	u := &updating{signing: s, names: map[dnsname.Name]zone.Node{}, whole: map[dnsname.Name]bool{}, hashOwners: map[[hashLen]byte]bool{}}
	for _, n := range slices.Concat(r.Touched, r.Due, []dnsname.Name{s.origin}) {
		if err := u.touch(n); err != nil {
			return Change{}, err
		}
	}
	for _, n := range u.sorted() {
		if err := u.content(n, u.names[n]); err != nil {
			return Change{}, err
		}
	}
	if err := u.chain(); err != nil {
		return Change{}, err
	}
	return u.change, u.digest()
}

// updating is an Update being made.
type updating struct {
	*signing
	names      map[dnsname.Name]zone.Node // touched, with their nodes in the new version
	whole      map[dnsname.Name]bool      // those of names at which records have changed
	hashOwners map[[hashLen]byte]bool     // touched by the names of their NSEC3 records
	change     Change
}

// continues reports whether the old version is signed with the same keys, and denies
// in the same way, so that what is not touched can stay.
func (s *signing) continues() bool {
	if !s.reuse {
		return false
	}
	apex := s.old.Apex()
	var made func(zone.RRset) bool
	switch {
	case s.p.Live:
		return s.old.DenialType() == 0 && !s.old.IsSigned()
	case s.p.NSEC3 != nil:
		params, _ := s.old.RRset(apex, rdata.TypeNSEC3PARAM)
		if s.old.DenialType() != rdata.TypeNSEC3 || params.Count != 1 || !bytes.Equal(dataOf(&params)[0], s.p.NSEC3.append(nil, 0)) {
			return false
		}
		apex = s.beforeHashed(s.hash(s.origin))
		flags := byte(0)
		if s.p.NSEC3.OptOut {
			flags = 1
		}
		made = func(set zone.RRset) bool { return set.Count == 1 && dataOf(&set)[0][1] == flags }
	default:
		made = func(set zone.RRset) bool { return set.Count == 1 }
	}
	if apex == 0 || s.old.DenialType() != s.chainType() {
		return false
	}
	denial, ok := s.old.RRset(apex, s.chainType())
	return ok && made(denial) && denial.TTL == s.denialTTL && s.sameSigners()
}

// chainType is the type of the records of the chain.
func (s *signing) chainType() rdata.Type {
	if s.p.NSEC3 != nil {
		return rdata.TypeNSEC3
	}
	return rdata.TypeNSEC
}

// sameSigners reports whether each key that signs the zone has signed the old SOA record,
// or one whose signatures may stay has, and no other.
func (s *signing) sameSigners() bool {
	soa, _ := s.old.RRset(s.old.Apex(), rdata.TypeSOA)
	signatures, _ := soa.Signatures()
	signed := map[signerID]bool{}
	for _, data := range dataOf(&signatures) {
		sig, _ := dnssec.ParseSignature(data)
		signed[signerID{sig.Tag, sig.Algorithm}] = true
	}
	known := map[signerID]bool{}
	var replaced [256]bool // algorithms in which a key on its way out has signed
	for _, k := range s.kept {
		id := signerID{k.tag, k.Algorithm}
		known[id] = true
		replaced[k.Algorithm] = replaced[k.Algorithm] || signed[id]
	}
	for _, k := range s.zoneKeys {
		id := signerID{k.tag, k.Algorithm}
		known[id] = true
		if !signed[id] && !replaced[k.Algorithm] {
			return false
		}
	}
	for id := range signed {
		if !known[id] {
			return false
		}
	}
	return true
}

type signerID struct {
	tag       uint16
	algorithm uint8
}

// touch notes a name, and those whose records change with it.
func (u *updating) touch(n dnsname.Name) error {
	if !n.IsSubdomainOf(u.origin) {
		return nil
	}
	if h, ok := hashOf(n, u.origin); ok && u.p.NSEC3 != nil && u.beforeHashed(h) != 0 {
		u.hashOwners[h] = true
	}
	if u.whole[n] {
		return nil
	}
	n = n.Clone()
	u.whole[n] = true
	before, now := u.old.Lookup(n).Exact, u.z.Lookup(n).Exact
	u.names[n] = now
	if before != 0 && u.old.IsSteered(before) && (now == 0 || !u.z.IsSteered(now)) {
		return fmt.Errorf("%s is not steered any more: %w", n, ErrWhole)
	}
	if now != 0 && u.z.IsSteered(now) {
		if u.change.Steered == nil {
			u.change.Steered = map[dnsname.Name]zone.Steering{}
		}
		u.change.Steered[n] = u.z.Steering(now)
	}
	// An empty non-terminal exists because of what is below it.
	for a := n.Parent(); a.IsSubdomainOf(u.origin) && u.p.NSEC3 != nil; a = a.Parent() {
		u.names[a.Clone()] = u.z.Lookup(a).Exact
	}
	if covers(u.old, before) != covers(u.z, now) { // what is below is occluded, or is no longer
		u.touchBelow(u.old, before)
		u.touchBelow(u.z, now)
	}
	return nil
}

func (u *updating) touchBelow(z *zone.Zone, top zone.Node) {
	if top == 0 {
		return
	}
	for n := range z.Below(top) {
		name := z.Name(n)
		if _, again := u.names[name]; again || z == u.old && z.Lookup(name).Exact == 0 { // an owner of NSEC3
			continue
		}
		name = name.Clone()
		u.names[name] = u.z.Lookup(name).Exact
	}
}

// covers reports what a node is to the names below it: nothing, a cut, or a DNAME.
func covers(z *zone.Zone, n zone.Node) byte {
	switch {
	case n == 0:
		return 0
	case z.IsCut(n):
		return 1
	case z.HasDNAME(n):
		return 2
	}
	return 0
}

// sorted returns the touched names in canonical order.
func (u *updating) sorted() []dnsname.Name {
	return slices.SortedFunc(maps.Keys(u.names), dnsname.Name.Compare)
}

// content updates the records of a name, but those of the chain.
func (u *updating) content(name dnsname.Name, now zone.Node) error {
	before := u.old.Lookup(name).Exact
	var old, next []rdata.Record
	if before != 0 {
		digest := name == u.origin && len(u.p.ZONEMD) > 0
		old = recordsOf(u.old, before, func(t rdata.Type) bool {
			return t != rdata.TypeNSEC && t != rdata.TypeNSEC3 && !(digest && t == rdata.TypeZONEMD)
		})
	}
	if now != 0 {
		occluded := u.z.IsOccluded(now)
		for _, set := range u.contentOf(now, nil) {
			if u.isDigest(set) {
				continue
			}
			var err error
			if next, _, err = u.appendSet(next, set, before, !occluded && u.isSigned(now, set.Type)); err != nil {
				return err
			}
		}
	}
	u.change.replace(old, next)
	return nil
}

// appendSet appends the records of set and, if it is to be signed, their signatures.
func (s *signing) appendSet(list []rdata.Record, set rdata.RRset, before zone.Node, signed bool) (_ []rdata.Record, made int, err error) {
	r := rdata.Record{Name: set.Name, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL}
	for _, data := range set.Data {
		r.Data = data
		list = append(list, r)
	}
	if !signed {
		return list, 0, nil
	}
	signatures, made, err := s.signatures(set, before)
	r.Type = rdata.TypeRRSIG
	for _, data := range signatures {
		r.Data = data
		list = append(list, r)
	}
	return list, made, err
}

// recordsOf returns the records of a node that are of the wanted types, or signatures of
// such.
func recordsOf(z *zone.Zone, n zone.Node, wanted func(rdata.Type) bool) (list []rdata.Record) {
	name := z.Name(n)
	sets := z.RRsets(n)
	for set, ok := sets.Next(); ok; set, ok = sets.Next() {
		t := set.Type
		if t == rdata.TypeRRSIG {
			t = set.Covers()
		}
		if !wanted(t) {
			continue
		}
		for _, data := range dataOf(&set) {
			list = append(list, rdata.Record{Name: name, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: data})
		}
	}
	return list
}

// replace adds to c what makes old, records of one name, next.
func (c *Change) replace(old, next []rdata.Record) {
	id := func(r rdata.Record) string {
		return string(binary.BigEndian.AppendUint32([]byte{byte(r.Type >> 8), byte(r.Type)}, uint32(r.TTL))) + string(r.Data)
	}
	stays := make(map[string]bool, len(old))
	for _, r := range old {
		stays[id(r)] = false
	}
	for _, r := range next {
		if _, have := stays[id(r)]; have {
			stays[id(r)] = true
		} else {
			c.Added = append(c.Added, r)
		}
	}
	for _, r := range old {
		if !stays[id(r)] {
			c.Deleted = append(c.Deleted, r)
		}
	}
}

// Due returns the names of a signed zone that have signatures which are due now, up to
// limit of them (0: all), and when the next one is after those. It looks at every signature
// but those by keys whose private halves are not here (Params.Signatures), which nobody
// here can make again.
func Due(z *zone.Zone, params Params, now time.Time, limit int) (names []dnsname.Name, next time.Time, err error) {
	p, err := params.withDefaults()
	if err != nil {
		return nil, time.Time{}, err
	}
	due := rdata.Serial(now.Add(p.Refresh).Unix())
	elsewhere := map[signerID]bool{}
	for _, u := range p.Keys {
		if u.SignKeys && u.Signer == nil {
			elsewhere[signerID{u.Tag(), u.Algorithm}] = true
		}
	}
	left := int64(1<<31 - 1) // seconds until the next
	for n := range z.Nodes() {
		first := int64(1<<31 - 1)
		sets := z.RRsets(n)
		for set, ok := sets.Next(); ok; set, ok = sets.Next() {
			for at, i := 0, 0; set.Type == rdata.TypeRRSIG && i < set.Count; i++ {
				var data []byte
				if data, _, at = set.Record(at); len(elsewhere) > 0 && n == z.Apex() && isElsewhere(data, elsewhere) {
					continue
				}
				first = min(first, int64(int32(expiration(data)-due)))
			}
		}
		switch {
		case first > 0:
			left = min(left, first)
		case limit == 0 || len(names) < limit:
			names = append(names, z.Name(n).Clone())
		default:
			left = 0
		}
	}
	return names, now.Add(time.Duration(left) * time.Second), nil
}

func isElsewhere(data []byte, keys map[signerID]bool) bool {
	sig, ok := dnssec.ParseSignature(data)
	return ok && keys[signerID{sig.Tag, sig.Algorithm}]
}

// expiration returns a field of RRSIG RDATA, which the zone has checked to be one.
func expiration(data []byte) rdata.Serial {
	if len(data) < 12 {
		return 0
	}
	return rdata.Serial(data[8])<<24 | rdata.Serial(data[9])<<16 | rdata.Serial(data[10])<<8 | rdata.Serial(data[11])
}
