package state

import (
	"fmt"
	"net/netip"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
)

// Report takes one problem: the path of the value, what is wrong and the remedy.
type Report func(path, text, remedy string)

// Check reports what is wrong between resources that are each well formed: the
// same name twice, a pool that does not exist, a timeout beyond its interval.
// Paths are written as in a configuration file, e.g. pools[0].members[1].name.
func (r *Resources) Check(report Report) {
	pools := r.checkPools(report)
	steered := map[dnsname.Name]int{}
	for i, s := range r.Steer {
		at := fmt.Sprintf("steer[%d]", i)
		if j, twice := steered[s.Name]; twice && !s.Name.IsZero() {
			report(at+".name", fmt.Sprintf("%s is already steered by steer[%d]", s.Name, j), "remove one of them")
		} else {
			steered[s.Name] = i
		}
		pools.require(at+".pool", s.Pool, report)
	}
	routed := map[string]int{}
	for i, t := range r.Routes {
		at := fmt.Sprintf("routes[%d]", i)
		if j, twice := routed[t.Key()]; twice {
			report(at, fmt.Sprintf("host %q with path %q is already routes[%d]", t.Host, t.Path, j), "remove one of them")
		} else {
			routed[t.Key()] = i
		}
		pools.require(at+".pool", t.Pool, report)
	}
}

// poolNames are the pools that others may refer to, with their index.
type poolNames map[string]int

func (r *Resources) checkPools(report Report) poolNames {
	pools := make(poolNames, len(r.Pools))
	for i := range r.Pools {
		p, at := &r.Pools[i], fmt.Sprintf("pools[%d]", i)
		if j, twice := pools[p.Name]; twice && p.Name != "" {
			report(at+".name", fmt.Sprintf("pool %q is already pools[%d]", p.Name, j), "give each pool its own name")
		} else {
			pools[p.Name] = i
		}
		p.check(at+".", report)
	}
	return pools
}

// require reports a reference to a pool that is not there.
func (n poolNames) require(path, pool string, report Report) {
	if pool == "" {
		return // reported as missing
	}
	if _, ok := n[pool]; ok {
		return
	}
	remedy := "there are no pools; add it under pools"
	if len(n) > 0 {
		known := make([]string, 0, len(n))
		for name := range n {
			known = append(known, name)
		}
		remedy = "known pools: " + list(known)
		if near := document.Nearest(pool, sorted(known)); near != "" {
			remedy = fmt.Sprintf("did you mean %q?", near)
		}
	}
	report(path, fmt.Sprintf("unknown pool %q", pool), remedy)
}

// check reports what is wrong within one pool; paths begin with at.
func (p *Pool) check(at string, report Report) {
	if p.Check.Timeout > p.Check.Interval {
		report(at+"check.timeout", fmt.Sprintf("the timeout %s is longer than the interval %s", p.Check.Timeout, p.Check.Interval),
			"a probe must end before the next begins; shorten the timeout or lengthen the interval")
	}
	if c := p.Check.checkPath(); c != "" {
		report(at+"check.path", c, `write it as "/health" or "/health?full=1"`)
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

// checkPath says what is wrong with the path of a probe: it goes into a request
// line as it is (RFC 9112 §3.2.1).
func (c *Check) checkPath() string {
	if c.Path == "" || c.Path[0] != '/' {
		return `the path does not begin with "/"`
	}
	for i := range len(c.Path) {
		if ch := c.Path[i]; ch <= ' ' || ch >= 0x7f || ch == '#' {
			return "the path has a character that cannot stand in a request"
		}
	}
	return ""
}
