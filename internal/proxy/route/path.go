package route

import (
	"bytes"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// kind is how the path of a rule is meant.
type kind uint8

const (
	prefix   kind = iota // "/api": whole segments at the beginning
	exact                // "=/healthz": this very path
	template             // "/users/{id}": this path, a variable for a segment
	pattern              // "~/v[0-9]+/.*": a regular expression of the whole path
)

// Limits of paths.
const (
	maxSegments = 64  // of a template; arbitrary: a match looks at each
	maxPatterns = 100 // of a host, and of hosts; each is tried, one after the other
)

// variable is a part of a path that has a name.
type variable struct {
	name    string
	segment int  // which one, from 0
	rest    bool // it and all behind it
}

// compilePath sets what r's path says. The text has been written by an operator.
func (r *Route) compilePath() error {
	switch text := r.Path; {
	case strings.HasPrefix(text, "="):
		r.kind, r.place = exact, text[1:]
		return checkPath(r.place)
	case strings.HasPrefix(text, "~"):
		re, err := CompileWhole(text[1:])
		r.kind, r.place, r.regexp = pattern, text[1:], re
		return err
	case strings.ContainsAny(text, "{}"):
		r.kind, r.place = template, text
		return r.compileTemplate(text)
	default:
		r.kind, r.place = prefix, text
		return checkPath(text)
	}
}

// maxSteps is how large a regular expression may be when it is compiled. RE2's take a time
// that is linear in the text, but each octet of it may be tried at every step: with these
// and the longest path that is some milliseconds.
const maxSteps = 1000

// CompileWhole compiles a regular expression that has to match a whole text.
func CompileWhole(text string) (*regexp.Regexp, error) {
	if len(text) > MaxPathLen {
		return nil, fmt.Errorf("the regular expression is longer than %d characters", MaxPathLen)
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("%w; the syntax is RE2's (https://golang.org/s/re2syntax)", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(program.Inst); n > maxSteps {
		return nil, fmt.Errorf("the regular expression has %d steps when it is compiled, more than %d; ask for less repetition ({n,m}), as each may be tried at every character", n, maxSteps)
	}
	return regexp.MustCompile(wholeOf(text)), nil
}

func wholeOf(text string) string { return `\A(?:` + text + `)\z` }

// compileTemplate reads the variables of a template and checks what is between them.
func (r *Route) compileTemplate(text string) error {
	segments := strings.Split(strings.TrimPrefix(text, "/"), "/")
	if len(segments) > maxSegments {
		return fmt.Errorf("the path has more than %d segments", maxSegments)
	}
	plain := make([]string, len(segments))
	for i, s := range segments {
		if plain[i] = s; !strings.ContainsAny(s, "{}") {
			continue
		}
		name, rest := strings.CutSuffix(strings.Trim(s, "{}"), "...")
		switch {
		case s != "{"+name+"}" && s != "{"+name+"...}" || !isVariable(name):
			return fmt.Errorf("segment %q: a variable is a whole segment, {name} with letters, digits or \"_\"; for a part of one write a regular expression, \"~/...\"", s)
		case rest && i != len(segments)-1:
			return fmt.Errorf("segment %q: what stands for all that follows comes last", s)
		case r.variable(name) != nil:
			return fmt.Errorf("the variable {%s} is there twice", name)
		}
		r.variables = append(r.variables, variable{name, i, rest})
		plain[i] = "x"
	}
	if !strings.HasPrefix(text, "/") {
		return fmt.Errorf("the path must begin with \"/\"")
	}
	return checkPath("/" + strings.Join(plain, "/"))
}

func isVariable(name string) bool {
	return name != "" && len(name) <= 32 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// variable returns the part of a path that is called name; nil: there is none.
func (r *Route) variable(name string) *variable {
	for i := range r.variables {
		if r.variables[i].name == name {
			return &r.variables[i]
		}
	}
	return nil
}

// of returns what stands for v in a path that has matched.
func (v *variable) of(path []byte) []byte {
	rest := path[1:]
	for range v.segment {
		rest = rest[bytes.IndexByte(rest, '/')+1:]
	}
	if at := bytes.IndexByte(rest, '/'); at >= 0 && !v.rest {
		rest = rest[:at]
	}
	return rest
}

// checkPath holds configured paths to the form that requests are brought to,
// since any other could never match.
func checkPath(path string) error {
	if path == "" || path[0] != '/' {
		return fmt.Errorf("the path must begin with \"/\"")
	}
	if len(path) > MaxPathLen {
		return fmt.Errorf("the path is longer than %d characters", MaxPathLen)
	}
	if i := strings.IndexAny(path, "?#\\ \t"); i >= 0 {
		return fmt.Errorf("the path has a %q, which no path has", path[i])
	}
	normal, problem := Normalise(nil, []byte(path), Policy{})
	if problem != nil {
		return fmt.Errorf("the path could never match: %s", problem.Text)
	}
	if string(normal) != path {
		return fmt.Errorf("the path is never matched in this spelling; write it as %q", normal)
	}
	return nil
}

// segment is a node of the tree of a host's templates: what may stand in one segment of a
// path, and where that leads.
type segment struct {
	literal map[string]*segment
	any     *segment // a variable
	end     *Route   // templates that end here
	rest    *Route   // templates whose last variable stands for all that follows
}

// leaf returns where in the tree below s a template's routes are kept.
func (s *segment) leaf(r *Route) **Route {
	for i, text := range strings.Split(r.place[1:], "/") {
		v := r.atSegment(i)
		switch {
		case v != nil && v.rest:
			return &s.rest
		case v != nil:
			if s.any == nil {
				s.any = new(segment)
			}
			s = s.any
		default:
			if s.literal == nil {
				s.literal = map[string]*segment{}
			}
			if s.literal[text] == nil {
				s.literal[text] = new(segment)
			}
			s = s.literal[text]
		}
	}
	return &s.end
}

func (r *Route) atSegment(i int) *variable {
	for j := range r.variables {
		if r.variables[j].segment == i {
			return &r.variables[j]
		}
	}
	return nil
}

// match returns the route for the segments in rest. What is written out goes before a
// variable, in each segment from the left.
func (s *segment) match(rest []byte, q Request, t *Trace) *Route {
	text, more := rest, []byte(nil)
	at := bytes.IndexByte(rest, '/')
	if at >= 0 {
		text, more = rest[:at], rest[at+1:]
	}
	below := func(next *segment) *Route {
		if at >= 0 {
			return next.match(more, q, t)
		}
		return next.end.first(q, t)
	}
	if next := s.literal[string(text)]; next != nil {
		if r := below(next); r != nil {
			return r
		}
	}
	if s.any != nil && len(text) > 0 {
		if r := below(s.any); r != nil {
			return r
		}
	}
	if len(rest) == 0 {
		return nil
	}
	return s.rest.first(q, t)
}
