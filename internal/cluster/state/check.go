package state

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
)

// Report takes one problem: the path of the value, what is wrong and the remedy.
type Report func(path, text, remedy string)

// Check reports what is wrong between resources that are each well formed: the
// same name twice, a pool that does not exist, a timeout beyond its interval.
// Paths are written as in a configuration file, e.g. pools[0].members[1].name.
func (r *Resources) Check(report Report) {
	r.CheckPart(report)
	pools := newPoolNames()
	byName := map[string]*Pool{}
	for i := range r.Pools {
		pools.add(r.Pools[i].Name)
		byName[r.Pools[i].Name] = &r.Pools[i]
	}
	for i, s := range r.Steer {
		at := fmt.Sprintf("steer[%d].", i)
		pools.require(at+"pool", s.Pool, report)
		pools.require(at+"fallback.pool", s.Fallback.Pool, report)
		if p := byName[s.Pool]; p != nil {
			s.checkHosts(at, p, report)
		}
	}
	r.checkDependencies(pools, report)
	for i, t := range r.Routes {
		at := fmt.Sprintf("routes[%d].", i)
		pools.require(at+"pool", t.Pool, report)
		pools.require(at+"fallback", t.Fallback, report)
		pools.require(at+"mirror.pool", t.Mirror.Pool, report)
		for j, s := range t.Split {
			pools.require(fmt.Sprintf("%ssplit[%d].pool", at, j), s.Pool, report)
		}
		r.checkFiltersOf(&r.Routes[i], at, report)
	}
}

// CheckPart is Check for resources that may refer to pools which are elsewhere.
func (r *Resources) CheckPart(report Report) {
	r.checkPools(report)
	r.checkFilters(report)
	steered := map[dnsname.Name]int{}
	for i, s := range r.Steer {
		s.check(fmt.Sprintf("steer[%d].", i), report)
		if j, twice := steered[s.Name]; twice && !s.Name.IsZero() {
			report(fmt.Sprintf("steer[%d].name", i), fmt.Sprintf("%s is already steered by steer[%d]", s.Name, j), "remove one of them")
			continue
		}
		steered[s.Name] = i
	}
	routed := map[string]int{}
	for i := range r.Routes {
		t, at := &r.Routes[i], fmt.Sprintf("routes[%d]", i)
		t.check(at, report)
		if j, twice := routed[t.Key()]; twice && t.Name != "" {
			report(at+".name", fmt.Sprintf("route %q is already routes[%d]", t.Name, j), "give each its own name")
		} else if twice {
			report(at, fmt.Sprintf("host %q with path %q is already routes[%d]", t.Host, t.Path, j), "remove one of them; or give each a name, and say under when which requests it is for")
		} else {
			routed[t.Key()] = i
		}
	}
}

func (r *Resources) checkPools(report Report) {
	r.checkPorts(report)
	pools := map[string]int{}
	for i := range r.Pools {
		p, at := &r.Pools[i], fmt.Sprintf("pools[%d]", i)
		if j, twice := pools[p.Name]; twice && p.Name != "" {
			report(at+".name", fmt.Sprintf("pool %q is already pools[%d]", p.Name, j), "give each pool its own name")
		} else {
			pools[p.Name] = i
		}
		p.check(at+".", report)
		p.Check.checkUnused(at+".check.", report)
	}
}

// poolNames are the pools that others may refer to.
type poolNames struct {
	known  map[string]bool
	sorted []string // of known; nil when it must be made anew
	asked  int      // suggestions made so far
}

// maxSuggestions bounds the work of looking for the nearest name: nobody reads
// more of them at once, and 100,000 lost references to 10,000 pools are 10^9
// comparisons.
const maxSuggestions = document.MaxProblems

func newPoolNames() *poolNames { return &poolNames{known: map[string]bool{}} }

func (n *poolNames) add(name string) {
	if name != "" {
		n.known[name], n.sorted = true, nil
	}
}

// names returns the pools in order.
func (n *poolNames) names() []string {
	if n.sorted == nil {
		n.sorted = slices.Sorted(maps.Keys(n.known))
	}
	return n.sorted
}

// nearest returns the pool that a wrong name was most likely meant to be, or "".
func (n *poolNames) nearest(wrong string) string {
	if n.asked++; n.asked > maxSuggestions {
		return ""
	}
	return document.Nearest(wrong, n.names())
}

// require reports a reference to a pool that is not there.
func (n *poolNames) require(path, pool string, report Report) {
	if pool == "" || n.known[pool] {
		return // an empty one is reported as missing
	}
	remedy := "there are no pools; add it under pools"
	if len(n.known) > 0 {
		remedy = "known pools: " + list(n.names())
		if near := n.nearest(pool); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
	}
	report(path, fmt.Sprintf("unknown pool %q", pool), remedy)
}

// check reports what is wrong within one pool; paths begin with at.
func (p *Pool) check(at string, report Report) {
	p.Check.check(at+"check.", report)
	p.checkPicking(at, report)
	p.checkPassive(at, report)
	p.Origin.check(at+"origin.", report)
	p.Breaker.check(at+"breaker.", report)
	p.Scale.check(at+"scale.", &p.Check, report)
	p.Scale.checkLoad(at+"scale.", p.hasAgent(), report)
	if len(p.Members) == 0 && len(p.Discover) == 0 && !p.Scale.On() && p.Name != "" { // without a name it is no pool at all
		report(at+"members", "the pool has no members", "name them, or a list of them under discover, or what makes them under scale")
	}
	for i := range p.Discover {
		p.Discover[i].check(fmt.Sprintf("%sdiscover[%d].", at, i), report)
	}
	names, addresses := map[string]int{}, map[netip.AddrPort]int{}
	for i, m := range p.Members {
		where := fmt.Sprintf("%smembers[%d]", at, i)
		if j, twice := names[m.Name]; twice && m.Name != "" {
			report(where+".name", fmt.Sprintf("member %q is already members[%d] of this pool", m.Name, j), "give each member its own name")
		} else {
			names[m.Name] = i
		}
		if !m.Address.IsValid() {
			continue // reported as missing or malformed
		}
		if j, twice := addresses[m.Address]; twice {
			report(where+".address", fmt.Sprintf("%s is already the address of members[%d]", m.Address, j), "use weight to give a server more")
		} else {
			addresses[m.Address] = i
		}
		if m.Address.Port() == 0 || m.Address.Addr().IsUnspecified() || m.Address.Addr().IsMulticast() {
			report(where+".address", fmt.Sprintf("%s is not the address of a server", m.Address), "write where the server listens")
		}
	}
}
