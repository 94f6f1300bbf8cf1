// Package section holds the field sections of HTTP/2 and HTTP/3, when they are decoded, to the
// rules that both have, and writes a request in the form of HTTP/1.1.
//
// It owns what that form could not carry faithfully (line breaks, white space in a start line,
// upper case), the pseudo-fields, and which fields concern a connection of HTTP/1.1. How a
// section is compressed, and what happens to a stream whose section is malformed, is of the
// versions; what else a request must be is package http1's.
//
//	Begin -> Add(":method", "GET"), Add(":path", "/a"), ... -> AppendRequest
//	         "GET /a HTTP/1.1 CRLF host: x CRLF name: value CRLF"
//
// Entry points: Section.Begin, Section.Add, Section.AppendRequest.
//
// Concurrency: a Section is owned by one goroutine at a time.
//
// Sources: RFC 9113 §8 (HTTP/2), RFC 9114 §4.2 and §4.3 (HTTP/3), RFC 8441 and RFC 9220
// (WebSocket).
package section

// MaxTrailers is the longest trailer section in octets, as in HTTP/1.1.
const MaxTrailers = 8192

// Section is a field section that is being read.
type Section struct {
	most                                    int // octets
	isTrailers                              bool
	method, scheme, authority, path, asksTo string // the pseudo-fields
	pseudo                                  uint8  // which of them have come
	regular                                 bool   // a field that is none of them has come
	host                                    string
	hasHost                                 bool
	lines                                   []byte // the other fields, as field lines
	cookie                                  []byte
	declared                                int64
	tooLarge                                bool
	malformed                               string
}

// Pseudo-fields, as bits.
const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasProtocol
)

// Begin makes s ready for the first field of a head, of at most so many octets in the form of
// HTTP/1.1.
func (s *Section) Begin(most int) { s.begin(most, false) }

// BeginTrailers is Begin for the trailers.
func (s *Section) BeginTrailers() { s.begin(MaxTrailers, true) }

func (s *Section) begin(most int, isTrailers bool) {
	*s = Section{most: most, isTrailers: isTrailers, declared: -1, lines: s.lines[:0], cookie: s.cookie[:0]}
}

// Scheme is that of the target URI, which the form of HTTP/1.1 does not have; empty: a CONNECT
// that is not extended has none.
func (s *Section) Scheme() string { return s.scheme }

// Malformed is why the section is none (RFC 9113 §8.1.1, RFC 9114 §4.1.2); empty: it is one.
func (s *Section) Malformed() string { return s.malformed }

// TooLarge reports whether the section has more octets than it may.
func (s *Section) TooLarge() bool { return s.tooLarge }

// Lines returns the fields that are no pseudo-fields, as field lines.
func (s *Section) Lines() []byte { return s.lines }

// Declared returns the Content-Length; -1: there is none.
func (s *Section) Declared() int64 { return s.declared }

// Add takes the next field, and reports whether more of them are looked at.
func (s *Section) Add(name, value string) (goesOn bool) {
	switch {
	case len(s.lines)+len(s.cookie)+len(name)+len(value)+len(": \r\n") > s.most:
		// What was decoded so far may be small: no more is (a section of few octets can
		// stand for many, by its table).
		s.tooLarge = true
	case len(name) > 0 && name[0] == ':':
		s.addPseudo(name, value)
	case !isName(name):
		s.malformed = "a field name that is not a token in lower case"
	case !isValue(value):
		s.malformed = "a field value with a line break, a NUL or white space around it"
	default:
		s.regular = true
		s.addRegular(name, value)
	}
	return s.malformed == "" && !s.tooLarge
}

// addPseudo takes what the start line of HTTP/1.1 has (RFC 9113 §8.3).
func (s *Section) addPseudo(name, value string) {
	if s.isTrailers || s.regular {
		s.malformed = "a pseudo-field in the trailers or after other fields"
		return
	}
	bit, to := uint8(0), (*string)(nil)
	switch name {
	case ":method":
		bit, to = hasMethod, &s.method
	case ":scheme":
		bit, to = hasScheme, &s.scheme
	case ":authority":
		bit, to = hasAuthority, &s.authority
	case ":path":
		bit, to = hasPath, &s.path
	case ":protocol":
		bit, to = hasProtocol, &s.asksTo
	}
	switch {
	case bit == 0:
		s.malformed = "an unknown pseudo-field"
	case s.pseudo&bit != 0:
		s.malformed = "a pseudo-field twice"
	case !isLinePart(value):
		s.malformed = "a pseudo-field with white space or a control character"
	}
	if s.malformed == "" {
		s.pseudo |= bit
		*to = value
	}
}

