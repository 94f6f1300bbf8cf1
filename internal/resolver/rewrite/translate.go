package rewrite

import (
	"net/netip"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/policy"
	"pharos/internal/resolver/rrcache"
)

var ipv4Only = dns64.IPv4Only

// ipv4OnlyTTL is how long the answer about ipv4only.arpa holds, in seconds: 86400, as
// RFC 8880 §7.2 sets it.
const ipv4OnlyTTL = 86400

// ipv4Only answers for ipv4only.arpa, which tells clients the prefixes. RFC 8880 §7.2:
// nobody else is asked.
func (c *course) ipv4Only() Result {
	var a iterate.Answer
	for _, v4 := range dns64.IPv4OnlyAddresses {
		if c.q.Type == rdata.TypeA {
			a.Answer = append(a.Answer, address(ipv4Only, v4, ipv4OnlyTTL))
			continue
		}
		for _, v6 := range c.DNS64.Addresses(nil, v4) {
			a.Answer = append(a.Answer, address(ipv4Only, v6, ipv4OnlyTTL))
		}
	}
	return Result{Answer: a}
}

func address(owner dnsname.Name, addr netip.Addr, ttl rdata.TTL) rdata.Record {
	r := rdata.Record{Name: owner, Type: rdata.TypeAAAA, Class: rdata.ClassIN, TTL: ttl, Data: addr.AsSlice()}
	if addr.Is4() {
		r.Type = rdata.TypeA
	}
	return r
}

// noSOATTL bounds the time to live of what is made where there is no AAAA record and
// nothing says for how long: 600 seconds (RFC 6147 §5.1.7).
const noSOATTL = 600

// translate answers a question for AAAA records: with those that there are, or else
// with the translations of A records (RFC 6147 §5.1).
func (c *course) translate(done func(Result)) {
	c.inner(c.q.Name, rdata.TypeAAAA, func(res Result) {
		isNative := false
		keep := func(r rdata.Record) bool {
			addr, ok := addressIn(r)
			isNative = isNative || ok && !c.DNS64.IsExcluded(addr)
			return !ok || !c.DNS64.IsExcluded(addr)
		}
		kept := slices.DeleteFunc(slices.Clone(res.Answer.Answer), func(r rdata.Record) bool { return !keep(r) })
		switch {
		case res.Drop, res.Truncate, res.Rcode == dnswire.RcodeNXDomain, isBogus(res.Answer), res.Hit.Action == policy.NoData,
			isNative && !c.DNS64.Ignores(c.q.Name):
			// RFC 6147 §5.1.2: no such name is no such name. §5.5: what is bogus is not
			// gone around.
			if len(kept) < len(res.Answer.Answer) {
				res.Answer.Answer, res.AD = kept, false
			}
			done(res)
			return
		}
		// Any other error is as if there was no AAAA record (RFC 6147 §5.1.2).
		c.inner(c.q.Name, rdata.TypeA, func(v4 Result) { done(c.translated(res, v4)) })
	})
}

// isBogus reports whether an answer failed because it could not be validated.
func isBogus(a iterate.Answer) bool {
	return a.Rcode == dnswire.RcodeServFail && len(a.Errors) > 0 && a.Errors[0].Code >= dnswire.EDEDNSSECIndeterminate && a.Errors[0].Code <= dnswire.EDENSECMissing
}

// translated makes an answer for AAAA of that for A. Without addresses that can be
// translated it is the one for AAAA.
func (c *course) translated(v6, v4 Result) Result {
	if v4.Drop || v4.Truncate {
		return v4
	}
	most := rdata.TTL(noSOATTL)
	for _, r := range v6.Authority {
		if r.Type == rdata.TypeSOA {
			most = r.TTL
		}
	}
	var records []rdata.Record
	isMade := false
	for _, r := range v4.Answer.Answer {
		addr, ok := addressIn(r)
		switch {
		case ok && r.Type == rdata.TypeA:
			for _, made := range c.DNS64.Addresses(nil, addr) {
				isMade = true
				records = append(records, address(r.Name, made, min(r.TTL, most)))
			}
		case r.Type != rdata.TypeRRSIG: // nobody has signed this
			records = append(records, r)
		}
	}
	if !isMade || v4.Rcode != dnswire.RcodeNoError {
		if v6.Hit.IsZero() {
			v6.Hit = v4.Hit // by which there is nothing to translate
		}
		return v6
	}
	// RFC 6147 §5.5: AD is not set on what was made here.
	v4.Answer.Answer, v4.Authority, v4.AD, v4.State = records, nil, false, rrcache.Indeterminate
	return v4
}

// pointer answers a question for the PTR record of a translated address with that of
// the IPv4 address (RFC 6147 §5.3.1). The record stands at the name that was asked for,
// so that clients need not follow an alias.
func (c *course) pointer(v4 dnsname.Name, done func(Result)) {
	if c.Local != nil {
		if h := c.Local.Find(c.q.Name, c.q.Type); !h.IsZero() {
			c.apply(stage{name: c.q.Name, first: true}, c.q.Type, Result{Hit: h}, done)
			return
		}
	}
	c.inner(v4, rdata.TypePTR, func(res Result) {
		records := withoutSignatures(res.Answer.Answer)
		for i := range records {
			if records[i].Name == v4 {
				records[i].Name = c.q.Name
			}
		}
		res.Answer.Answer, res.Authority, res.AD, res.State = records, nil, false, rrcache.Indeterminate
		done(res)
	})
}
