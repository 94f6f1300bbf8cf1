package routespec

import (
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/breaker"
	"pharos/internal/proxy/queue"
)

// breakers returns the rules of the pools that have a breaker, by their names.
func breakers(pools []state.Pool) map[string]breaker.Rules {
	all := map[string]breaker.Rules{}
	for i := range pools {
		b := &pools[i].Breaker
		if !b.On() {
			continue
		}
		all[pools[i].Name] = breaker.Rules{
			Bounds:  queue.Bounds{Most: b.Requests, Queue: b.Queue, Wait: b.Wait.Std()},
			Retries: b.Retries, ErrorRate: b.ErrorRate, MinRequests: b.MinRequests, Window: b.Window.Std(), Open: b.Open.Std(), Trials: b.Trials,
		}
	}
	return all
}