// addRegular takes any other field. What concerns one connection does not exist here (RFC
// 9113 §8.2.2).
func (s *Section) addRegular(name, value string) {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		s.malformed = "a field that concerns a connection of HTTP/1.1"
		return
	case "te":
		if value != "trailers" {
			s.malformed = "a TE field that is not \"trailers\""
			return
		}
	case "host":
		if s.hasHost && s.host != value {
			s.malformed = "two Host fields"
		}
		s.host, s.hasHost = value, true
		return
	case "cookie":
		// RFC 9113 §8.2.3: crumbs are put together again for HTTP/1.1.
		if len(s.cookie) > 0 {
			s.cookie = append(s.cookie, "; "...)
		}
		s.cookie = append(s.cookie, value...)
		return
	case "content-length":
		s.declared = lengthOf(value)
	case "sec-websocket-key":
		if s.pseudo&hasProtocol != 0 {
			return // RFC 8441 §5: it has no meaning here; the driver makes one
		}
	}
	s.lines = append(append(s.lines, name...), ": "...)
	s.lines = append(append(s.lines, value...), "\r\n"...)
}

// lengthOf returns a Content-Length; -1 for what is none, which package http1 will refuse.
func lengthOf(v string) (n int64) {
	if len(v) == 0 || len(v) > 18 {
		return -1
	}
	for _, c := range []byte(v) {
		if c < '0' || c > '9' {
			return -1
		}
		n = n*10 + int64(c-'0')
	}
	return n
}

// AppendRequest appends the head of the request, without the empty line, and returns what an
// extended CONNECT asks for (RFC 8441); empty: it is none. Of what is malformed, or turns out
// to be, and of what is too large, it appends nothing.
func (s *Section) AppendRequest(b []byte) (head []byte, protocol string) {
	if s.malformed == "" && !s.tooLarge {
		s.malformed = s.checkRequest()
	}
	if s.malformed != "" || s.tooLarge {
		return b, ""
	}
	method, target := s.method, s.path
	switch {
	case s.asksTo == "websocket":
		method, protocol = "GET", s.asksTo
	case s.method == "CONNECT":
		target = s.authority
	}
	from := len(b)
	b = append(append(b, method...), ' ')
	b = append(append(b, target...), " HTTP/1.1\r\n"...)
	if host := s.authority; host != "" || s.hasHost {
		if host == "" {
			host = s.host
		}
		b = append(append(append(b, "host: "...), host...), "\r\n"...)
	}
	b = append(b, s.lines...)
	if len(s.cookie) > 0 {
		b = append(append(append(b, "cookie: "...), s.cookie...), "\r\n"...)
	}
	if protocol != "" {
		b = append(append(append(b, "connection: upgrade\r\nupgrade: "...), protocol...), "\r\n"...)
	}
	if s.tooLarge = len(b)-from > s.most; s.tooLarge {
		return b[:from], ""
	}
	return b, protocol
}

// checkRequest holds the rules that need more than one field (RFC 9113 §8.3.1, §8.5; RFC
// 8441 §4). It returns what is wrong.
func (s *Section) checkRequest() string {
	const required = hasMethod | hasScheme | hasPath
	isConnect := s.method == "CONNECT"
	extended := s.pseudo&hasProtocol != 0
	switch {
	case s.method == "":
		return "no :method"
	case extended && !isConnect:
		return ":protocol without CONNECT"
	case isConnect && !extended:
		if s.pseudo != hasMethod|hasAuthority || s.authority == "" {
			return "CONNECT without just :authority"
		}
	case s.pseudo&required != required || s.scheme == "" || s.path == "":
		return "no :scheme or no :path"
	case s.scheme != "http" && s.scheme != "https":
		return "a :scheme that is neither http nor https"
	case s.path[0] != '/' && !(s.path == "*" && s.method == "OPTIONS"):
		return "a :path that does not begin with a slash"
	case !isToken(s.method):
		return "a :method that is not a token"
	}
	if s.hasHost && s.authority != "" && !equalFold(s.host, s.authority) {
		// RFC 9113 §8.3.1. Where they differ, one of two readers is deceived.
		return ":authority and Host name different hosts"
	}
	return ""
}

// Classes of octets.
const (
	inName  = 1 << iota // of a field name: tchar without upper case
	inToken             // tchar
)

var class = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c] = inName | inToken
		t[c-0x20] = inToken
	}
	for _, c := range "0123456789!#$%&'*+-.^_`|~" {
		t[c] = inName | inToken
	}
	return t
}()

func isName(s string) bool  { return allAre(s, inName) }
func isToken(s string) bool { return allAre(s, inToken) }

func allAre(s string, of uint8) bool {
	for i := range len(s) {
		if class[s[i]]&of == 0 {
			return false
		}
	}
	return s != ""
}

// isValue: RFC 9113 §8.2.1.
func isValue(s string) bool {
	if s == "" {
		return true
	}
	for i := range len(s) {
		if c := s[i]; c == 0 || c == '\r' || c == '\n' {
			return false
		}
	}
	return !isBlank(s[0]) && !isBlank(s[len(s)-1])
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isLinePart reports whether s may stand in a start line and be found there again.
func isLinePart(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}
