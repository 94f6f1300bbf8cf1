package routespec

import (
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/mirror"
)

// mirrors returns how the requests of routes are copied; nil if those of none are.
func mirrors(r *state.Resources) (all []*mirror.Spec) {
	for i, t := range r.EveryRoute() {
		if spec := mirrorOf(t); spec != nil {
			if all == nil {
				all = make([]*mirror.Spec, r.CountRoutes())
			}
			all[i] = spec
		}
	}
	return all
}

func mirrorOf(r *state.Route) *mirror.Spec {
	m := &r.Mirror
	if m.Pool == "" {
		return nil
	}
	return &mirror.Spec{Pool: m.Pool, Percent: m.Percent, Unsafe: m.Unsafe, Content: int(m.Content), Most: m.Concurrency}
}
