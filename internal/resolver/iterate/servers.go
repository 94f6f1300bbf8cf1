package iterate

import (
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// server is one name server of a lookup's zone.
type server struct {
	name      dnsname.Name
	addresses int   // how many places it has
	asked     uint8 // bits askedA, askedAAAA: these addresses were looked up, or need not be
}

const (
	askedA uint8 = 1 << iota
	askedAAAA
	askedAll = askedA | askedAAAA
)

// place is one address of a server, as one lookup sees it.
type place struct {
	addr    Server
	server  int   // index in lookup.servers
	tries   int   // queries sent there for this lookup and zone
	useless bool  // it answered, but not to the point
	host    *host // as it was known when it was picked; nil: never heard of
}

// triesPerPlace is how often one address is asked for one zone by one lookup
// (RFC 9520 §3.1: "MUST NOT retry more than twice").
const triesPerPlace = 3

// targetsAtOnce is how many server addresses one lookup looks up at a time: 2, so
// that one unreachable zone of servers does not hold up another.
const targetsAtOnce = 2

func family(a Server) int {
	if a.Addr().Is4() {
		return 0
	}
	return 1
}

// hasFamily reports whether servers of this family (0: IPv4, 1: IPv6) can be
// asked now.
func (r *Resolver) hasFamily(family int) bool {
	never := [2]bool{r.cfg.NoIPv4, r.cfg.NoIPv6}
	return !never[family] && !r.now.Before(r.familyOff[family])
}

// Inside is the server of a Route that is no server but the driver itself, which has a copy
// of the zone. Nothing is sent there: it is the dummy address of RFC 7600 §4.8.
var Inside = netip.MustParseAddrPort("192.0.0.8:53")

// canAsk reports whether a server's address can be asked now.
func (r *Resolver) canAsk(a Server) bool { return a.AddrPort == Inside || r.hasFamily(family(a)) }

// addKnown gives a server its addresses: those that the cache has from answers,
// which are the zone's own word, then the glue.
func (r *Resolver) addKnown(l *lookup, i int, glue []netip.Addr) {
	for family, t := range [...]rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
		e := r.cache.Get(r.now, l.servers[i].name, t)
		if e == nil {
			continue
		}
		l.servers[i].asked |= askedA << family
		if e.Kind == rrcache.Positive {
			r.addPlaces(l, i, addresses(e.Set.Data))
		}
	}
	r.addPlaces(l, i, glue)
}

// addPlaces gives a server addresses, up to Limits.ServersPerZone.
func (r *Resolver) addPlaces(l *lookup, i int, addrs []netip.Addr) {
	for _, addr := range addrs {
		if l.servers[i].addresses >= r.limits.ServersPerZone {
			return
		}
		if at := plainServer(netip.AddrPortFrom(addr, r.cfg.Port)); !l.hasPlace(at) && (r.loopback || !addr.IsLoopback()) {
			l.places = append(l.places, place{addr: at, server: i})
			l.servers[i].addresses++
		}
	}
}

func (l *lookup) hasPlace(addr Server) bool {
	for _, p := range l.places {
		if p.addr == addr {
			return true
		}
	}
	return false
}

// addresses reads A or AAAA RDATA, leaving out what can be no server's address:
// unspecified, multicast, link-local and reserved ones, and IPv4 within IPv6.
func addresses(data [][]byte) []netip.Addr {
	var out []netip.Addr
	for _, d := range data {
		addr, ok := netip.AddrFromSlice(d)
		if !ok || addr.IsUnspecified() || addr.IsMulticast() || addr.IsLinkLocalUnicast() || addr.Is4In6() {
			continue
		}
		if addr.Is4() && (d[0] == 0 || d[0] >= 240) { // RFC 1122 §3.2.1.3, RFC 1112 §4
			continue
		}
		out = append(out, addr)
	}
	return out
}

func addressRecord(name dnsname.Name, addr netip.Addr, ttl rdata.TTL) rdata.Record {
	t := rdata.TypeAAAA
	if addr.Is4() {
		t = rdata.TypeA
	}
	return rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: addr.AsSlice()}
}

// pick returns the place to ask next, -1 if there is none: of those tried least,
// the one expected to answer soonest, or now and then any, so that one that has
// become fast is found out.
func (r *Resolver) pick(l *lookup) int {
	fewest := triesPerPlace
	for i := range l.places {
		p := &l.places[i]
		p.host = r.hosts.look(p.addr)
		if r.usable(l, p) {
			fewest = min(fewest, p.tries)
		}
	}
	explore := r.cfg.Rand.IntN(exploreOneIn) == 0
	best, bestPrice, seen := -1, time.Duration(0), 0
	for i := range l.places {
		p := &l.places[i]
		if p.tries != fewest || !r.usable(l, p) {
			continue
		}
		seen++
		h := p.host
		price := h.price(r)
		if h.isLame(l.cut.Zone, r.now) {
			price += lamePrice
		} else if h.isSuspect(l.cut.Zone, r.now) {
			price += suspectPrice
		} else if h.dead(r.now) {
			price += deadPrice
		} else if explore && r.cfg.Rand.IntN(seen) == 0 {
			price = -1
		}
		if best < 0 || price < bestPrice || (price == -1 && bestPrice == -1) {
			best, bestPrice = i, price
		}
	}
	return best
}

