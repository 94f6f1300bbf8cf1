package route

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// Request is what conditions look at. Values that are not there are nil.
type Request interface {
	Method() []byte
	Query() []byte             // with its "?"; empty: there is none
	Field(name string) []byte  // of the first field line of that name
	Cookie(name string) []byte // of the first cookie of that name
	Client() netip.Addr        // as far as it is believed
	// Content returns the beginning of the content, as far as it is looked at; whole: that is
	// all of it. It may wait for the client to send it.
	Content() (prefix []byte, whole bool)
	Scheme() string // of the connection: http or https
}

// When is what a request has to be beside its host and path. All of it has to hold; of
// methods and of clients any one. The zero When always holds.
type When struct {
	Methods []string // compared with their case (RFC 9110 §9.1)
	Fields  []Condition
	Query   []Condition // parameters, without percent-encoding
	Cookies []Condition
	Clients []netip.Prefix
	JSON    []Condition // values in content that is JSON, by their paths
	Form    []Condition // values in content that is a form
	Scheme  string      // http or https; empty: both
}

// Condition is about one named value: it is there, and, if one of the others is given, it
// is that value, begins so, or is matched as a whole by the regular expression.
type Condition struct {
	Name   string
	Value  string
	Prefix string
	Regexp string
	Not    bool // it must not be so
}

// of is where a value is found.
type of uint8

const (
	inField of = iota
	inQuery
	inCookie
	inJSON
	inForm
)

func (o of) String() string {
	return [...]string{"field", "query parameter", "cookie", "JSON value", "form value"}[o]
}

// condition is a compiled Condition.
type condition struct {
	Condition
	of     of
	regexp *regexp.Regexp
}

// when is a compiled When.
type when struct {
	methods    []string
	conditions []condition
	clients    []netip.Prefix
	scheme     string
}

// always is that of routes without conditions, which are most. Nobody writes to it.
var always when

// compile checks w.
func (w *When) compile() (*when, error) {
	out := &when{methods: w.Methods, clients: w.Clients, scheme: w.Scheme}
	if w.Scheme != "" && w.Scheme != "http" && w.Scheme != "https" {
		return nil, fmt.Errorf("when.scheme: %q is neither http nor https", w.Scheme)
	}
	for _, m := range w.Methods {
		if m == "" || strings.ToUpper(m) != m {
			return nil, fmt.Errorf("when.methods: %q: methods are compared with their case, and those that clients send are in capital letters", m)
		}
	}
	for o, list := range [][]Condition{w.Fields, w.Query, w.Cookies, w.JSON, w.Form} {
		for i, c := range list {
			made := condition{Condition: c, of: of(o)}
			at := fmt.Sprintf("when.%s[%d]", [...]string{"fields", "query", "cookies", "json", "form"}[o], i)
			if c.Name == "" {
				return nil, fmt.Errorf("%s: it has no name", at)
			}
			if given := slices.DeleteFunc([]string{c.Value, c.Prefix, c.Regexp}, func(s string) bool { return s == "" }); len(given) > 1 {
				return nil, fmt.Errorf("%s: value, prefix and regexp exclude each other", at)
			}
			if err := made.checkContent(); err != nil {
				return nil, fmt.Errorf("%s: %w", at, err)
			}
			if c.Regexp != "" {
				var err error
				if made.regexp, err = CompileWhole(c.Regexp); err != nil {
					return nil, fmt.Errorf("%s.regexp: %w", at, err)
				}
			}
			out.conditions = append(out.conditions, made)
		}
	}
	if out.count() == 0 {
		return &always, nil
	}
	return out, nil
}

// count returns how much w asks for: routes that ask for more are tried first.
func (w *when) count() int {
	n := len(w.conditions)
	if len(w.methods) > 0 {
		n++
	}
	if len(w.clients) > 0 {
		n++
	}
	if w.scheme != "" {
		n++
	}
	return n
}

// equals reports whether w and other ask for the same, in the same order.
func (w *when) equals(other *when) bool {
	return w.scheme == other.scheme && slices.Equal(w.methods, other.methods) && slices.Equal(w.clients, other.clients) &&
		slices.EqualFunc(w.conditions, other.conditions, func(a, b condition) bool { return a.of == b.of && a.Condition == b.Condition })
}

// holds reports whether a request is as w wants it.
func (w *when) holds(q Request) bool {
	if !w.holdsPlainly(q) {
		return false
	}
	for i := range w.conditions {
		if !w.conditions[i].holds(q) {
			return false
		}
	}
	return true
}

