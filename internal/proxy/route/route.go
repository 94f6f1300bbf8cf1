// Package route decides where a request goes: a compiled table of hosts, paths and
// conditions, and the one normal form of a path that is matched and forwarded.
//
// It owns matching, the choice of a pool where requests are split, what redirects and
// rewritten paths say, and path normalisation. It does not own pools, which it knows by
// name and number only, nor what a request is (Request; package http1).
//
//	host: exact name, else the longest wildcard (*.example.com), else the first regular
//	      expression (~...), else any ("")
//	  path: this very path (=/...), else a template (/users/{id}), else the first regular
//	        expression (~...), else the longest prefix that ends at a segment boundary
//	    routes of one place: by rank, then those with more conditions, then in their order
//
// A path whose routes' conditions do not hold is passed over. A host that has routes of its
// own is not helped out by less specific hosts: when none of them holds there is no route,
// as with nginx and Envoy, so that a name's space never depends on somebody else's routes.
//
// Entry points: Compile, Table.Match, Table.Explain, Route.Pick, Normalise.
//
// Concurrency: a Table is immutable. Match allocates nothing and takes no lock.
//
// Sources: RFC 3986 §6.2.2 (normalisation), RFC 9110 §4.2.3 (http normal form),
// RFC 9110 §7.4 (rejecting misdirected requests), RFC 9110 §15.4 (redirection).
package route

import (
	"cmp"
	"fmt"
	"iter"
	"regexp"
	"sort"
	"strings"
)

// Rule is one route as the operator writes it.
type Rule struct {
	Name string // may be empty
	Key  string // by which Table.With finds the rule; rules without one cannot be changed, and come first in their own order, the others in that of keys
	Host string // "www.example.com", "*.example.com", "~regular expression" or "" for any
	Path string // "/prefix", "=/path", "/template/{id}" or "~regular expression"; "" stands for "/"
	When When
	Rank int // of rules for the same host and path, those of higher rank come first

	Pools    []Share // one, or several that requests are split among
	Sticky   bool    // all requests of a client go to the same one of them
	Fallback string  // a pool for requests while nobody of the other is healthy; "": there is none
	Rewrite  string  // the path that requests go on with; "": the same

	Uncompressed bool // responses go as they are

	Redirect *Redirect // in place of pools
	Respond  *Respond  // in place of pools
}

// Route is a compiled Rule.
type Route struct {
	Name   string
	Host   string
	Path   string
	Pool   string // the only one, or the first of a split; "": it carries nothing
	Index  int    // of Pool in the names given to Compile
	Number int    // of its Rule in those given to Compile

	Redirect *Redirect
	Respond  *Respond
	Fallback int // index of a pool; -1: there is none

	Uncompressed bool // responses go as they are

	kind      kind
	place     string // path without the sign of its kind
	variables []variable
	regexp    *regexp.Regexp
	when      *when
	key       string
	rank      int
	next      *Route // the next to try of the same host and path

	shares  []Share
	total   uint64 // of their weights
	sticky  bool
	rewrite text
}

func (r *Route) String() string {
	host, to := cmp.Or(r.Host, "any host"), r.Pool
	switch {
	case r.Redirect != nil:
		to = fmt.Sprintf("%d %s", r.Redirect.Status, r.Redirect.To)
	case r.Respond != nil:
		to = fmt.Sprintf("a response with status %d", r.Respond.Status)
	case len(r.shares) > 1:
		var parts []string
		for _, s := range r.shares {
			parts = append(parts, fmt.Sprintf("%s (%d of %d)", s.Pool, s.Weight, r.total))
		}
		to = strings.Join(parts, ", ")
	}
	text := fmt.Sprintf("%s%s -> %s", host, r.Path, to)
	if r.Name != "" {
		text = r.Name + ": " + text
	}
	return text
}

// Limits of a table; a rule beyond them is refused.
const (
	MaxPathLen = 2048 // octets of a configured prefix; bounds the look-ups of one match
	maxHostLen = 253  // a DNS name in text (RFC 1035 §2.3.4), without its last dot
)

