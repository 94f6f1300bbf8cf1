package route

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Share is a pool, and its part of the requests of a route.
type Share struct {
	Pool   string
	Weight int // in proportion to the others'; 0: none
	Index  int // of Pool in the names given to Compile, which sets it
}

// Redirect sends clients elsewhere.
type Redirect struct {
	Status int    // 301, 302, 303, 307 or 308
	To     string // with variables
	to     text
}

// Respond is a response that is always the same.
type Respond struct {
	Status  int
	Type    string // of the content, as in Content-Type
	Content string
	File    string // that has the content, in place of Content
}

// maxRespond is the longest content of a fixed response, in octets; arbitrary: it is kept
// in memory, in the configuration and in each snapshot of it.
const maxRespond = 64 << 10

// compileAction checks what r does, and finds its pools.
func (r *Route) compileAction(rule Rule, index map[string]int, pools []string) error {
	r.Redirect, r.Respond = rule.Redirect, rule.Respond
	does := min(len(rule.Pools), 1)
	for _, given := range []bool{rule.Redirect != nil, rule.Respond != nil} {
		if given {
			does++
		}
	}
	switch {
	case does != 1:
		return fmt.Errorf("a route does one thing: it has a pool, a split, a redirect or a response")
	case len(rule.Pools) > 0:
		return r.compilePools(rule, index, pools)
	case rule.Rewrite != "" || rule.Fallback != "":
		return fmt.Errorf("rewrite and fallback are for requests that are carried to a pool")
	case rule.Redirect != nil:
		redirect := *rule.Redirect
		r.Redirect = &redirect
		if !slices.Contains([]int{301, 302, 303, 307, 308}, redirect.Status) {
			return fmt.Errorf("redirect.status: %d does not lead elsewhere; want 301, 302, 303, 307 or 308", redirect.Status)
		}
		var err error
		if r.Redirect.to, err = r.compileTarget(redirect.To); err != nil {
			return fmt.Errorf("redirect.to: %w", err)
		}
		return nil
	}
	return checkRespond(rule.Respond)
}

func checkRespond(r *Respond) error {
	switch {
	case r.Status < 200 || r.Status > 599:
		return fmt.Errorf("respond.status: %d is not that of a response; want 200 to 599", r.Status)
	case r.File != "" && r.Content != "":
		return fmt.Errorf("respond.file: there is content, too; leave one of them out")
	case len(r.Content) > maxRespond:
		return fmt.Errorf("respond.content: longer than %d octets; put it into a file, or have a server send it", maxRespond)
	case (r.Status == 204 || r.Status == 304) && r.Content+r.File != "":
		return fmt.Errorf("respond.content: a response with status %d has none (RFC 9110 §6.4.1)", r.Status)
	case strings.ContainsFunc(r.Type, func(c rune) bool { return c < ' ' || c > '~' }):
		return fmt.Errorf("respond.type: %q is no media type", r.Type)
	}
	return nil
}

func (r *Route) compilePools(rule Rule, index map[string]int, pools []string) error {
	r.shares, r.sticky = slices.Clone(rule.Pools), rule.Sticky
	for i := range r.shares {
		s := &r.shares[i]
		var err error
		if s.Index, err = find(s.Pool, index, pools); err != nil {
			return err
		}
		r.total += uint64(s.Weight)
	}
	if len(r.shares) > 1 && r.total == 0 {
		return fmt.Errorf("split: all weights are 0")
	}
	r.Pool, r.Index = r.shares[0].Pool, r.shares[0].Index
	r.Fallback = -1
	var err error
	if rule.Fallback != "" {
		if r.Fallback, err = find(rule.Fallback, index, pools); err != nil {
			return err
		}
	}
	if rule.Rewrite == "" {
		return nil
	}
	if r.rewrite, err = r.compileRewrite(rule.Rewrite); err != nil {
		return fmt.Errorf("rewrite: %w", err)
	}
	return nil
}

// find returns the number of a pool; without an index, which is for Check, any.
func find(name string, index map[string]int, pools []string) (int, error) {
	if at, known := index[name]; known || index == nil {
		return at, nil
	}
	return 0, unknownPool(name, pools)
}

