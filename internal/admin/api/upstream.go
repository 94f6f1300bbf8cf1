package api

import "time"

// Upstream is a plain server of a route that is asked how it can be asked encrypted
// (resolver.routes[].discover).
type Upstream struct {
	Server string `json:"server"`
	Strict bool   `json:"strict,omitempty"`
	// At, Transport ("DoT", "DoH", "DoQ") are how it is asked now; empty: in the clear, or
	// not at all if it is strict.
	At        string `json:"at,omitempty"`
	Transport string `json:"transport,omitempty"`
	// Verified: the certificate names the server. Otherwise the server's key is the one
	// that it had when it was found (RFC 9462 §4.3).
	Verified bool      `json:"verified,omitempty"`
	Checked  time.Time `json:"checked,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	Problem  string    `json:"problem,omitempty"`
}
