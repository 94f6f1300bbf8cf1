package route

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// This file finds routes that no request takes, because others take all that would come to
// them. It finds those that can be told from what is written: of two regular expressions it
// does not know which matches more.

// Hidden is a route that no request takes.
type Hidden struct {
	Route *Route
	Why   string
}

// maxChain bounds how many routes behind one are compared with it, so that a table of many
// conditions for one path is looked at in time; arbitrary.
const maxChain = 1000

// Hidden returns the routes of t that no request takes, but not more than most, and how many
// there are.
func (t *Table) Hidden(most int) (all []Hidden, count int) {
	if t == nil {
		return nil, 0
	}
	seen := map[*Route]bool{}
	tell := func(r *Route, format string, args ...any) {
		if seen[r] {
			return
		}
		seen[r] = true
		if count++; len(all) < most {
			all = append(all, Hidden{r, fmt.Sprintf(format, args...)})
		}
	}
	wide := map[string][]*Route{} // by host: those that take all of a part of its paths
	host := t.wideHost()
	for r := range t.All() {
		if text := r.when.contradiction(); text != "" {
			tell(r, "its conditions never hold: %s", text)
			continue
		}
		if r.takesAll() {
			wide[r.Host] = append(wide[r.Host], r)
		}
		next := r.next
		for range maxChain {
			if next == nil {
				break
			}
			if r.matchesAllOf(next) && r.when.covers(next.when) {
				tell(next, "%s comes first and takes all its requests; remove one of them, give this one a higher rank, or have their conditions (when) differ", r.Title())
			}
			next = next.next
		}
		if host != nil && r.Host == "" {
			tell(r, "all hosts without a route of their own go by %q; remove that, or write its routes for any host", host.host)
		}
	}
	if len(wide) > 0 {
		for r := range t.All() {
			for _, w := range wide[r.Host] {
				if w != r && r.kind == prefix && w.takesPrefix(r.place) {
					tell(r, "%s goes before beginnings of paths and takes all its requests; make this one a template, or a regular expression of a higher rank", w.Title())
				}
			}
		}
	}
	return all, count
}

// wideHost returns the first hosts that are a regular expression for any; nil: none is.
func (t *Table) wideHost() *paths {
	for _, p := range t.patterns {
		if isWide(p.host[1:]) {
			return p
		}
	}
	return nil
}

// isWide reports whether a regular expression matches all texts that there are.
func isWide(text string) bool {
	switch strings.TrimSuffix(strings.TrimPrefix(text, "^"), "$") {
	case ".*", ".+", "/.*", "(.*)", "(.+)", "/(.*)":
		return true
	}
	return false
}

// takesAll reports whether r takes all requests for its host below some path.
func (r *Route) takesAll() bool {
	switch {
	case r.when.count() > 0:
		return false
	case r.kind == pattern:
		return isWide(r.place)
	}
	return r.kind == template && len(r.variables) == 1 && r.variables[0].rest
}

// takesPrefix reports whether r, which takesAll, takes those of a route for a beginning.
func (r *Route) takesPrefix(place string) bool {
	if r.kind == pattern {
		return true
	}
	before := r.place[:strings.IndexByte(r.place, '{')]
	return strings.HasPrefix(place, before) && len(place) > len(before)
}

// matchesAllOf reports whether r, behind which next is tried, matches whatever next does. The
// routes of a list are of one path, but for regular expressions.
func (r *Route) matchesAllOf(next *Route) bool {
	return r.kind != pattern || r.place == next.place || isWide(r.place)
}

// covers reports whether w holds whenever other does.
func (w *when) covers(other *when) bool {
	if w.scheme != "" && w.scheme != other.scheme {
		return false
	}
	if len(w.methods) > 0 && (len(other.methods) == 0 || slices.ContainsFunc(other.methods, func(m string) bool { return !slices.Contains(w.methods, m) })) {
		return false
	}
	if len(w.clients) > 0 && (len(other.clients) == 0 || slices.ContainsFunc(other.clients, func(p netip.Prefix) bool { return !w.hasAllOf(p) })) {
		return false
	}
	return !slices.ContainsFunc(w.conditions, func(c condition) bool {
		return !slices.ContainsFunc(other.conditions, func(o condition) bool { return c.of == o.of && c.Condition == o.Condition })
	})
}

// hasAllOf reports whether all of a network is in one of the clients of w.
func (w *when) hasAllOf(p netip.Prefix) bool {
	return slices.ContainsFunc(w.clients, func(c netip.Prefix) bool { return c.Bits() <= p.Bits() && c.Contains(p.Addr()) })
}

// contradiction says which of its conditions cannot hold at once; "": they can.
func (w *when) contradiction() string {
	for i, a := range w.conditions {
		for _, b := range w.conditions[i+1:] {
			same := a.Name == b.Name || a.of == inField && strings.EqualFold(a.Name, b.Name)
			if a.of != b.of || !same {
				continue
			}
			switch {
			case !a.Not && !b.Not && a.Value != "" && b.Value != "" && a.Value != b.Value:
				return fmt.Sprintf("the %s %s would have to be %q and %q; make two routes of it", a.of, a.Name, a.Value, b.Value)
			case a.Not != b.Not && a.Value == b.Value && a.Prefix == b.Prefix && a.Regexp == b.Regexp:
				return fmt.Sprintf("one about the %s %s is there with and without not; remove one of them", a.of, a.Name)
			}
		}
	}
	return ""
}