// Draws reports whether Pick goes by what is drawn, and whether that is to be the same for
// all requests of a client.
func (r *Route) Draws() (draws, byClient bool) { return len(r.shares) > 1, r.sticky }

// Pick returns the pool for a request, by a number that is drawn evenly.
func (r *Route) Pick(drawn uint32) *Share {
	if len(r.shares) == 1 {
		return &r.shares[0]
	}
	at := uint64(drawn) * r.total >> 32
	for i := range r.shares {
		if w := uint64(r.shares[i].Weight); at < w {
			return &r.shares[i]
		} else {
			at -= w
		}
	}
	return &r.shares[len(r.shares)-1]
}

// text is a text with variables, as pieces.
type text []piece

// piece is literal text, or what stands for a variable.
type piece struct {
	literal string
	known   known
	part    *variable // of a template
	group   int       // of a regular expression; 0: none
	late    string    // a name that is looked up in the route of the request
}

// known are the variables that every route has.
type known uint8

const (
	knownNone known = iota
	knownPath
	knownRest
	knownQuery
	knownHost

	knownClient // these and the following: in texts of filters only
	knownScheme
	knownMethod
	knownID
	knownRoute
)

var knownNames = map[string]known{"path": knownPath, "rest": knownRest, "query": knownQuery, "host": knownHost}

// compileText reads a text with variables.
func (r *Route) compileText(source string, check func(before string, p piece) error) (text, error) {
	switch {
	case len(source) > MaxPathLen:
		return nil, fmt.Errorf("it is longer than %d characters", MaxPathLen)
	case strings.ContainsFunc(source, func(c rune) bool { return c <= ' ' || c > '~' || c == '\\' }):
		return nil, fmt.Errorf("%q has a character that must be percent-encoded", source)
	}
	return pieces(source, func(before, name string) (piece, error) {
		p, err := r.pieceOf(name)
		if err == nil {
			err = check(before, p)
		}
		return p, err
	})
}

// pieces cuts a text at its variables; pieceOf makes a piece of one, by its name and what
// stands before it.
func pieces(source string, pieceOf func(before, name string) (piece, error)) ([]piece, error) {
	var out []piece
	for rest := source; rest != ""; {
		literal, after, more := strings.Cut(rest, "{")
		if literal != "" {
			out = append(out, piece{literal: literal})
		}
		if !more {
			break
		}
		if literal, doubled := strings.CutPrefix(after, "{"); doubled { // "{{" stands for "{"
			out, rest = append(out, piece{literal: "{"}), literal
			continue
		}
		name, behind, closed := strings.Cut(after, "}")
		if !closed {
			return nil, fmt.Errorf("%q has a \"{\" that is not closed", source)
		}
		p, err := pieceOf(source[:len(source)-len(after)-1], name)
		if err != nil {
			return nil, fmt.Errorf("{%s}: %w", name, err)
		}
		out, rest = append(out, p), behind
	}
	return out, nil
}

// compileRewrite reads the path that requests go on with.
func (r *Route) compileRewrite(source string) (text, error) {
	if !beginsWith(source, "/", "{path}", "{rest}") || strings.ContainsAny(source, "?#") {
		return nil, fmt.Errorf("%q is no path: it begins with \"/\", {path} or {rest}, and has no query, which goes on as it is", source)
	}
	return r.compileText(source, func(_ string, p piece) error {
		if p.known == knownQuery || p.known == knownHost {
			return errors.New("that is no part of a path")
		}
		return nil
	})
}

// compileTarget reads where a redirect leads to. No part of a request but its own host may
// say to which host, or clients could be sent anywhere by a link to here (an open redirect).
func (r *Route) compileTarget(source string) (text, error) {
	if !beginsWith(source, "/", "http://", "https://", "{path}", "{rest}") || strings.HasPrefix(source, "//") {
		return nil, fmt.Errorf("%q leads nowhere: it begins with https://, http://, \"/\", {path} or {rest}", source)
	}
	return r.compileText(source, func(before string, p piece) error {
		_, host, has := strings.Cut(before, "://")
		isHost := has && !strings.ContainsAny(host, "/?#")
		isBehind := p.known != knownNone && p.known != knownHost && host != "" // it begins with "/" or "?", or is empty
		if isHost && p.known != knownHost && !isBehind {
			return errors.New("clients would choose the host")
		}
		return nil
	})
}

