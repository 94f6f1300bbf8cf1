package state

import "pharos/internal/cluster/document"

// RouteMirror sends copies of requests to another pool, beside everything else: the client
// never waits for a copy nor hears of its response, which is read and dropped. Copies have the field X-Mirrored: 1, are sent
// once, and end after 30s. Requests that ask for a tunnel are not copied.
type RouteMirror struct {
	// Pool is the pool that gets them. Empty: none does.
	Pool string `json:"pool,omitzero" format:"identifier" default:"" example:"next"`
	// Percent is of how many in a hundred requests, drawn by chance.
	Percent int `json:"percent" default:"100" min:"1" max:"100" example:"10"`
	// Unsafe has those copied, too, that may change something: without it only GET, HEAD and OPTIONS are.
	Unsafe bool `json:"unsafe,omitzero" default:"false" example:"true"`
	// Content is how much content a copy may have. It is held in memory until all of it is there; requests with more are
	// not copied, as half of one is another request.
	Content document.Size `json:"content" default:"64KiB" min:"0" max:"16MiB" example:"1MiB"`
	// Concurrency is how many copies of the route may be under way at once; those beyond are left out.
	Concurrency int `json:"concurrency" default:"64" min:"1" max:"10000" example:"16"`
}

// IsZero reports whether m is what it is when nothing is said of it.
func (m RouteMirror) IsZero() bool { return m.Pool == "" }

// check reports what is wrong with m; carries: the route has a pool.
func (m *RouteMirror) check(at string, carries bool, report Report) {
	if m.Pool != "" && !carries {
		report(at+".mirror", "copies are of requests that are carried to a pool", "leave it out")
	}
}