// exploreOneIn: one pick in so many takes any server. The prices put servers that
// did not answer lately behind all others, then those whose answers were bogus, and those that answered that they do
// not serve the zone behind these.
const (
	exploreOneIn = 16
	deadPrice    = time.Hour
	suspectPrice = 90 * time.Minute
	lamePrice    = 2 * time.Hour
)

// usable reports whether p, whose host pick has found, can be asked by l.
func (r *Resolver) usable(l *lookup, p *place) bool {
	if p.useless || p.tries >= triesPerPlace || !r.canAsk(p.addr) {
		return false
	}
	// A server that is dead or lame gets one try a lookup, no more.
	h := p.host
	return p.tries == 0 || !h.isLame(l.cut.Zone, r.now) && !h.dead(r.now)
}

// startTargets starts lookups of addresses of servers that have none, within the
// limits; of one server, one address family after the other.
func (r *Resolver) startTargets(l *lookup) {
	for i := range l.servers {
		s := &l.servers[i]
		for family, t := range [...]rdata.Type{rdata.TypeA, rdata.TypeAAAA} {
			bit := askedA << family
			if s.asked&bit != 0 || l.asksFor(i) || r.reachable(l, i) {
				continue
			}
			// NXNSAttack: a delegation to many names without address costs this much
			// and no more. That is the delegation's fault, so the failure counts.
			if len(l.subs) >= targetsAtOnce {
				return
			}
			if l.targets >= max(1, r.limits.TargetsPerZone>>l.depth) {
				r.exceeds(l, LimitDelegation)
				return
			}
			s.asked |= bit
			if r.hasFamily(family) {
				r.startTarget(l, i, question{name: s.name, t: t})
			}
		}
	}
}

// reachable reports whether servers[i] has an address of a family that can be
// asked now.
func (r *Resolver) reachable(l *lookup, i int) bool {
	for _, p := range l.places {
		if p.server == i && r.canAsk(p.addr) {
			return true
		}
	}
	return false
}

// asksFor reports whether an address of servers[i] is being looked up.
func (l *lookup) asksFor(i int) bool {
	for _, s := range l.subs {
		if s.server == i {
			return true
		}
	}
	return false
}

// startTarget starts one lookup of an address of servers[i], unless it is known
// to be in vain.
func (r *Resolver) startTarget(l *lookup, i int, q question) {
	known := r.lookups[q]
	switch {
	case r.cache.Failure(r.now, q.name, q.t) != nil:
		return
	case r.isAlias(q.name): // RFC 2181 §10.3: a name server's name is no alias
		l.servers[i].asked = askedAll
		return
	case known != nil && r.wouldCycle(l, known):
		return
	case l.depth >= r.limits.Depth:
		l.limited = true
		r.exceeds(l, LimitDepth)
		return
	}
	payer := l.payer
	if payer == nil || payer.done {
		payer = l.findPayer(nil)
	}
	if payer == nil || !payer.budget.serverLookup() {
		l.limited = true
		r.exceeds(l, LimitServers)
		return
	}
	l.targets++
	r.note(l, Step{Kind: StepNeedServer, Target: q.name})
	s := r.join(q, waiter{lookup: l}, payer, l.depth+1)
	l.subs = append(l.subs, sub{s, i})
	if known == nil {
		r.begin(s)
	}
}

func (r *Resolver) isAlias(name dnsname.Name) bool {
	e := r.cache.Records(r.now, name, rdata.TypeCNAME)
	return e != nil && e.Kind == rrcache.Positive
}

// targetDone goes on with l when a lookup it waited for has come to its end.
func (r *Resolver) targetDone(l, s *lookup) {
	if s.q == priming && l.cut == nil {
		r.primed(l)
		return
	}
	res := s.result
	for i := range l.servers {
		if l.servers[i].name != s.q.name {
			continue
		}
		if len(res.chain) > 0 || res.rcode != 0 {
			l.servers[i].asked = askedAll // an alias, or no such name: the other family is no better
		} else if res.failure == nil {
			if addrs := addresses(dataOf(res.records)); len(addrs) > 0 {
				r.addPlaces(l, i, addrs)
				l.servers[i].asked = askedAll // one family does, even if another server has the address too
			}
		} else if res.failure.limited {
			l.limited = true
		}
	}
	r.next(l)
}

func dataOf(records []rdata.Record) [][]byte {
	out := make([][]byte, len(records))
	for i, record := range records {
		out[i] = record.Data
	}
	return out
}
