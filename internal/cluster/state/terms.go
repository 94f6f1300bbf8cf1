package state

import (
	"fmt"
	"slices"
	"strconv"

	"pharos/internal/cluster/document"
	"pharos/internal/proxy/terms"
)

// RouteTimeouts bound how long requests of a route take. They are right to a fifth of a second.
type RouteTimeouts struct {
	// Total is from the first octet of a request to the last one of its response, with all tries
	// and all waiting; then it is answered with 504, or its response is cut off. It does not hold for
	// tunnels (WebSocket), server-sent events and gRPC calls, unless streams is set; but a gRPC client's own
	// grpc-timeout does, if it is shorter. 0: no bound.
	Total document.Duration `json:"total,omitzero" default:"0s" min:"0s" max:"24h" example:"30s"`
	// PerTry is from turning to a member to the head of its response; then the next
	// one is asked, and at last the answer is 504. For content that is passed on while it comes it begins with its end.
	// 0: 30s.
	PerTry document.Duration `json:"perTry,omitzero" default:"0s" min:"0s" max:"1h" example:"5s"`
	// Idle is how long a response or a tunnel may be silent once it has begun. 0: 30s for
	// responses, an hour for tunnels.
	Idle document.Duration `json:"idle,omitzero" default:"0s" min:"0s" max:"24h" example:"5m"`
	// Streams has total hold for tunnels, server-sent events and gRPC calls, too.
	Streams bool `json:"streams,omitzero" default:"false" example:"true"`
}

// RouteRetry says when a request of a route is sent to another member. What may have reached a
// member goes to another one only if its method is idempotent, and no more than a part of a pool's requests
// at a time do (gateway.limits.retryBudget).
type RouteRetry struct {
	// Tries is how many members a request is sent to at most. 1: it is never sent again. 0: gateway.limits.tries.
	Tries int `json:"tries,omitzero" default:"0" min:"0" max:"8" example:"2"`
	// On is what has it sent to another one: connect (there is no connection, so that nothing was sent), reset (the
	// connection ended before the whole answer), timeout (perTry), and statuses of responses; and of calls of
	// gRPC that are answered without a message, whose method says nothing of whether they may be repeated,
	// grpc-unavailable, grpc-resource-exhausted, grpc-aborted, grpc-internal, grpc-deadline-exceeded and
	// grpc-cancelled. Without any: connect, reset and timeout.
	On []string `json:"on,omitempty" max:"16" example:"[connect, reset, \"502\", \"503\", \"504\"]"`
}

// Codes returns the outcomes of calls of gRPC of On.
func (r *RouteRetry) Codes() (all []int) {
	for _, what := range r.On {
		if code, is := terms.Codes[what]; is {
			all = append(all, code)
		}
	}
	return all
}

// Statuses returns the statuses of On.
func (r *RouteRetry) Statuses() (all []int) {
	for _, what := range r.On {
		if status, err := strconv.Atoi(what); err == nil {
			all = append(all, status)
		}
	}
	return all
}

// checkTerms reports what is wrong with how long requests take, and when they are tried again.
func (r *Route) checkTerms(at string, report Report) {
	if (r.Timeouts != RouteTimeouts{} || r.Retry.Tries > 0 || len(r.Retry.On) > 0) && r.Pool == "" && len(r.Split) == 0 {
		report(at, "timeouts and retry are for requests that are carried to a pool", "leave them out")
	}
	t := &r.Timeouts
	if t.Total > 0 && t.PerTry > t.Total {
		report(at+".timeouts.perTry", fmt.Sprintf("one try has %v, and all of them together %v", t.PerTry, t.Total), "make perTry shorter than total, or total longer")
	}
	if t.Streams && t.Total == 0 {
		report(at+".timeouts.streams", "there is no total that could hold for streams", "add total, or leave it out")
	}
	if len(r.Retry.On) > 0 && r.Retry.Tries == 1 {
		report(at+".retry.on", "with tries: 1 no request is sent again", "leave one of them out")
	}
	for i, what := range r.Retry.On {
		status, err := strconv.Atoi(what)
		if _, is := terms.Codes[what]; is || slices.Contains([]string{"connect", "reset", "timeout"}, what) || err == nil && status >= 400 && status <= 599 {
			continue
		}
		report(fmt.Sprintf("%s.retry.on[%d]", at, i), fmt.Sprintf("%q is nothing that a request is sent again for", what), `want connect, reset, timeout, the status of an error such as "503", or the outcome of a call such as grpc-unavailable`)
	}
}
