package route

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// This file makes a table of another one and a few rules. What Compile makes of all rules is
// what counts: with returns nothing where it would take more than an exchange of some routes,
// or where a rule is refused, which Compile then says with all others.

// Change is what of the routes of a table becomes another; both by rules with keys.
type Change struct{ Gone, New []Rule }

// Changed is a route that is new in a table, and the rule in New that it is of.
type Changed struct {
	*Route
	From int
}

// With returns the table that has other rules, which shares with t all that is the same. Numbers
// of routes stay as they are; new ones take free ones, and made says which. ok is false if all
// has to be compiled. The New ones lead to pools of the names that t was compiled with.
func (t *Table) With(c Change) (next *Table, made []Changed, ok bool) {
	next = new(Table)
	*next = *t
	next.all = slices.Clone(t.all)
	for i := range c.Gone {
		if !next.exchange(c.Gone[i], nil) {
			return nil, nil, false
		}
	}
	free := 0
	for i := range c.New {
		r, err := compileRoute(c.New[i], t.index, t.names)
		if err != nil {
			return nil, nil, false
		}
		if next.count < len(next.all) {
			free += slices.Index(next.all[free:], nil)
		} else {
			free, next.all = len(next.all), append(next.all, nil)
		}
		r.Number = free
		if !next.exchange(c.New[i], r) {
			return nil, nil, false
		}
	}
	for i := range c.New { // routes are copied when others come to their places
		if r := next.Keyed(c.New[i]); r != nil {
			made = append(made, Changed{r, i})
		}
	}
	return next, made, len(made) == len(c.New)
}

// exchange puts r, which is of a rule with a key, into t, which shares what it has with others;
// nil takes that of the rule out.
func (t *Table) exchange(rule Rule, r *Route) bool {
	at := r
	if at == nil {
		var err error
		if at, err = compileRoute(rule, nil, nil); err != nil {
			return false
		}
	}
	if at.key == "" || strings.HasPrefix(at.Host, "~") { // whose order goes by that of their first routes
		return false
	}
	before := t.hostOf(at.Host)
	p := &paths{host: at.Host}
	if before != nil {
		*p = *before
	}
	first, ok := t.exchanged(p.placeOf(at), at, r)
	if !ok {
		return false
	}
	p.put(at, first)
	if r != nil {
		p.count, t.count = p.count+1, t.count+1
	} else {
		p.count, t.count = p.count-1, t.count-1
	}
	p.findOnly()
	t.putHost(at.Host, p)
	return true
}

// exchanged returns the routes of a place in copies of their own, with r or without the one that
// is called as at.
func (t *Table) exchanged(first, at, r *Route) (*Route, bool) {
	var all []*Route
	found, patterned := false, 0
	for old := first; old != nil; old = old.next {
		if old.key == at.key {
			found = true
			t.all[old.Number] = nil
			continue
		}
		if r != nil && old.rank == r.rank && old.place == r.place && old.when.equals(r.when) {
			return nil, false
		}
		all = append(all, old)
		patterned++
	}
	if found != (r == nil) || r != nil && r.kind == pattern && patterned == maxPatterns {
		return nil, false
	}
	if r != nil {
		i, _ := slices.BinarySearchFunc(all, r, func(a, b *Route) int { return a.compare(b) })
		all = slices.Insert(all, i, r)
	}
	var next *Route
	for _, old := range slices.Backward(all) {
		c := old
		if old != r {
			c = new(Route)
			*c = *old
		}
		c.next = next
		next, t.all[c.Number] = c, c
	}
	return next, true
}

// compare orders routes of one place: by rank, then those with more conditions, then in the
// order of rules, where those with keys come last, in the order of these.
func (r *Route) compare(o *Route) int {
	if c := cmp.Or(cmp.Compare(o.rank, r.rank), cmp.Compare(o.when.count(), r.when.count())); c != 0 {
		return c
	}
	if r.key == "" && o.key == "" {
		return cmp.Compare(r.Number, o.Number)
	}
	return cmp.Compare(r.key, o.key)
}

// Keyed returns the route of a rule with a key; nil: it has none.
func (t *Table) Keyed(rule Rule) *Route {
	at, err := compileRoute(rule, nil, nil)
	if err != nil {
		return nil
	}
	p := t.hostOf(at.Host)
	if p == nil {
		return nil
	}
	for r := p.placeOf(at); r != nil; r = r.next {
		if r.key == rule.Key {
			return r
		}
	}
	return nil
}

// hostOf returns the paths of a host as rules write it, but for regular expressions.
func (t *Table) hostOf(host string) *paths {
	if host == "" {
		return t.any
	}
	if name, wild := strings.CutPrefix(host, "*."); wild {
		return t.wildcards.of(name)
	}
	return t.exact.of(host)
}

// putHost sets the paths of a host; one without routes is none.
func (t *Table) putHost(host string, p *paths) {
	gone := p.count == 0
	name, wild := strings.CutPrefix(host, "*.")
	switch {
	case host == "" && gone:
		t.any = nil
	case host == "":
		t.any = p
	case wild:
		t.wildcards = t.wildcards.with(name, p, gone)
	default:
		t.exact = t.exact.with(name, p, gone)
	}
}

// placeOf returns the first of the routes at the place of r.
func (p *paths) placeOf(r *Route) *Route {
	switch r.kind {
	case exact:
		return p.exact.of(r.place)
	case pattern:
		return p.patterns
	case template:
		if s := p.templates.below(r); s != nil {
			if r.variables[len(r.variables)-1].rest {
				return s.rest
			}
			return s.end
		}
		return nil
	}
	return p.prefix.of(r.place)
}

// put sets the first of the routes at the place of r in p, which shares what it has with
// others; nil: there are none any more. (The longest prefix may then be shorter than most says,
// which makes for look-ups that find nothing.)
func (p *paths) put(r, first *Route) {
	switch r.kind {
	case exact:
		p.exact = p.exact.with(r.place, first, first == nil)
	case pattern:
		p.patterns = first
	case template:
		p.templates = p.templates.with(r, 0, first)
	default:
		p.prefix = p.prefix.with(r.place, first, first == nil)
		p.most = max(p.most, len(r.place))
	}
}

// below returns the node that a template ends at, or nil.
func (s *segment) below(r *Route) *segment {
	for i, text := range strings.Split(r.place[1:], "/") {
		if s == nil {
			return nil
		}
		v := r.atSegment(i)
		switch {
		case v != nil && v.rest:
			return s
		case v != nil:
			s = s.any
		default:
			s = s.literal[text]
		}
	}
	return s
}

// with returns a copy of s in which the routes of a template begin with another one; s is where
// the template's segment of that number is looked for, and may be nil.
func (s *segment) with(r *Route, number int, first *Route) *segment {
	next := new(segment)
	if s != nil {
		*next = *s
	}
	texts := strings.Split(r.place[1:], "/")
	if number == len(texts) {
		next.end = first
		return next
	}
	v := r.atSegment(number)
	switch {
	case v != nil && v.rest:
		next.rest = first
	case v != nil:
		next.any = next.any.with(r, number+1, first)
	default:
		if next.literal = maps.Clone(next.literal); next.literal == nil {
			next.literal = map[string]*segment{}
		}
		text := texts[number]
		next.literal[text] = next.literal[text].with(r, number+1, first)
	}
	return next
}
