package state

import (
	"fmt"
	"net/netip"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/steer"
)

// Steer is a name that is answered from a pool: with its healthy members, or those of
// them that a chain of filters leaves for the client.
type Steer struct {
	// Name is the owner name that is answered. It lies in one of the zones, where
	// it goes before what the zone holds at that name; outside of them it is not
	// answered. Each name stands once.
	Name dnsname.Name `json:"name" required:"true" example:"www.example.com"`
	// Pool is the pool whose members are the answer.
	Pool string `json:"pool" format:"identifier" required:"true" example:"web"`
	// Answer is what the answer is made of. address: A with the members of IPv4, AAAA
	// with those of IPv6. https: these, and an HTTPS record that has them as hints; svcb:
	// an SVCB record likewise. srv and mx: a record for each member with its host,
	// and its tier as the priority (10 for tier 0, 20 for tier 1, ...). cname: the host of
	// one member.
	Answer string `json:"answer,omitzero" enum:"address,https,svcb,srv,mx,cname" default:"address" example:"https"`
	// Service is the data of the HTTPS or SVCB record, as in a zone file, but for the hints. Of an
	// HTTPS record it may be gateway: what the gateway of this node speaks at listen.https (alpn
	// and, unless it is 443, port); the members of the pool are the addresses it is reached at.
	Service string `json:"service,omitzero" default:"1 ." example:"1 . alpn=h2"`
	// TTL is how long clients may keep the answer, in whole seconds. It bounds
	// how long they stay with a server that has died.
	TTL document.Duration `json:"ttl" default:"5s" min:"0s" max:"24h" step:"1s" example:"10s"`
	// ShortTTL goes in place of a longer TTL while the pool is changing.
	ShortTTL document.Duration `json:"shortTTL,omitzero" default:"5s" min:"1s" max:"24h" step:"1s" example:"2s"`
	// Calm is how long after a member has come or gone the pool counts as changing.
	Calm document.Duration `json:"calm,omitzero" default:"1m" min:"1s" max:"24h" example:"5m"`
	// Filters choose among the members, one after the other. Default: up, tiers, weighted
	// and limit; for srv and mx without tiers, which their records tell.
	Filters []Filter `json:"filters,omitempty" max:"16" example:"[{type: up}, {type: near, by: country}, {type: limit, count: 2}]"`
	// WhenDown is what is answered when no member can serve: all of those that are not
	// drained, since a check that is wrong is more likely than that all are down; the
	// fallback; or nodata, that there are none.
	WhenDown string `json:"whenDown,omitzero" enum:"all,fallback,nodata" default:"all" example:"fallback"`
	// Fallback is who is answered with in their place.
	Fallback Fallback `json:"fallback,omitzero"`
}

// Fallback is who is answered with when no member of a pool can serve: another pool, or
// set addresses.
type Fallback struct {
	// Pool is the other pool. It goes through the same filters; if nobody of it can serve
	// either, all of the first are answered.
	Pool string `json:"pool,omitzero" format:"identifier" default:"" example:"elsewhere"`
	// Addresses are set: they are not checked.
	Addresses []netip.Addr `json:"addresses,omitempty" max:"32" example:"[198.51.100.1]"`
}

// Filter is one step of the choice among members. Those of the types up, tiers, near,
// latency and shed leave members out; one that would leave nobody keeps all of them, but
// for up. Then sticky or weighted puts in order who is left, and limit takes the first.
type Filter struct {
	// Type is what the filter does. up leaves out who is down, or not probed yet while
	// others are up; without it, nobody's health matters. tiers keeps the lowest tier that
	// anybody is left of. near keeps those nearest to the client. latency keeps those with
	// the shortest round trips to its network, as the gateway has measured them, or else
	// as its distance lets expect. shed leaves a member near its capacity out of a growing
	// share of answers. sticky orders them the same for all clients of a network, weighted
	// in turn by weight. limit keeps the first.
	Type string `json:"type" enum:"up,tiers,near,latency,shed,sticky,weighted,limit" required:"true" example:"near"`
	// By is what near and shed go by. near: zone, region, country (the default) and continent
	// each fall back to the next one where nobody is of the same; distance. shed:
	// connections (the default), bandwidth, or the load that its agent reports.
	By string `json:"by,omitzero" enum:"zone,region,country,continent,distance,connections,bandwidth,load" default:"" example:"distance"`
	// Within is for near by distance: how many kilometres farther than the nearest member
	// others may be.
	Within int `json:"within,omitzero" default:"100" min:"1" max:"20000" example:"500"`
	// Slack is for latency: how much longer than the shortest round trip others may be.
	Slack document.Duration `json:"slack,omitzero" default:"10ms" min:"1ms" max:"1s" example:"20ms"`
	// From is for shed: the load in percent of the capacity at which it begins.
	From int `json:"from,omitzero" default:"80" min:"1" max:"99" example:"70"`
	// IPv4 is for sticky: how many leading bits of an IPv4 address are one network.
	IPv4 int `json:"ipv4,omitzero" default:"24" min:"1" max:"32" example:"32"`
	// IPv6 is for sticky: how many leading bits of an IPv6 address are one network.
	IPv6 int `json:"ipv6,omitzero" default:"56" min:"1" max:"64" example:"48"`
	// Count is for limit: how many records an answer has.
	Count int `json:"count,omitzero" default:"8" min:"1" max:"32" example:"2"`
}

