package iterate

import (
	"net/netip"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// Route says whom to ask about a zone, in place of the servers that delegations
// lead to. Of several the deepest counts.
type Route struct {
	Zone    dnsname.Name
	Servers []netip.AddrPort
	// Encrypted are servers that are asked encrypted, and not otherwise.
	Encrypted []Server
	// Forward: the servers are resolvers, to which all questions at and below Zone
	// go with RD=1. Otherwise they serve Zone, and what they delegate is found from
	// there.
	Forward bool
	// First: if the servers come to nothing, it goes on as if there was no route.
	First bool
}

// route is a Route as lookups use it.
type route struct {
	Route
	cut     *rrcache.Delegation // without servers' names
	servers []Server            // all of them
}

// routes are the routes by zone.
type routes map[dnsname.Name]*route

func newRoutes(list []Route) routes {
	all := make(routes, len(list))
	for _, r := range list {
		r.Servers, r.Encrypted = slices.Clone(r.Servers), slices.Clone(r.Encrypted)
		all[r.Zone] = &route{Route: r, cut: &rrcache.Delegation{Zone: r.Zone}, servers: r.all()}
	}
	return all
}

// all returns the servers of r.
func (r Route) all() []Server {
	servers := r.Encrypted[:len(r.Encrypted):len(r.Encrypted)]
	for _, addr := range r.Servers {
		servers = append(servers, plainServer(addr))
	}
	return servers
}

// at returns the deepest route at or above name, nil if there is none.
func (s routes) at(name dnsname.Name) *route {
	if len(s) == 0 {
		return nil
	}
	for ; !name.IsZero(); name = name.Parent() {
		if r := s[name]; r != nil {
			return r
		}
	}
	return nil
}

// routeOf returns the route that l is to take from the zone cut that the cache
// knows, which may be nil; nil if it is to go on from there. A forwarder is asked
// whatever is known of its zones, unless one of our own zones delegates deeper.
func (r *Resolver) routeOf(l *lookup, from dnsname.Name, cut *rrcache.Delegation) *route {
	rt := r.routes.at(from)
	switch {
	case rt == nil || l.routeless:
		return nil
	case cut == nil || rt.Zone == cut.Zone || cut.Zone.IsSubdomainOf(rt.Zone) && rt.Forward && !cut.Local:
		return rt
	case rt.Zone.IsSubdomainOf(cut.Zone):
		return rt
	}
	return nil
}

// ownRoute returns the route to a zone of this server's own, which the driver answers from
// itself; nil if l is to go elsewhere. Only what others' aliases lead to comes here: the
// zone's names are not asked of the resolver.
func (r *Resolver) ownRoute(l *lookup, from dnsname.Name, cut *rrcache.Delegation) *route {
	apex, ok := r.cache.OpenZone(from)
	if !ok || l.routeless || cut != nil && cut.Local && cut.Zone != apex && cut.Zone.IsSubdomainOf(apex) {
		return nil
	}
	own := Route{Zone: apex, Servers: []netip.AddrPort{Inside}, First: true}
	return &route{Route: own, cut: &rrcache.Delegation{Zone: apex, Local: true}, servers: own.all()}
}

// leaveOurs takes out of an answer what others say of names in zones of ours, at the end
// of their aliases, be it that they do not exist: our own word counts.
func (r *Resolver) leaveOurs(l *lookup, m *dnswire.Message) {
	isOurs := func(name dnsname.Name) bool {
		apex, ok := r.cache.OpenZone(name)
		return ok && !l.cut.Zone.IsSubdomainOf(apex)
	}
	leads := false
	m.Answer = slices.DeleteFunc(m.Answer, func(record rdata.Record) bool {
		if record.Type == rdata.TypeCNAME {
			target, ok := rdata.NameAt(record.Data, 0)
			leads = leads || ok && isOurs(target)
		}
		return record.Name != l.q.name && isOurs(record.Name)
	})
	if leads {
		m.Rcode, m.Authority = dnswire.RcodeNoError, nil // RFC 6604 §3: they are about the last name
	}
}

// takeRoute makes the servers of rt those that l asks.
func (r *Resolver) takeRoute(l *lookup, rt *route) {
	r.leave(l)
	l.cut, l.route = rt.cut, rt
	l.shown.whole = rt.cut.Local // there is nothing to hide from ourselves
	for _, at := range rt.servers[:min(len(rt.servers), r.limits.ServersPerZone)] {
		l.servers = append(l.servers, server{addresses: 1, asked: askedAll})
		l.places = append(l.places, place{addr: at, server: len(l.servers) - 1})
	}
	r.next(l)
}

// forwards reports whether l asks resolvers.
func (l *lookup) forwards() bool { return l.route != nil && l.route.Forward }

// passRoute begins l anew without its route, if the route allows for that.
func (r *Resolver) passRoute(l *lookup) bool {
	if l.route == nil || !l.route.First || l.limited {
		return false
	}
	r.leave(l) // or what is waited for before begin has found a zone cut ends here again
	l.routeless = true
	r.begin(l)
	return true
}

// asForwarded is the verdict on a reply of a resolver that a question was
// forwarded to: it need not be authoritative, and a delegation is no answer.
func (rep reply) asForwarded(m *dnswire.Message) reply {
	if rep.fallback != nil {
		rep = *rep.fallback
	}
	if rep.verdict == lame && m.RA && m.Rcode == dnswire.RcodeNoError && len(m.Answer) == 0 {
		rep.verdict, rep.final = noData, true
	}
	switch rep.verdict {
	case referral, lame:
		return reply{verdict: invalid, note: "no answer from a resolver"}
	case noData, nxDomain:
		if !rep.hasSOA { // that of the zone that says no may well be above ours
			rep.findSOA(dnsname.Root)
		}
	}
	rep.aa = true
	return rep
}
