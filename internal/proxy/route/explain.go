package route

import "fmt"

// Step is one thing Explain looked at.
type Step struct {
	What  string `json:"what"` // "host" or "path" or "normalise"
	Tried string `json:"tried"`
	Found bool   `json:"found"`
	Why   string `json:"why"`
}

// Trace is how a request finds its route: the steps in their order, and the
// route they end at.
type Trace struct {
	Host  string `json:"host"`
	Path  string `json:"path"` // normalised
	Steps []Step `json:"steps"`
	Route *Route `json:"route,omitempty"`

	blind    bool // nothing is noted but what may be taken, whatever the content is
	possible []*Route
}

// Explain tells how Match decides for host and path, which need not be
// normalised. The route is what Match says; the steps walk the same look-ups.
func (t *Table) Explain(host, path string, q Request, policy Policy) Trace {
	trace := Trace{Host: string(lowerHost(nil, []byte(host))), Path: path}
	normal, problem := Normalise(nil, []byte(path), policy)
	if problem != nil {
		trace.add("normalise", path, false, "refused with 400: "+problem.Text)
		return trace
	}
	if trace.Path = string(normal); trace.Path != path {
		trace.add("normalise", path, true, "matched and forwarded as "+trace.Path)
	}
	if t == nil {
		trace.add("host", trace.Host, false, "there are no routes")
		return trace
	}
	if p := t.explainHost(&trace); p != nil {
		p.explainPath(&trace, q)
	}
	trace.Route, _ = t.Match([]byte(host), normal, q)
	return trace
}

func (t *Trace) add(what, tried string, found bool, why string) {
	t.Steps = append(t.Steps, Step{what, tried, found, why})
}

func (t *Table) explainHost(trace *Trace) *paths {
	host := trace.Host
	if p := t.exact.of(host); p != nil {
		trace.add("host", host, true, "this very name has routes; no other host is looked at")
		return p
	}
	trace.add("host", host, false, "no routes for this very name")
	for i := range len(host) {
		if host[i] != '.' || i == 0 || t.wildcards.isEmpty() {
			continue
		}
		wildcard := "*" + host[i:]
		if p := t.wildcards.of(host[i+1:]); p != nil {
			trace.add("host", wildcard, true, "the longest wildcard that covers the name")
			return p
		}
		trace.add("host", wildcard, false, "no routes for this wildcard")
	}
	for _, p := range t.patterns {
		found := p.regexp.MatchString(host)
		if trace.add("host", p.host, found, map[bool]string{true: "the first regular expression that matches the name", false: "the regular expression does not match the name"}[found]); found {
			return p
		}
	}
	if t.any == nil {
		trace.add("host", "any", false, "no routes for any host: 404")
		return nil
	}
	trace.add("host", "any", true, "routes without a host")
	return t.any
}

func (p *paths) explainPath(trace *Trace, q Request) {
	if p.match([]byte(trace.Path), q, trace) == nil {
		trace.add("path", trace.Path, false, fmt.Sprintf("none of the %d routes of this host is for this path and holds: 404", p.count))
	}
}

var kinds = [...]string{prefix: "the longest prefix at a segment boundary", exact: "this very path", template: "a template for the path", pattern: "a regular expression that matches the path"}

// addRoute notes a route whose path fits.
func (t *Trace) addRoute(r *Route, holds bool, q Request) {
	why := kinds[r.kind]
	switch {
	case !holds:
		why += "; but " + r.when.unmet(q)
	case r.when.count() > 0:
		why += "; and all of its conditions hold"
	}
	tried := r.Path
	if r.Name != "" {
		tried += " (" + r.Name + ")"
	}
	t.add("path", tried, holds, why)
}