// holdsHead is holds for what does not go by content.
func (w *when) holdsHead(q Request) bool {
	if !w.holdsPlainly(q) {
		return false
	}
	for i := range w.conditions {
		if c := &w.conditions[i]; c.of < inJSON && !c.holds(q) || c.of >= inJSON && !c.Not && !hasType(q, c.of) {
			return false
		}
	}
	return true
}

func (w *when) goesByContent() bool {
	return slices.ContainsFunc(w.conditions, func(c condition) bool { return c.of >= inJSON })
}

// holdsPlainly is holds for what is not about named values.
func (w *when) holdsPlainly(q Request) bool {
	if w.scheme != "" && w.scheme != q.Scheme() {
		return false
	}
	return (len(w.methods) == 0 || w.holdsMethod(q)) && (len(w.clients) == 0 || w.holdsClient(q))
}

func (w *when) holdsMethod(q Request) bool {
	method := q.Method()
	for _, m := range w.methods {
		if m == string(method) {
			return true
		}
	}
	return false
}

func (w *when) holdsClient(q Request) bool {
	client := q.Client()
	for _, p := range w.clients {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// longValue is the longest parameter that is decoded without memory of its own; arbitrary.
const longValue = 256

func (c *condition) holds(q Request) bool {
	if c.of >= inJSON {
		return c.holdsContent(q)
	}
	if c.of == inQuery {
		return c.isParameter(q.Query()) != c.Not
	}
	value := []byte(nil)
	if c.of == inField {
		value = q.Field(c.Name)
	} else {
		value = q.Cookie(c.Name)
	}
	return (c.is(value) && (c.regexp == nil || c.regexp.Match(value))) != c.Not
}

// isParameter is for a query. It costs memory only to have a regular expression look.
func (c *condition) isParameter(query []byte) bool {
	var room [longValue]byte
	value := parameter(room[:0], query, c.Name)
	return c.is(value) && (c.regexp == nil || c.regexp.MatchString(string(value)))
}

// is reports whether a value is there and the right one, as far as no regular expression
// says so.
func (c *condition) is(value []byte) bool {
	switch {
	case value == nil:
		return false
	case c.Prefix != "":
		return len(value) >= len(c.Prefix) && string(value[:len(c.Prefix)]) == c.Prefix
	}
	return c.Value == "" || string(value) == c.Value
}

// parameter returns the value of a parameter of a query, decoded as forms are
// (https://url.spec.whatwg.org/#urlencoded-parsing), behind dst; nil if it is not there.
func parameter(dst, query []byte, name string) []byte {
	if len(query) == 0 {
		return nil
	}
	for rest, pair := query[1:], []byte(nil); len(rest) > 0; {
		if pair, rest, _ = bytes.Cut(rest, ampersand); len(pair) == 0 {
			continue
		}
		key, value, _ := bytes.Cut(pair, equals)
		if dst = appendDecoded(dst[:0], key); string(dst) == name {
			return appendDecoded(dst[:0], value)
		}
	}
	return nil
}

var ampersand, equals = []byte("&"), []byte("=")

func appendDecoded(dst, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '+':
			dst = append(dst, ' ')
		case c == '%' && i+2 < len(text) && unhex(text[i+1]) <= 15 && unhex(text[i+2]) <= 15:
			dst = append(dst, unhex(text[i+1])<<4|unhex(text[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// unmet says what of w a request is not; "" if it holds.
func (w *when) unmet(q Request) string {
	if w.scheme != "" && w.scheme != q.Scheme() {
		return fmt.Sprintf("the scheme is %s, not %s", q.Scheme(), w.scheme)
	}
	if len(w.methods) > 0 && !w.holdsMethod(q) {
		return fmt.Sprintf("the method is %s, not %s", q.Method(), strings.Join(w.methods, " or "))
	}
	if len(w.clients) > 0 && !w.holdsClient(q) {
		return fmt.Sprintf("the client %s is in none of its networks", q.Client())
	}
	for i := range w.conditions {
		if c := &w.conditions[i]; !c.holds(q) {
			if c.of >= inJSON {
				return c.String() + c.unmetContent(q)
			}
			return c.String()
		}
	}
	return ""
}

// String says what is missing when c does not hold.
func (c *condition) String() string {
	text := fmt.Sprintf("%s %s ", c.of, c.Name)
	no := "is not "
	if c.Not {
		no = "is "
	}
	switch {
	case c.regexp != nil:
		return text + no + fmt.Sprintf("matched by %q", c.Regexp)
	case c.Prefix != "" && c.Not:
		return text + fmt.Sprintf("begins with %q", c.Prefix)
	case c.Prefix != "":
		return text + fmt.Sprintf("does not begin with %q", c.Prefix)
	case c.Value != "":
		return text + no + fmt.Sprintf("%q", c.Value)
	}
	return text + no + "there"
}
