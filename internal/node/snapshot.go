package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/zone"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/route"
	"pharos/internal/serve/admission"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

// Snapshot is everything that the data plane reads, at one moment. It is
// immutable, and published whole: a query or request loads it once and sees one
// consistent state of zones, pools, steered names and routes.
type Snapshot struct {
	Revision uint64 // one more for each that was published by this process
	Config   *config.Config
	State    *state.State // with the resources that were compiled

	served    []*servedZone // in the order of the configuration
	read      int           // records read for this snapshot, not taken over
	zones     *zone.Set
	broken    map[dnsname.Name]bool // zones without anything to serve
	steered   *steer.Table
	pools     *pool.Registry
	gateway   *httpproxy.Table
	recursion *admission.ACL
}

// compile makes the snapshot of a configuration and the applied resources. What
// did not change is taken over from prev, which may be nil. A zone that cannot be
// loaded does not fail the snapshot: the old version is served on, or the zone
// counts as broken; see servedZone.Err.
func compile(cfg *config.Config, st *state.State, status func(health.Target) health.Status, prev *Snapshot) (*Snapshot, error) {
	s := &Snapshot{Revision: 1, Config: cfg, State: st, broken: map[dnsname.Name]bool{}}
	var prevPools *pool.Registry
	if prev != nil {
		s.Revision, prevPools = prev.Revision+1, prev.pools
	}
	resources := st.Resources()
	var err error
	if s.pools, err = pool.NewRegistry(poolSpecs(resources.Pools), status, prevPools); err != nil {
		return nil, err
	}
	if s.recursion, err = admission.AllowOnly(cfg.Resolver.Allow); err != nil {
		return nil, fmt.Errorf("resolver.allow: %w", err)
	}
	if s.gateway, err = compileRoutes(resources.Routes, s.pools, prev); err != nil {
		return nil, err
	}
	s.steered = compileSteer(resources.Steer, s.pools)
	s.compileZones(cfg.Zones, resources.Steer, prev)
	return s, nil
}

func poolSpecs(pools []state.Pool) []pool.Spec {
	specs := make([]pool.Spec, len(pools))
	for i, p := range pools {
		spec := pool.Spec{Name: p.Name, Check: checkOf(p.Check)}
		if err := spec.Policy.UnmarshalText([]byte(p.Policy)); err != nil {
			panic("BUG: " + err.Error()) // the configuration has checked it
		}
		for _, m := range p.Members {
			spec.Members = append(spec.Members, pool.MemberSpec{Name: m.Name, Address: m.Address, Weight: m.Weight, Drain: m.Drain})
		}
		specs[i] = spec
	}
	return specs
}

func checkOf(c state.Check) health.Check {
	check := health.Check{
		Path: c.Path, Host: c.Host, Port: c.Port,
		Params: health.Params{Interval: time.Duration(c.Interval), Timeout: time.Duration(c.Timeout), Rise: c.Rise, Fall: c.Fall},
	}
	if err := check.Kind.UnmarshalText([]byte(c.Type)); err != nil {
		panic("BUG: " + err.Error())
	}
	if err := check.Status.UnmarshalText([]byte(c.Status.String())); err != nil {
		panic("BUG: " + err.Error())
	}
	return check
}

func compileRoutes(routes []state.Route, pools *pool.Registry, prev *Snapshot) (*httpproxy.Table, error) {
	rules := make([]route.Rule, len(routes))
	for i, r := range routes {
		rules[i] = route.Rule{Host: r.Host, Path: r.Path, Pool: r.Pool}
	}
	var before *httpproxy.Table
	if prev != nil {
		before = prev.gateway
	}
	table, errs := httpproxy.NewTable(rules, pools.Pools(), before)
	return table, errors.Join(errs...)
}

func compileSteer(names []state.Steer, pools *pool.Registry) *steer.Table {
	rules := make([]steer.Rule, len(names))
	for i, n := range names {
		rules[i] = steer.Rule{Name: n.Name, Pool: pools.Pool(n.Pool), TTL: rdata.TTL(time.Duration(n.TTL) / time.Second)}
	}
	return steer.NewTable(rules)
}

// compileZones loads the zones whose files or steered names have changed, and
// takes over the others.
func (s *Snapshot) compileZones(zones []config.Zone, steered []state.Steer, prev *Snapshot) {
	before := map[dnsname.Name]*servedZone{}
	if prev != nil {
		for _, z := range prev.served {
			before[z.Name] = z
		}
	}
	mine := steeredByZone(zones, steered)
	var loaded []*zone.Zone
	for _, c := range zones {
		old := before[c.Name]
		served := old
		if old == nil || old.File != c.File || old.Steered != joinNames(mine[c.Name]) || changed(old.stamps) {
			served = loadZone(c, mine[c.Name], old)
		}
		s.served = append(s.served, served)
		if served.Zone == nil {
			s.broken[served.Name] = true
			continue
		}
		if served != old {
			_, records, _ := served.Zone.Stats()
			s.read += records
		}
		loaded = append(loaded, served.Zone)
	}
	s.zones = zone.NewSet(loaded...)
}

// steeredByZone returns, for each zone, the steered names that it has to leave to
// their pools: those for which it is the closest zone.
func steeredByZone(zones []config.Zone, steered []state.Steer) map[dnsname.Name][]dnsname.Name {
	apexes := make(map[dnsname.Name]bool, len(zones))
	for _, z := range zones {
		apexes[z.Name] = true
	}
	mine := map[dnsname.Name][]dnsname.Name{}
	for _, st := range steered {
		for n := st.Name; !n.IsZero(); n = n.Parent() {
			if apexes[n] {
				mine[n] = append(mine[n], st.Name)
				break
			}
		}
	}
	for _, names := range mine {
		slices.SortFunc(names, dnsname.Name.Compare)
	}
	return mine
}

// homeless returns the steered names that lie in no zone of ours: nobody is
// referred to this server for them, and they cannot be answered.
func (s *Snapshot) homeless() []dnsname.Name {
	var names []dnsname.Name
	for _, st := range s.State.Resources().Steer {
		if s.zones.Find(st.Name, rdata.TypeA) == nil && !s.isBroken(st.Name) {
			names = append(names, st.Name)
		}
	}
	return names
}

// watched reports whether a file of the configuration or of a zone has changed
// since the snapshot was made.
func (s *Snapshot) watched(cfg stamp) bool {
	return cfg != stampOf(cfg.path) || slices.ContainsFunc(s.served, func(z *servedZone) bool { return changed(z.stamps) })
}
