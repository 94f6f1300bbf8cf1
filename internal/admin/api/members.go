package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// MemberCalls are what can be asked about pools and said of their members.
type MemberCalls struct {
	Pool      func(name string) (Pool, error)
	Overrides func() []Override
	Override  func(context.Context, OverrideRequest) (Overridden, error)
}

// Configured is what the configuration, or a list, has of a member.
type Configured struct {
	Weight int  `json:"weight"`
	Drain  bool `json:"drain"`
}

// Override is what an operator says of a member at run time, over what is configured.
type Override struct {
	Pool     string    `json:"pool"`
	Member   string    `json:"member"`
	State    string    `json:"state,omitempty"`  // "drain", "disabled", "ready"; empty: what its health says
	Weight   int       `json:"weight,omitempty"` // 0: the configured one
	From     time.Time `json:"from,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Deadline time.Time `json:"deadline,omitzero"` // when the connections that are left are closed
	Reason   string    `json:"reason,omitempty"`
	Said     time.Time `json:"said"`
	Local    bool      `json:"local,omitempty"`   // kept on this node only, until the store takes it
	Missing  bool      `json:"missing,omitempty"` // there is no such member now

	// How far the member is on its way out: Stage is "planned", "draining", "free" or "used".
	Stage       string    `json:"stage"`
	Connections int64     `json:"connections"`            // that the gateway has on it
	Answers     time.Time `json:"answers_until,omitzero"` // until when resolvers may hold on to answers that name it
	Text        string    `json:"text"`                   // all of that in a line
}

// OverrideRequest is something to be said of members of a pool. Times are RFC 3339, or
// durations: From from now, Until and Deadline from the beginning.
type OverrideRequest struct {
	Pool       string   `json:"pool"`
	Members    []string `json:"members"` // names or addresses
	Do         string   `json:"do"`      // "drain", "disable", "resume", "weight"
	Weight     int      `json:"weight,omitempty"`
	From       string   `json:"from,omitempty"`
	Until      string   `json:"until,omitempty"`
	Deadline   string   `json:"deadline,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Force      bool     `json:"force,omitempty"`      // even if nobody is left; resume: even if the configuration drains it
	Everywhere bool     `json:"everywhere,omitempty"` // in all pools that have a server of that address
}

// Overridden is what came of an OverrideRequest.
type Overridden struct {
	Applied
	Members []Override `json:"members"`
}

// maxOverrideRequest is the largest OverrideRequest, in octets: some thousand members.
const maxOverrideRequest = 256 << 10

func (c MemberCalls) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/pools/{name}", reply(func(r *http.Request) (any, error) { return c.Pool(r.PathValue("name")) }))
	mux.HandleFunc("GET /api/overrides", reply(func(*http.Request) (any, error) { return c.Overrides(), nil }))
	mux.HandleFunc("POST /api/overrides", reply(func(r *http.Request) (any, error) {
		decoder := json.NewDecoder(io.LimitReader(r.Body, maxOverrideRequest))
		decoder.DisallowUnknownFields()
		var req OverrideRequest
		if err := decoder.Decode(&req); err != nil {
			return nil, &Refused{http.StatusBadRequest, fmt.Errorf("reading what is to be said of members: %w", err)}
		}
		return c.Override(r.Context(), req)
	}))
}
