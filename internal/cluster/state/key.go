package state

import (
	"cmp"
	"strings"
)

// Key returns what a route is called: its name, or else its host and path, e.g.
// "www.example.com/api".
func (r *Route) Key() string { return cmp.Or(r.Name, r.Host+r.Path) }

// Key returns what a pool is called.
func (p *Pool) Key() string { return p.Name }

// Key returns what a list of filters is called.
func (f *FilterSet) Key() string { return f.Name }

// Key returns what a steered name is called: the name without its final dot.
func (s *Steer) Key() string {
	if s.Name.IsRoot() {
		return "."
	}
	return strings.TrimSuffix(s.Name.String(), ".")
}

// list writes sorted words for a message, and not more than a line of them.
func list(words []string) string {
	const most = 10
	if len(words) > most {
		return strings.Join(words[:most], ", ") + ", ..."
	}
	return strings.Join(words, ", ")
}