// Kind returns what the name is answered with.
func (s *Steer) Kind() steer.Kind {
	k, _ := steer.ParseKind(s.Answer) // one of the words: the document has checked it
	return k
}

// Chain returns the filters; nil: the default ones.
func (s *Steer) Chain() ([]steer.Filter, error) {
	if len(s.Filters) == 0 {
		return nil, nil
	}
	chain := make([]steer.Filter, len(s.Filters))
	for i, f := range s.Filters {
		made, err := steer.ParseFilter(f.Type, f.By)
		if err != nil {
			return nil, err
		}
		made.Within, made.Slack, made.From, made.Count = f.Within, f.Slack.Std(), f.From, f.Count
		made.Bits4, made.Bits6 = f.IPv4, f.IPv6
		chain[i] = made
	}
	return chain, nil
}

// IsOfGateway reports whether the data of the HTTPS record is what the gateway speaks.
func (s *Steer) IsOfGateway() bool { return s.Service == "gateway" && s.Kind() == steer.HTTPS }

// ServiceData returns the data of the HTTPS or SVCB record; nil for other answers.
func (s *Steer) ServiceData() ([]byte, error) {
	if k := s.Kind(); k != steer.HTTPS && k != steer.SVCB {
		return nil, nil
	}
	text := s.Service
	if s.IsOfGateway() {
		text = "1 ." // the node knows the rest
	}
	data, err := rdata.ParseText(rdata.TypeSVCB, s.Name, text)
	switch {
	case err != nil:
		return nil, err
	case len(data) > steer.MaxService:
		return nil, fmt.Errorf("it takes %d octets; at most %d", len(data), steer.MaxService)
	case data[0] == 0 && data[1] == 0:
		return nil, fmt.Errorf("its priority is 0, which makes it an alias; want 1 or more")
	case steer.HasHints(data):
		return nil, fmt.Errorf("it has hints of its own; leave them out, they are the members'")
	}
	return data, nil
}

// checkSteer reports what is wrong within one steered name; paths begin with at.
func (s *Steer) check(at string, report Report) {
	if s.Name.IsWildcard() {
		report(at+"name", fmt.Sprintf("%s is a wildcard, which cannot be steered", s.Name), "name each steered name; a wildcard CNAME in the zone may point to one")
	}
	kinds := make([]string, len(s.Filters))
	for i, f := range s.Filters {
		kinds[i] = f.Type
		_, unknown := steer.ParseFilter(f.Type, "") // which is reported as such
		if _, err := steer.ParseFilter(f.Type, f.By); err != nil && unknown == nil {
			report(fmt.Sprintf("%sfilters[%d].by", at, i), err.Error(), "near goes by zone, region, country, continent or distance; shed by connections, bandwidth or load; the others leave it out")
		}
	}
	if i, why := steer.CheckChain(kinds); why != "" {
		report(fmt.Sprintf("%sfilters[%d]", at, i), why, "order the filters as: up; tiers, near, latency, shed; sticky or weighted; limit")
	}
	if _, err := s.ServiceData(); err != nil {
		report(at+"service", fmt.Sprintf("%q is no data of a %s record: %v", s.Service, s.Answer, err), `write it as in a zone file, as "1 . alpn=h2"`)
	}
	s.checkFallback(at, report)
}

func (s *Steer) checkFallback(at string, report Report) {
	hasPool, hasAddresses := s.Fallback.Pool != "", len(s.Fallback.Addresses) > 0
	kind := s.Kind()
	switch {
	case s.WhenDown != "fallback" && (hasPool || hasAddresses):
		report(at+"fallback", "there is a fallback, but whenDown is "+s.WhenDown, "write whenDown: fallback, or remove it")
	case s.WhenDown == "fallback" && hasPool == hasAddresses:
		report(at+"fallback", "whenDown is fallback, which takes a pool or addresses, one of them", "write fallback: {pool: NAME} or fallback: {addresses: [ADDRESS]}")
	case hasAddresses && kind != steer.Addresses && kind != steer.HTTPS && kind != steer.SVCB:
		report(at+"fallback.addresses", "addresses cannot stand in for the names that "+s.Answer+" answers with", "write fallback: {pool: NAME}")
	case hasPool && s.Fallback.Pool == s.Pool:
		report(at+"fallback.pool", "the fallback is the pool itself", "name another pool")
	}
	for i, a := range s.Fallback.Addresses {
		if a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			report(fmt.Sprintf("%sfallback.addresses[%d]", at, i), fmt.Sprintf("%s is not the address of a server", a), "write where the server listens")
		}
	}
}

// checkHosts reports a steered name whose answers need names that members of its pool
// have not.
func (s *Steer) checkHosts(at string, p *Pool, report Report) {
	switch s.Kind() {
	case steer.SRV, steer.MX, steer.CNAME:
	default:
		return
	}
	for i := range p.Members {
		if p.Members[i].Host.IsZero() {
			report(at+"answer", fmt.Sprintf("%s answers with names, and member %q of pool %q has none", s.Answer, p.Members[i].Name, p.Name), "give each member a host")
			return
		}
	}
}