// Table is compiled routes. The nil Table matches nothing.
type Table struct {
	exact     index[*paths]
	wildcards index[*paths] // by the part after "*."
	patterns  []*paths      // of hosts that are regular expressions
	any       *paths
	all       []*Route // by their numbers; nil: the number is free
	count     int      // of routes

	names []string // of pools
	index map[string]int
}

// paths are the routes of one host.
type paths struct {
	host      string
	regexp    *regexp.Regexp // of the host; nil: it is none
	only      *Route         // the only route, when that is "/" without conditions
	exact     index[*Route]
	templates *segment
	patterns  *Route
	prefix    index[*Route]
	most      int // length of the longest prefix
	count     int
}

// Len returns the number of routes.
func (t *Table) Len() int { return t.count }

// Numbers returns how many numbers routes have: one more than the highest may be.
func (t *Table) Numbers() int { return len(t.all) }

// All returns the routes, in the order in which they were given; those that came by With where
// there was room.
func (t *Table) All() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, r := range t.all {
			if r != nil && !yield(r) {
				return
			}
		}
	}
}

// Title returns what r is called: its name, or its host and path.
func (r *Route) Title() string {
	return cmp.Or(r.Name, cmp.Or(r.Host, "*")+r.Path)
}

// Compile makes a table of rules; pools are the names of the pools there are.
// It reports every bad rule, not only the first.
func Compile(rules []Rule, pools []string) (*Table, []error) {
	t := &Table{names: pools, index: make(map[string]int, len(pools))}
	for i, name := range pools {
		t.index[name] = i
	}
	t.all = make([]*Route, 0, len(rules))
	var errs []error
	for i, rule := range rules {
		r, err := compileRoute(rule, t.index, pools)
		if err == nil {
			r.Number = i
			err = t.add(r)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("route %d (host %q, path %q): %w", i+1, rule.Host, rule.Path, err))
		}
	}
	return t, errs
}

// Check returns what is wrong with a rule, apart from pools that are not there.
func Check(rule Rule) error {
	_, err := compileRoute(rule, nil, nil)
	return err
}

// Lone returns the route of a rule by itself, whatever pools there are, for what is asked of
// its path.
func Lone(rule Rule) (*Route, error) { return compileRoute(rule, nil, nil) }

func compileRoute(rule Rule, index map[string]int, pools []string) (*Route, error) {
	r := &Route{Name: rule.Name, Path: cmp.Or(rule.Path, "/"), key: rule.Key, rank: rule.Rank, Fallback: -1, Uncompressed: rule.Uncompressed}
	var err error
	if r.Host, err = normalHost(rule.Host); err != nil {
		return nil, err
	}
	if err := r.compilePath(); err != nil {
		return nil, err
	}
	if r.when, err = rule.When.compile(); err != nil {
		return nil, err
	}
	return r, r.compileAction(rule, index, pools)
}

// add puts r in its place.
func (t *Table) add(r *Route) error {
	p, err := t.pathsOf(r.Host)
	if err != nil {
		return err
	}
	if err := p.add(r); err != nil {
		return err
	}
	for len(t.all) <= r.Number { // those of bad rules are free
		t.all = append(t.all, nil)
	}
	t.all[r.Number] = r
	t.count++
	return nil
}

func (p *paths) add(r *Route) error {
	switch r.kind {
	case exact:
		first, err := p.exact.of(r.place).with(r)
		p.exact.put(r.place, first)
		return p.added(err)
	case template:
		if p.templates == nil {
			p.templates = new(segment)
		}
		at := p.templates.leaf(r)
		first, err := (*at).with(r)
		*at = first
		return p.added(err)
	case pattern:
		n := 0
		for other := p.patterns; other != nil; other = other.next {
			n++
		}
		if n == maxPatterns {
			return fmt.Errorf("the host has %d paths already that are regular expressions; each is tried for a request", maxPatterns)
		}
		first, err := p.patterns.with(r)
		p.patterns = first
		return p.added(err)
	}
	first, err := p.prefix.of(r.place).with(r)
	p.prefix.put(r.place, first)
	p.most = max(p.most, len(r.place))
	return p.added(err)
}

// added counts a route, unless there was an error, which it returns.
func (p *paths) added(err error) error {
	if err != nil {
		return err
	}
	p.count++
	p.findOnly()
	return nil
}

