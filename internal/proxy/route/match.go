package route

// Match returns the route of a request. host is the Host field's value, with
// its port if it has one and in any case; path is normalised.
func (t *Table) Match(host, path []byte, q Request) (*Route, bool) {
	if t == nil {
		return nil, false
	}
	var room [256]byte
	p := t.find(lowerHost(room[:0], host))
	if p == nil {
		return nil, false
	}
	if p.only != nil {
		return p.only, true
	}
	r := p.match(path, q, nil)
	return r, r != nil
}

// find returns the paths of the most specific host.
func (t *Table) find(host []byte) *paths {
	if p := t.exact.get(host); p != nil {
		return p
	}
	if !t.wildcards.isEmpty() {
		// "*" stands for one label or more: the longest suffix wins.
		for i, c := range host {
			if c != '.' || i == 0 {
				continue
			}
			if p := t.wildcards.get(host[i+1:]); p != nil {
				return p
			}
		}
	}
	if len(t.patterns) > 0 {
		if p := t.findPattern(string(host)); p != nil {
			return p
		}
	}
	return t.any
}

// findPattern returns the paths of the first regular expression that matches a host.
func (t *Table) findPattern(host string) *paths {
	for _, p := range t.patterns {
		if p.regexp.MatchString(host) {
			return p
		}
	}
	return nil
}

// match returns the route for a path; t notes what is tried, unless it is nil.
func (p *paths) match(path []byte, q Request, t *Trace) *Route {
	if !p.exact.isEmpty() {
		if r := p.exact.get(path).first(q, t); r != nil {
			return r
		}
	}
	if p.templates != nil {
		if r := p.templates.match(path[1:], q, t); r != nil {
			return r
		}
	}
	if r := p.matchPattern(path, q, t); r != nil {
		return r
	}
	return p.matchPrefix(path, q, t)
}

func (p *paths) matchPattern(path []byte, q Request, t *Trace) *Route {
	for r := p.patterns; r != nil; r = r.next {
		if r.regexp.Match(path) && r.holds(q, t) {
			return r
		}
	}
	return nil
}

// matchPrefix returns the route with the longest prefix of path that ends at a
// segment boundary: "/a" covers "/a", "/a/" and "/a/b", not "/ab"; "/a/" covers
// "/a/" and "/a/b". The number of look-ups is at most twice the number of
// segments within the longest configured prefix.
func (p *paths) matchPrefix(path []byte, q Request, t *Trace) *Route {
	if len(path) <= p.most {
		if r := p.prefix.get(path).first(q, t); r != nil {
			return r
		}
	}
	for i := min(len(path)-1, p.most); i >= 0; i-- {
		if path[i] != '/' {
			continue
		}
		if i < p.most && i+1 < len(path) {
			if r := p.prefix.get(path[:i+1]).first(q, t); r != nil {
				return r
			}
		}
		if i > 0 {
			if r := p.prefix.get(path[:i]).first(q, t); r != nil {
				return r
			}
		}
	}
	return nil
}

// lowerHost appends host to b in lower case, without port and last dot. An IPv6
// address keeps its brackets.
func lowerHost(b, host []byte) []byte {
	inBrackets := false
	for i, c := range host {
		switch {
		case c == '[':
			inBrackets = true
		case c == ']':
			inBrackets = false
		case c == ':' && !inBrackets:
			return trimDot(b)
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		if i > 255 { // longer than any configured host: matches none of them
			break
		}
		b = append(b, c)
	}
	return trimDot(b)
}

func trimDot(b []byte) []byte {
	if n := len(b); n > 0 && b[n-1] == '.' {
		return b[:n-1]
	}
	return b
}

// Possible returns the routes that a request may take, depending on its content, which is not
// looked at: those whose other conditions hold, up to the first that does not go by content.
func (t *Table) Possible(host, path []byte, q Request) []*Route {
	if t == nil {
		return nil
	}
	var room [256]byte
	p := t.find(lowerHost(room[:0], host))
	if p == nil {
		return nil
	}
	trace := Trace{blind: true}
	p.match(path, q, &trace)
	return trace.possible
}

// mayTake notes that r may be taken, if so, and reports whether none behind it is.
func (t *Trace) mayTake(r *Route, q Request) bool {
	if !r.when.holdsHead(q) {
		return false
	}
	t.possible = append(t.possible, r)
	return !r.when.goesByContent()
}
