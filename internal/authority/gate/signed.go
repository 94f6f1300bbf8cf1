package gate

import (
	"errors"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// checkApexSignatures verifies what the rest of a signed zone stands on: SOA, NS and
// DNSKEY at the apex. A signer with the wrong key goes wrong here too. All
// signatures of a zone are for "pharos zone verify": they take minutes.
func (c *checker) checkApexSignatures() {
	if c.rules.Signatures == Off || !c.next.IsSigned() {
		return
	}
	origin := c.next.Origin()
	set, ok := c.next.RRset(c.next.Apex(), rdata.TypeDNSKEY)
	if !ok {
		c.add(c.rules.Signatures, "signatures", origin, rdata.TypeDNSKEY, "the zone is signed but has no DNSKEY record: validating resolvers take it for bogus; sign it anew")
		return
	}
	keys := dnssec.ParseKeys(dataOf(&set))
	for _, t := range []rdata.Type{rdata.TypeSOA, rdata.TypeNS, rdata.TypeDNSKEY} {
		if set, ok := c.next.RRset(c.next.Apex(), t); ok {
			c.verify(&set, keys)
		}
	}
}

// verify verifies one RRset of the apex, if its algorithms are known here.
func (c *checker) verify(set *zone.RRset, keys []dnssec.Key) {
	origin := c.next.Origin()
	sigs, ok := set.Signatures()
	if !ok {
		c.add(c.rules.Signatures, "signatures", origin, set.Type, "the zone is signed but this RRset is not: validating resolvers take it for bogus; sign it anew")
		return
	}
	known := false
	data := dataOf(&sigs)
	for _, d := range data {
		if s, ok := dnssec.ParseSignature(d); ok {
			known = known || lenient.Supports(s.Algorithm)
		}
	}
	if !known {
		return
	}
	v := dnssec.Verifier{Policy: lenient, Now: c.now, Budget: &dnssec.Budget{Signatures: dnssec.MaxSignatures * dnssec.MaxCollisions}}
	rrset := rdata.RRset{Name: origin, Type: set.Type, Class: rdata.ClassIN, TTL: set.TTL, Data: dataOf(set)}
	if got := v.Verify(rrset, data, keys, origin); got.Fault != nil && c.timesWrong(data) == "" {
		c.add(c.rules.Signatures, "signatures", origin, set.Type, "%s; sign the zone anew", got.Fault.Text)
	}
}

// lenient: an old algorithm is the operator's choice, not a mistake in the zone.
var lenient = dnssec.Policy{SHA1: true, ShortRSA: true}

// checkZONEMD compares the zone with the digest in it, which says that it arrived as it
// was made (RFC 8976 §4). That takes a walk over the whole zone.
func (c *checker) checkZONEMD() {
	if c.rules.ZONEMD == Off {
		return
	}
	err := zonemd.Verify(c.next.Origin(), c.next.Records())
	if err == nil || errors.Is(err, zonemd.ErrNone) && !c.rules.RequireZONEMD {
		return
	}
	c.add(c.rules.ZONEMD, "zonemd", c.next.Origin(), rdata.TypeZONEMD, "%v; have it made anew by who makes the zone", err)
}

func dataOf(set *zone.RRset) [][]byte {
	var all [][]byte
	for i, at := 0, 0; i < set.Count; i++ {
		var data []byte
		data, _, at = set.Record(at)
		all = append(all, data)
	}
	return all
}
