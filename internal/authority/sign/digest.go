package sign

import (
	"fmt"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// This file puts the digest of the zone into it (RFC 8976 §3): when everything else has
// been signed, for the digest is of that.

// placeDigests puts placeholders into the apex, for the chain to list the type.
func (s *signing) placeDigests() error {
	if len(s.p.ZONEMD) == 0 || s.p.Live {
		return nil
	}
	set, err := s.digests(nil)
	s.apex = append(s.apex, set)
	return err
}

// isDigest reports whether set is one that comes last.
func (s *signing) isDigest(set rdata.RRset) bool {
	return set.Type == rdata.TypeZONEMD && len(s.p.ZONEMD) > 0 && set.Name == s.origin
}

// digests returns the ZONEMD RRset of a signed zone that is ready but for it; of nil,
// placeholders.
func (s *signing) digests(z *zone.Zone) (rdata.RRset, error) {
	soa, _ := s.z.RRset(s.z.Apex(), rdata.TypeSOA)
	set := rdata.RRset{Name: s.origin, Type: rdata.TypeZONEMD, Class: rdata.ClassIN, TTL: soa.TTL}
	for _, algorithm := range s.p.ZONEMD {
		var sum []byte
		var serial rdata.Serial
		if z != nil {
			var err error
			if sum, err = zonemd.Sum(s.origin, z.Records(), algorithm); err != nil {
				return set, fmt.Errorf("digest of zone %s: %w", s.origin, err)
			}
			serial = z.Serial()
		}
		data, err := zonemd.Record(serial, algorithm, sum)
		if err != nil {
			return set, fmt.Errorf("digest of zone %s: %w", s.origin, err)
		}
		set.Data = append(set.Data, data)
	}
	return set, nil
}

// addDigest adds to c what makes the digest of z, which is signed, right; z may have an old
// one.
func (s *signing) addDigest(c *Change, z *zone.Zone) error {
	if len(s.p.ZONEMD) == 0 || s.p.Live {
		return nil
	}
	set, err := s.digests(z)
	if err != nil {
		return err
	}
	var before zone.Node
	if s.reuse {
		before = s.old.Apex()
	}
	next, _, err := s.appendSet(nil, set, before, true)
	c.replace(recordsOf(z, z.Apex(), func(t rdata.Type) bool { return t == rdata.TypeZONEMD }), next)
	return err
}

// digest adds the digest to a zone signed whole.
func (p *Plan) digest(z *zone.Zone) (*zone.Zone, error) {
	var c Change
	if err := p.addDigest(&c, z); err != nil || len(c.Added) == 0 {
		return z, err
	}
	z, problems := c.Apply(z)
	if z == nil {
		return nil, fmt.Errorf("the digest of zone %s: %v", p.origin, problems)
	}
	return z, nil
}

// digest brings the digest up to date with what has changed. It goes through the whole
// zone.
func (u *updating) digest() error {
	if len(u.p.ZONEMD) == 0 || u.p.Live {
		return nil
	}
	z, problems := u.change.Apply(u.old)
	if z == nil {
		return fmt.Errorf("the signed zone %s cannot be served: %v", u.origin, problems)
	}
	return u.addDigest(&u.change, z)
}