func beginsWith(text string, any ...string) bool {
	return slices.ContainsFunc(any, func(begin string) bool { return strings.HasPrefix(text, begin) })
}

func (r *Route) pieceOf(name string) (piece, error) {
	if k := knownNames[name]; k != knownNone {
		return piece{known: k}, nil
	}
	if v := r.variable(name); v != nil {
		return piece{part: v}, nil
	}
	if r.regexp != nil {
		if i := r.regexp.SubexpIndex(name); i > 0 {
			return piece{group: i}, nil
		}
	}
	have := []string{"{path}", "{rest}", "{query}", "{host}"}
	for _, v := range r.variables {
		have = append(have, "{"+v.name+"}")
	}
	if r.regexp != nil {
		for _, group := range r.regexp.SubexpNames() {
			if group != "" {
				have = append(have, "{"+group+"}")
			}
		}
	}
	return piece{}, fmt.Errorf("there is no {%s}; there are %s", name, strings.Join(have, ", "))
}

// Parts are the parts of a request that texts are made of.
type Parts struct {
	Host  []byte // as in the field Host
	Path  []byte // normalised
	Query []byte // with its "?"

	Client netip.Addr // these are for texts of filters
	Scheme string
	Method []byte
	ID     []byte
}

// AppendTarget appends where a redirect leads to.
func (r *Route) AppendTarget(b []byte, p Parts) []byte {
	from := len(b)
	b = r.appendText(b, r.Redirect.to, p)
	for len(b) > from+1 && b[from] == '/' && b[from+1] == '/' { // which would be another host (RFC 3986 §4.2)
		b = slices.Delete(b, from, from+1)
	}
	return b
}

// Rewrites reports whether requests go on with another path.
func (r *Route) Rewrites() bool { return r.rewrite != nil }

// AppendPath appends the path that a request goes on with.
func (r *Route) AppendPath(b []byte, path []byte) []byte {
	from := len(b)
	if b = r.appendText(b, r.rewrite, Parts{Path: path}); len(b) == from || b[from] != '/' {
		b = slices.Insert(b, from, '/')
	}
	return b
}

func (r *Route) appendText(b []byte, t text, p Parts) []byte {
	var groups []int
	for i := range t {
		switch piece := &t[i]; {
		case piece.part != nil:
			b = append(b, piece.part.of(p.Path)...)
		case piece.group > 0:
			if groups == nil {
				groups = r.regexp.FindSubmatchIndex(p.Path)
			}
			if g := 2 * piece.group; g < len(groups) && groups[g] >= 0 {
				b = append(b, p.Path[groups[g]:groups[g+1]]...)
			}
		case piece.known == knownPath:
			b = append(b, p.Path...)
		case piece.known == knownRest:
			b = append(b, r.rest(p.Path)...)
		case piece.known == knownQuery:
			b = append(b, p.Query...)
		case piece.known == knownHost:
			b = append(b, p.Host...)
		case piece.known == knownClient:
			b = p.Client.AppendTo(b)
		case piece.known == knownScheme:
			b = append(b, p.Scheme...)
		case piece.known == knownMethod:
			b = append(b, p.Method...)
		case piece.known == knownID:
			b = append(b, p.ID...)
		case piece.known == knownRoute:
			b = append(b, r.Name...)
		default:
			b = append(b, piece.literal...)
		}
	}
	return b
}

// rest returns what of a path is behind the prefix of r: nothing, or it begins with "/".
func (r *Route) rest(path []byte) []byte {
	if r.kind != prefix {
		return nil
	}
	return bytes.TrimPrefix(path, []byte(strings.TrimSuffix(r.place, "/")))
}
