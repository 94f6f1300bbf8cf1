package http1

// Form is the form of a request target (RFC 9112 §3.2).
type Form uint8

const (
	OriginForm    Form = iota // /path?query
	AbsoluteForm              // http://host/path?query; over TLS https
	AuthorityForm             // host:port, for CONNECT only
	AsteriskForm              // *, for OPTIONS only
)

// Method is a request method as a number.
type Method uint8

// The methods the gateway treats by name.
const (
	MethodOther Method = iota
	MethodGet
	MethodHead
	MethodPost
	MethodPut
	MethodDelete
	MethodConnect
	MethodOptions
	MethodTrace
	MethodPatch
)

// methodOf returns the number of a method. Methods are case-sensitive (RFC 9110
// §9.1): "get" is another method than GET, and goes to the origin as it is.
func methodOf(m []byte) Method {
	switch string(m) {
	case "GET":
		return MethodGet
	case "HEAD":
		return MethodHead
	case "POST":
		return MethodPost
	case "PUT":
		return MethodPut
	case "DELETE":
		return MethodDelete
	case "CONNECT":
		return MethodConnect
	case "OPTIONS":
		return MethodOptions
	case "TRACE":
		return MethodTrace
	case "PATCH":
		return MethodPatch
	}
	return MethodOther
}

// Idempotent reports whether doing it twice is meant to be the same as once
// (RFC 9110 §9.2.2).
func (m Method) Idempotent() bool {
	switch m {
	case MethodGet, MethodHead, MethodOptions, MethodTrace, MethodPut, MethodDelete:
		return true
	}
	return false
}

// readTarget checks the request target and finds its parts.
func (p *Parser) readTarget(b []byte) *Violation {
	s := &p.start
	from, to := int(s.target.from), int(s.target.to)
	switch {
	case s.methodID == MethodConnect:
		s.form, s.authority = AuthorityForm, s.target
		if !validHost(s.target.of(b)) {
			return p.fail(400, "the target of CONNECT is not host:port", from)
		}
		return nil
	case b[from] == '/':
		s.form = OriginForm
		return p.splitPath(b, from, to)
	case b[from] == '*' && to == from+1:
		s.form, s.path = AsteriskForm, s.target
		if s.methodID != MethodOptions {
			return p.fail(400, "the target * is for OPTIONS only", from)
		}
		return nil
	}
	scheme := "http://"
	if p.limits.Secure {
		scheme = "https://"
	}
	if to-from <= len(scheme) || !equalLower(b[from:from+len(scheme)], scheme) {
		return p.fail(400, "the request target is neither a path nor a URI of the scheme of the connection", from)
	}
	s.form = AbsoluteForm
	host := from + len(scheme)
	end := host
	for end < to && b[end] != '/' && b[end] != '?' {
		end++
	}
	s.authority = span{uint16(host), uint16(end)}
	if !validHost(b[host:end]) {
		return p.fail(400, "the authority of the request target is not a host with an optional port", host)
	}
	return p.splitPath(b, end, to)
}

// splitPath checks the octets of path and query: visible ASCII without "#"
// (RFC 3986 allows fewer, clients send these), and in the path every "%" is
// followed by two hexadecimal digits.
func (p *Parser) splitPath(b []byte, from, to int) *Violation {
	query := to
	for i := from; i < to; i++ {
		c := b[i]
		if class[c]&visible == 0 {
			return p.fail(400, "the request target has a character that must be percent-encoded", i)
		}
		if query < to {
			continue
		}
		switch c {
		case '?':
			query = i
		case '%':
			if i+2 >= to || !isHex(b[i+1]) || !isHex(b[i+2]) {
				return p.fail(400, "a % in the path is not followed by two hexadecimal digits", i)
			}
		}
	}
	p.start.path = span{uint16(from), uint16(query)}
	p.start.query = span{uint16(query), uint16(to)}
	return nil
}

// validHost reports whether h is a host with an optional port: a name or IPv4
// address of letters, digits, "-", ".", "_" and "~", or an IPv6 address in
// brackets. RFC 3986 §3.2.2 allows more (percent-encoding, sub-delims), which
// no DNS name has; user information is never allowed (RFC 9110 §4.2.4).
func validHost(h []byte) bool {
	i := 0
	if len(h) > 0 && h[0] == '[' {
		for i = 1; i < len(h) && (isHex(h[i]) || h[i] == ':' || h[i] == '.'); i++ {
		}
		if i < 4 || i == len(h) || h[i] != ']' {
			return false
		}
		i++
	} else {
		for i < len(h) && class[h[i]]&hostchar != 0 {
			i++
		}
	}
	if i == 0 || i > 255 {
		return false
	}
	if i == len(h) {
		return true
	}
	port := h[i+1:]
	if h[i] != ':' || len(port) == 0 || len(port) > 5 {
		return false
	}
	n := 0
	for _, c := range port {
		if !isDigit(c) {
			return false
		}
		n = n*10 + int(c-'0')
	}
	return n <= 65535
}
