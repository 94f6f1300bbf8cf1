package routespec

import (
	"slices"

	"pharos/internal/cluster/state"
	"pharos/internal/proxy/terms"
)

// everyTerms returns the terms of routes; nil if none has any.
func everyTerms(r *state.Resources) (all []*terms.Terms) {
	for i, t := range r.EveryRoute() {
		if has := termsOf(t); has != nil {
			if all == nil {
				all = make([]*terms.Terms, r.CountRoutes())
			}
			all[i] = has
		}
	}
	return all
}

// termsOf returns the terms of a route; nil if it has none.
func termsOf(r *state.Route) *terms.Terms {
	t, retry := &r.Timeouts, &r.Retry
	if *t == (state.RouteTimeouts{}) && retry.Tries == 0 && len(retry.On) == 0 {
		return nil
	}
	out := &terms.Terms{Total: t.Total.Std(), PerTry: t.PerTry.Std(), Idle: t.Idle.Std(), Streams: t.Streams, Tries: retry.Tries}
	if len(retry.On) > 0 {
		out.On = &terms.Retrying{
			Connect: slices.Contains(retry.On, "connect"), Reset: slices.Contains(retry.On, "reset"),
			Timeout: slices.Contains(retry.On, "timeout"), Statuses: retry.Statuses(), Codes: retry.Codes(),
		}
	}
	return out
}
