package node

import (
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"os"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/trafficdesk"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/aliases"
	"pharos/internal/authority/byname"
	"pharos/internal/authority/designated"
	"pharos/internal/authority/live"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/proxy/filter"
	"pharos/internal/proxy/routespec"
	"pharos/internal/proxy/served"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/resolver/rulebook"
	"pharos/internal/serve/admission"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/fleet"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
	"pharos/internal/traffic/steer"
)

// Snapshot is everything that the data plane reads, at one moment. It is
// immutable, and published whole: a query or request loads it once and sees one
// consistent state of zones, pools, steered names and routes.
type Snapshot struct {
	Revision uint64 // one more for each that was published by this process
	Config   *config.Config
	State    *state.State // with the resources that were compiled

	apexes      byname.Map[*apex]
	keys        map[dnsname.Name]*tsig.Key
	read        int  // records read for this snapshot, not taken over
	reread      bool // all files were looked at, those of keys too
	takesOver   bool // zones are those of the snapshot before, but for those that are revised
	revised     []dnsname.Name
	gone        []dnsname.Name // if takesOver: zones that only the snapshot before has
	zones       *zone.Set
	lives       int                             // zones whose answers are signed as they are asked for
	broken      int                             // zones without anything to serve
	steering    map[dnsname.Name][]steered.Mark // the steered names of each zone
	steered     *steer.Table
	exporting   map[string][]dnsname.Name // the zones that have present answers from a pool
	pools       *pool.Registry
	gateway     *served.Table
	recursion   *admission.ACL
	access      []access                               // who may ask, by listener
	restricted  map[dnsname.Name][]config.TransferRule // zones that not everybody may ask about
	designated  *designated.Zones                      // what clients of the resolver are told of it
	rulebook    *rulebook.Book                         // what is said in place of, or after, what the resolver finds
	reporting   map[dnsname.Name]reporting             // nil: no zone has to do with reports
	authorities map[string]*x509.CertPool              // of clients' certificates, by file
	subnets     *admission.ACL                         // who may say for whom it asks

	views []*Snapshot // in the order in which clients are matched; nil in a view
	view  *view       // that this is the snapshot of; nil outside of views
	under *Snapshot   // of a view: where it falls through to; nil if it is isolated
}

// apex is a zone of the configuration by its name: what is said of it, and what is
// served.
type apex struct {
	config  *config.Zone
	served  *versions.Zone
	updates update.Rules
	live    *live.Signer // signs answers as they are asked for; nil: nothing does
}

// before is what a snapshot is compiled beside; its parts may be nil.
type before struct {
	prev       *Snapshot
	status     func(health.Target) health.Status
	found      func(*state.Pool) []pool.MemberSpec // members that were made or discovered; nil: none
	fleet      *fleet.Driver                       // nil while nothing is carried
	said       func(pool.Spec) pool.Spec           // what operators say of members; nil: nothing
	vouch      filter.Means                        // what filters verify credentials by
	keys       func(dnsname.Name) []*sign.Key
	signatures *live.Cache

	versions.Way
	reading *reading // of master files; all others are as they were

	aliased *aliases.Driver                                   // nil while nothing is served: pharos check
	parts   func(*config.View, *Snapshot) (*viewParts, error) // of a view

	secret []byte // that signs cookies of the gateway

	cache *rrcache.Cache // of the resolver; nil while nothing is served
	guide *guide         // what steering goes by; nil while nothing is served
}

// compile makes the snapshot of a configuration and the applied resources. What
// did not change is taken over from the snapshot before. A zone that cannot be
// loaded does not fail the snapshot: the old version is served on, or the zone
// counts as broken; see versions.Zone.Err.
func compile(cfg *config.Config, st *state.State, from before) (*Snapshot, error) {
	prev := from.prev
	s := &Snapshot{Revision: 1, Config: cfg, State: st}
	var prevPools *pool.Registry
	if prev != nil {
		s.Revision, prevPools = prev.Revision+1, prev.pools
	}
	resources := st.Resources()
	var err error
	if s.pools, err = pool.NewRegistry(from.withFound(resources.Pools, cfg.Place), from.status, prevPools); err != nil {
		return nil, err
	}
	if s.recursion, err = admission.AllowOnly(cfg.Resolver.Allow); err != nil {
		return nil, fmt.Errorf("resolver.allow: %w", err)
	}
	if s.access, err = compileAccess(cfg.DNS.Access); err != nil {
		return nil, err
	}
	if s.subnets, err = admission.AllowOnly(cfg.DNS.ClientSubnet.Trusted); err != nil {
		return nil, fmt.Errorf("dns.clientSubnet.trusted: %w", err)
	}
	s.restricted, s.designated = cfg.Restricted(), settings.Designated(cfg)
	s.reporting = compileReporting(cfg.Zones)
	if s.gateway, err = compileRoutes(resources, s.pools, poolspec.Affinities(resources.Pools, from.secret), from.vouch, prev); err != nil {
		return nil, err
	}
	s.gateway.Hold(trafficdesk.Holding(resources.Pools, from.fleet), prev.table())
	steered := from.steers(resources.Steer)
	s.steered = from.guide.table(steered, s.pools)
	if s.keys, err = compileKeys(cfg.Keys); err != nil {
		return nil, err
	}
	if s.authorities, err = compileAuthorities(cfg.EveryZone()); err != nil {
		return nil, err
	}
	if err = s.compileRules(from.cache, prev); err != nil {
		return nil, fmt.Errorf("resolver.%w", err)
	}
	s.compileZones(cfg, steered, from)
	return s, s.compileViews(cfg, from)
}

