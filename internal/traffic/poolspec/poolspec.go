// Package poolspec makes of a pool and of a steered name, as they are written, what
// packages pool, affinity and steer take. It owns nothing but the way from the one to the
// other; the written form has been checked (package state).
//
// Entry points: Of, Affinities, Steered, PlaceOf.
//
// Concurrency: functions without shared state.
package poolspec

import (
	"errors"
	"time"

	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/checkspec"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/outlier"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/steer"
)

// Of returns pools as a registry takes them, for a node that stands here.
func Of(pools []state.Pool, here state.Place) []pool.Spec {
	specs := make([]pool.Spec, len(pools))
	for i, p := range pools {
		spec := pool.Spec{
			Name: p.Name, Check: checkspec.Of(p.Check), Agent: agentOf(p.Agent), Passive: passiveOf(p.Passive), Behind: p.DependsOn, SlowStart: time.Duration(p.SlowStart), Here: PlaceOf(here),
			Hash: pool.HashSpec{Bound: p.Hash.Bound, Key: pool.Key{Name: p.Hash.Name, Bits4: p.Hash.Bits4, Bits6: p.Hash.Bits6}},
		}
		spec.Check.Params = paramsOf(&p, spec.Check.Params.Get()).Once()
		err := errors.Join(spec.Policy.UnmarshalText([]byte(p.Policy)), spec.Local.UnmarshalText([]byte(p.LocalFirst)),
			spec.Hash.By.UnmarshalText([]byte(p.Hash.By)), spec.Hash.Key.Of.UnmarshalText([]byte(p.Hash.Key)))
		if err != nil {
			panic("BUG: " + err.Error()) // the configuration has checked it
		}
		spec.Members = make([]pool.MemberSpec, 0, len(p.Members))
		for _, m := range p.Members {
			spec.Members = append(spec.Members, pool.MemberSpec{
				Name: m.Name, Address: m.Address, Weight: m.Weight, Drain: m.Drain,
				Tier: m.Tier, Capacity: m.Capacity, Bandwidth: int64(m.Bandwidth), Place: PlaceOf(m.Place), Host: hostOf(m.Host),
			})
		}
		specs[i] = spec
	}
	return specs
}

// paramsOf returns times and counts of the check of a pool with what other keys of the pool add to them.
func paramsOf(p *state.Pool, params health.Params) health.Params {
	if p.Scale.Driver == "process" { // members are new ones, mostly
		params.Grace = max(params.Grace, p.Scale.Process.Start.Std())
	}
	params.Passive = -1
	if p.Passive.Enabled {
		params.Passive, params.Eject = p.Passive.Failures, time.Duration(p.Passive.Ejection)
	}
	return params
}

func agentOf(a state.PoolAgent) health.Check {
	if a.Type == "none" || a.Type == "" {
		return health.Check{}
	}
	return checkspec.Of(a.Check())
}

// passiveOf returns what a pool makes of its traffic. What is written as 0, never, is -1.
func passiveOf(p state.Passive) pool.Passive {
	out := pool.Passive{
		Rules: outlier.Rules{
			Window: time.Duration(p.Window), MinRequests: p.MinRequests, ErrorRate: p.ErrorRate, Slow: float64(p.Slow), Floor: p.Floor,
		},
		MaxEjected: p.MaxEjected, Off: !p.Enabled,
	}
	if p.ErrorRate == 0 {
		out.Rules.ErrorRate = -1
	}
	if p.Slow == 0 {
		out.Rules.Slow = -1
	}
	if err := out.Statuses.UnmarshalText([]byte(p.Statuses.String())); err != nil {
		panic("BUG: " + err.Error()) // the configuration has checked it
	}
	return out
}

// PlaceOf returns a place as packages of traffic take it.
func PlaceOf(p state.Place) pool.Place {
	return pool.Place{
		Continent: p.Continent, Country: p.Country, Region: p.Region, Zone: p.Zone,
		Latitude: p.Location.Latitude, Longitude: p.Location.Longitude,
	}
}

// affinityKinds are what clients are known by, and the part of the request for it.
var affinityKinds = map[string]struct {
	kind affinity.Kind
	of   pool.KeyKind
}{
	"cookie":        {affinity.Cookie, 0},
	"clientAddress": {affinity.Key, pool.ClientAddress},
	"clientPrefix":  {affinity.Key, pool.ClientPrefix},
	"field":         {affinity.Key, pool.Field},
	"clientCookie":  {affinity.Key, pool.Cookie},
	"query":         {affinity.Key, pool.Query},
	"session":       {affinity.Session, pool.Cookie},
}

// Affinities returns the affinities of pools that have one, by their names. secret
// signs cookies.
func Affinities(pools []state.Pool, secret []byte) map[string]affinity.Spec {
	specs := map[string]affinity.Spec{}
	for _, p := range pools {
		a := p.Affinity
		kind, has := affinityKinds[a.By]
		if !has {
			continue
		}
		spec := affinity.Spec{
			Kind: kind.kind, Key: pool.Key{Of: kind.of, Name: a.Name, Bits4: a.Bits4, Bits6: a.Bits6},
			TTL: time.Duration(a.TTL), Drain: time.Duration(a.Drain), Most: a.Most,
			Name: a.Name, Path: a.Path, Secure: a.Secure, HTTPOnly: a.HTTPOnly, SameSite: a.SameSite, Secret: secret,
		}
		if spec.Name == "" {
			spec.Name = "pharos-" + p.Name
		}
		specs[p.Name] = spec
	}
	return specs
}

func hostOf(n dnsname.Name) string {
	if n.IsZero() {
		return ""
	}
	return n.String()
}

// Steered returns a steered name as a table of them takes it, but for what is of the node:
// where clients are, what was measured, and the clock of loads.
func Steered(n *state.Steer, pools *pool.Registry) steer.Spec {
	down, _ := steer.ParseDown(n.WhenDown)
	s := steer.Spec{
		Name: n.Name, Kind: n.Kind(), Pool: pools.Pool(n.Pool), WhenDown: down, Addresses: n.Fallback.Addresses,
		TTL: rdata.TTL(n.TTL.Std() / time.Second), ShortTTL: rdata.TTL(n.ShortTTL.Std() / time.Second), Calm: n.Calm.Std(),
	}
	if n.Fallback.Pool != "" {
		s.Fallback = pools.Pool(n.Fallback.Pool)
	}
	var errs [2]error
	s.Filters, errs[0] = n.Chain()
	s.Service, errs[1] = n.ServiceData()
	if err := errors.Join(errs[:]...); err != nil {
		panic("BUG: " + err.Error()) // the configuration, or what applied them, has checked them
	}
	return s
}
