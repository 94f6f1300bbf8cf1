package state

import (
	"pharos/internal/cluster/document"
)

// PoolBreaker keeps a pool that cannot do what is asked of it from being asked for more. What
// does not fit is refused with 503 and Retry-After at once, or goes to the fallback pool of its route. It is about the pool: a member
// that fails while others do well is ejected (passive). Each node counts for itself.
type PoolBreaker struct {
	// Requests is how many requests and tunnels to the pool may be under way at once, and so how many connections to
	// members are in use. 0: any number.
	Requests int `json:"requests,omitzero" default:"0" min:"0" max:"1000000" example:"1000"`
	// Queue is how many more may wait for their turn.
	Queue int `json:"queue,omitzero" default:"0" min:"0" max:"100000" example:"200"`
	// Wait is how long they wait at most.
	Wait document.Duration `json:"wait" default:"1s" min:"10ms" max:"5m" example:"500ms"`
	// Retries is how many requests may be tried on another member at once, beside gateway.limits.retryBudget. 0: no further bound.
	Retries int `json:"retries,omitzero" default:"0" min:"0" max:"100000" example:"20"`
	// ErrorRate is how many percent of the requests within window have to fail for the breaker to open: then nobody
	// is asked for a while. Failed is what no member has answered, and what was answered with one of passive.statuses. 0: it never opens.
	ErrorRate int `json:"errorRate,omitzero" default:"0" min:"0" max:"100" example:"50"`
	// MinRequests is how many requests there have to be within window before that says anything.
	MinRequests int `json:"minRequests" default:"20" min:"1" max:"1000000" example:"50"`
	// Window is how far back is looked.
	Window document.Duration `json:"window" default:"10s" min:"1s" max:"10m" example:"30s"`
	// Open is how long nobody is asked.
	Open document.Duration `json:"open" default:"5s" min:"100ms" max:"10m" example:"10s"`
	// Trials is how many requests are let in at once then; when so many have succeeded in a row all are, and
	// when one fails, nobody is asked for another while.
	Trials int `json:"trials" default:"3" min:"1" max:"1000" example:"5"`
}

// On reports whether b does anything.
func (b *PoolBreaker) On() bool { return b.Requests > 0 || b.Retries > 0 || b.ErrorRate > 0 }

// IsZero reports whether b is what it is when nothing is said of it.
func (b PoolBreaker) IsZero() bool {
	var other PoolBreaker
	document.SetDefaults(&other)
	return b == PoolBreaker{} || b == other
}

// check reports what is wrong with b.
func (b *PoolBreaker) check(at string, report Report) {
	if b.Queue > 0 && b.Requests == 0 {
		report(at+"queue", "requests only wait where there is a bound", "add requests, how many may be under way at once, or leave it out")
	}
}