// withFound returns the pools with the members that were discovered.
func (from before) withFound(pools []state.Pool, here state.Place) []pool.Spec {
	specs := poolspec.Of(pools, here)
	for i := range pools {
		if from.found != nil {
			specs[i] = specs[i].With(from.found(&pools[i]))
		}
		if from.said != nil {
			specs[i] = from.said(specs[i])
		}
	}
	return specs
}

func compileRoutes(resources *state.Resources, pools *pool.Registry, affinities map[string]affinity.Spec, means filter.Means, prev *Snapshot) (*served.Table, error) {
	table, errs := routespec.Table(resources, pools.Pools(), affinities, means, prev.table())
	return table, errors.Join(errs...)
}

// table returns what the gateway goes by; nil if there is no snapshot.
func (s *Snapshot) table() *served.Table {
	if s == nil {
		return nil
	}
	return s.gateway
}

// compileZones makes the zones whose files or steered names have changed, and takes over
// the others.
func (s *Snapshot) compileZones(cfg *config.Config, names []state.Steer, from before) {
	s.steering, from.Steered = settings.Marks(cfg.Zones, names), s.steered
	s.exporting = settings.Exporting(cfg.Zones, s.steering, names)
	if s.takeOver(from) {
		return
	}
	s.takesOver = false
	s.apexes = byname.New(len(cfg.Zones), func(yield func(dnsname.Name, *apex) bool) {
		for i := range cfg.Zones {
			c := &cfg.Zones[i]
			var old *versions.Zone
			if from.prev != nil {
				if a := from.prev.apexes.Get(c.Name); a != nil {
					old = a.served
				}
			}
			from.Read = from.reading.of(from.View, i)
			served := from.Serve(cfg, c, s.steering[c.Name], old)
			if served != old {
				s.read += served.Records()
			}
			a := &apex{c, served, settings.Updates(c), from.liveSigner(c.Name)}
			s.lives += livesBy(a.live)
			yield(c.Name, a)
		}
	})
	var loaded []*zone.Zone
	for z := range s.served() {
		if s.broken += versions.BrokenBy(z); z.Zone != nil {
			loaded = append(loaded, z.Zone)
		}
	}
	s.zones = zone.NewSet(loaded...)
}

// served returns the zones in the order of the configuration.
func (s *Snapshot) served() iter.Seq[*versions.Zone] {
	return func(yield func(*versions.Zone) bool) {
		for i := range s.Config.Zones {
			if !yield(s.apexes.Get(s.Config.Zones[i].Name).served) {
				return
			}
		}
	}
}

// withVersion returns s with the version of one zone that its keeper and the
// stages have now; nil if nothing of it has changed. All else is shared, so this
// takes no longer among many zones.
func (s *Snapshot) withVersion(name dnsname.Name, from before) *Snapshot {
	next := *s
	next.Revision++
	next.revised, next.gone = nil, nil
	if !next.revise(name, from) {
		return nil
	}
	next.link()
	return &next
}

// withRoutes returns s with another table of the gateway and the state that it is of.
func (s *Snapshot) withRoutes(table *served.Table, st *state.State) *Snapshot {
	next := *s
	next.Revision++
	next.revised, next.gone = nil, nil
	next.gateway, next.State = table, st
	next.link()
	return &next
}

// compileKeys reads the secrets.
func compileKeys(keys []config.Key) (map[dnsname.Name]*tsig.Key, error) {
	all := make(map[dnsname.Name]*tsig.Key, len(keys))
	for i, k := range keys {
		text := k.Secret
		if k.SecretFile != "" {
			octets, err := os.ReadFile(k.SecretFile)
			if err != nil {
				return nil, fmt.Errorf("keys[%d].secretFile: %w", i, err)
			}
			text = string(octets)
		}
		secret, err := config.DecodeSecret(text)
		if err != nil {
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		}
		algorithm, err := tsig.ParseAlgorithm(k.Algorithm)
		if err != nil {
			return nil, fmt.Errorf("keys[%d].algorithm: %w", i, err)
		}
		all[k.Name] = &tsig.Key{Name: k.Name, Algorithm: algorithm, Secret: secret}
	}
	return all, nil
}

// homelessText says which steered names lie in no zone of ours, or nothing if all
// do: nobody is referred to this server for them, and they cannot be answered.
func (s *Snapshot) homelessText() string {
	var first dnsname.Name
	count := 0
	for _, st := range s.State.Resources().Steer {
		if z := s.zones.Find(st.Name, rdata.TypeA); z == nil && !s.isBroken(st.Name) || z != nil && !settings.MayMark(z.Origin(), st) {
			if count++; count == 1 {
				first = st.Name
			}
		}
	}
	switch count {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("steer: %s lies in none of the zones, or is to be a CNAME at an apex, so it is not answered", first)
	}
	return fmt.Sprintf("steer: %s and %d other names lie in none of the zones, or are to be CNAMEs at an apex, so they are not answered", first, count-1)
}
