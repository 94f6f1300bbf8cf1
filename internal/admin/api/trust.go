package api

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// TrustCalls are what can be asked about what the resolver believes.
type TrustCalls struct {
	Anchors func() TrustAnchors
	Add     func(context.Context, NegativeChange) (Applied, error)
	Remove  func(ctx context.Context, name string) (Applied, error)

	Upstreams func() []Upstream
}

// TrustAnchors are what chains of trust begin with, and where they are not followed.
type TrustAnchors struct {
	Validate bool             `json:"validate"`
	Update   bool             `json:"update"` // keys are followed as they change (RFC 5011)
	Points   []TrustPoint     `json:"points"`
	Negative []NegativeAnchor `json:"negative"`

	LocalRoot *LocalRoot `json:"local_root,omitempty"` // nil: there is none
}

// LocalRoot is the copy of the root zone (RFC 8806).
type LocalRoot struct {
	Serial    uint32    `json:"serial"`
	Used      bool      `json:"used"`               // otherwise the root's servers are asked
	Until     time.Time `json:"until,omitzero"`     // its first signature ends
	Confirmed time.Time `json:"confirmed,omitzero"` // by who has the zone
	Expires   time.Time `json:"expires,omitzero"`   // if nobody confirms it again
	Problem   string    `json:"problem,omitempty"`
}

// TrustPoint is a zone with keys that are trusted without a parent's word.
type TrustPoint struct {
	Zone     string     `json:"zone"`
	Keys     []TrustKey `json:"keys"`
	Checked  time.Time  `json:"checked,omitzero"` // when its keys were last verified
	Next     time.Time  `json:"next,omitzero"`    // when they are looked at next
	Failures int        `json:"failures"`         // in a row
	Problem  string     `json:"problem,omitempty"`
}

// TrustKey is one of these keys.
type TrustKey struct {
	Tag       uint16 `json:"tag"`
	Algorithm uint8  `json:"algorithm"`
	// State is that of RFC 5011 §4.2: "add-pending", "valid", "missing", "revoked",
	// "removed"; or "configured": a DS record whose key has not been seen yet.
	State   string    `json:"state"`
	Trusted bool      `json:"trusted"`
	Since   time.Time `json:"since,omitzero"`
	Until   time.Time `json:"until,omitzero"` // when the state ends by itself
	Record  string    `json:"record"`         // a line of a master file
}

// NegativeAnchor is a name at and below which nothing is validated (RFC 7646).
type NegativeAnchor struct {
	Name   string    `json:"name"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // absent: it is in the configuration
	Reason string    `json:"reason,omitempty"`
	Force  bool      `json:"force,omitempty"` // it stays to its end
	Retry  time.Time `json:"retry,omitzero"`  // when the name is tried without it
	Tried  string    `json:"tried,omitempty"` // what the last such try came to
}

// NegativeChange asks for a negative trust anchor.
type NegativeChange struct {
	Name   string `json:"name"`
	For    string `json:"for,omitempty"` // a duration; empty: a day
	Reason string `json:"reason,omitempty"`
	Force  bool   `json:"force,omitempty"` // keep it to its end, though the name validates
}

func (c TrustCalls) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/resolver/anchors", reply(func(*http.Request) (any, error) { return c.Anchors(), nil }))
	mux.HandleFunc("GET /api/resolver/upstreams", reply(func(*http.Request) (any, error) { return c.Upstreams(), nil }))
	mux.HandleFunc("POST /api/resolver/negative", reply(func(r *http.Request) (any, error) {
		var change NegativeChange
		d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, 4096))
		d.DisallowUnknownFields()
		if err := d.Decode(&change); err != nil {
			return nil, refuse(http.StatusBadRequest, "reading the change: %w; want {\"name\": ..., \"for\": \"24h\", \"reason\": ...}", err)
		}
		return c.Add(r.Context(), change)
	}))
	mux.HandleFunc("DELETE /api/resolver/negative/{name...}", reply(func(r *http.Request) (any, error) {
		return c.Remove(r.Context(), r.PathValue("name"))
	}))
}