func (p *paths) findOnly() {
	p.only = nil
	if r := p.prefix.of("/"); p.count == 1 && r != nil && r.when.count() == 0 {
		p.only = r
	}
}

// with returns the first of the routes from first on and r, in the order in which they are
// tried.
func (first *Route) with(r *Route) (*Route, error) {
	goesBefore := func(a, b *Route) int {
		return cmp.Or(cmp.Compare(b.rank, a.rank), cmp.Compare(b.when.count(), a.when.count()))
	}
	at := &first
	for *at != nil && goesBefore(*at, r) <= 0 {
		if old := *at; goesBefore(old, r) == 0 && old.place == r.place && old.when.equals(r.when) {
			return first, fmt.Errorf("the same host and path, under the same conditions, already lead to %s; remove one of the two routes, or have their conditions (when) differ", old)
		}
		at = &(*at).next
	}
	r.next = *at
	*at = r
	return first, nil
}

// first returns the first of the routes from r on whose conditions hold.
func (r *Route) first(q Request, t *Trace) *Route {
	for ; r != nil; r = r.next {
		if r.holds(q, t) {
			return r
		}
	}
	return nil
}

// holds reports whether the conditions of r hold; t notes it, unless it is nil.
func (r *Route) holds(q Request, t *Trace) bool {
	if t != nil && t.blind {
		return t.mayTake(r, q)
	}
	holds := r.when.holds(q)
	if t != nil {
		t.addRoute(r, holds, q)
	}
	return holds
}

func (t *Table) pathsOf(host string) (*paths, error) {
	in, key := &t.exact, host
	switch {
	case host == "":
		if t.any == nil {
			t.any = new(paths)
		}
		return t.any, nil
	case host[0] == '~':
		for _, p := range t.patterns {
			if p.host == host {
				return p, nil
			}
		}
		if len(t.patterns) == maxPatterns {
			return nil, fmt.Errorf("there are %d hosts already that are regular expressions; each is tried for a request", maxPatterns)
		}
		p := &paths{host: host, regexp: regexp.MustCompile(wholeOf(host[1:]))}
		t.patterns = append(t.patterns, p)
		return p, nil
	case strings.HasPrefix(host, "*."):
		in, key = &t.wildcards, host[2:]
	}
	if p := in.of(key); p != nil {
		return p, nil
	}
	p := &paths{host: host}
	in.put(key, p)
	return p, nil
}

// normalHost checks a configured host and returns it in lower case without a
// last dot.
func normalHost(host string) (string, error) {
	switch {
	case host == "" || host == "*":
		return "", nil
	case host[0] == '~':
		_, err := CompileWhole(host[1:])
		return host, err
	}
	h := strings.TrimSuffix(strings.ToLower(host), ".")
	name := strings.TrimPrefix(h, "*.")
	if len(h) > maxHostLen || name == "" {
		return "", fmt.Errorf("the host must be a name of 1 to %d characters", maxHostLen)
	}
	if strings.HasPrefix(name, "[") && strings.HasSuffix(name, "]") {
		return h, nil // an IPv6 address
	}
	for _, label := range strings.Split(name, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("the host is not a name; write it without scheme, port and path, a wildcard as \"*.example.com\"")
		}
	}
	return h, nil
}

func unknownPool(name string, pools []string) error {
	if near := nearest(name, pools); near != "" {
		return fmt.Errorf("there is no pool %q; did you mean %q?", name, near)
	}
	if len(pools) == 0 {
		return fmt.Errorf("there is no pool %q; no pools are configured, add one under \"pools\"", name)
	}
	have := append([]string(nil), pools...)
	sort.Strings(have)
	return fmt.Errorf("there is no pool %q; there are: %s", name, strings.Join(have[:min(len(have), 8)], ", "))
}

// nearest returns the name that takes fewest edits to reach, if those are few.
func nearest(name string, names []string) string {
	best, fewest := "", len(name)/3+2
	for _, n := range names {
		if d := edits(name, n); d < fewest {
			best, fewest = n, d
		}
	}
	return best
}

// edits is the Levenshtein distance of a and b.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
