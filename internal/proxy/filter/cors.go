package filter

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pharos/internal/proxy/route"
)

// CORS says which pages of other origins may read responses of the route (the WHATWG Fetch
// standard §3.2). What the origin server says of it does not go on: there is one who decides.
type CORS struct {
	// Origins are "https://www.example.com", "https://*.example.com" for every name below
	// one, "~" and a regular expression that has to match the whole origin, or "*".
	Origins     []string
	Methods     []string
	Fields      []string // that requests may have; "*": any, only without Credentials
	Expose      []string // fields of responses that pages may read
	Credentials bool
	MaxAge      time.Duration // that a browser may remember a preflight for
}

// maxOrigin is the longest origin that is looked at, in octets: scheme, a DNS name and a port.
const maxOrigin = len("https://") + 253 + len(":65535")

// cors is a compiled CORS.
type cors struct {
	any         bool
	exact       []string
	wildcards   [][2]string // what it begins and ends with
	patterns    []*regexp.Regexp
	credentials bool
	simple      []byte // field lines of every answer to an allowed origin
	preflight   []byte // beside them of one to a preflight
}

func (c *CORS) compile(out *compiledStep) error {
	made := &cors{credentials: c.Credentials}
	if len(c.Origins) == 0 {
		return fmt.Errorf("cors: no origin is listed")
	}
	for _, origin := range c.Origins {
		if err := made.add(origin, c.Credentials); err != nil {
			return fmt.Errorf("cors: origin %q: %w", origin, err)
		}
	}
	if err := c.check(); err != nil {
		return fmt.Errorf("cors: %w", err)
	}
	if c.Credentials {
		made.simple = append(made.simple, "Access-Control-Allow-Credentials: true\r\n"...)
	}
	made.simple = appendList(made.simple, "Access-Control-Expose-Headers", c.Expose)
	made.preflight = appendList(made.preflight, "Access-Control-Allow-Methods", c.Methods)
	made.preflight = appendList(made.preflight, "Access-Control-Allow-Headers", c.Fields)
	if c.MaxAge > 0 {
		made.preflight = append(append(made.preflight, "Access-Control-Max-Age: "...), strconv.Itoa(int(c.MaxAge/time.Second))+"\r\n"...)
	}
	out.step = made
	for _, name := range []string{"Origin", "Credentials", "Methods", "Headers"} {
		out.fields.response = append(out.fields.response, change{name: "Access-Control-Allow-" + name, drops: true})
	}
	out.fields.response = append(out.fields.response,
		change{name: "Access-Control-Expose-Headers", drops: true},
		change{name: "Access-Control-Max-Age", drops: true},
		change{name: "Access-Control-Allow-Origin", writes: made.appendResponse})
	return nil
}

func (c *CORS) check() error {
	for _, list := range [][]string{c.Methods, c.Fields, c.Expose} {
		for _, name := range list {
			if err := checkName(name, false, false); err != nil && name != "*" && !strings.EqualFold(name, "date") && !strings.EqualFold(name, "content-length") {
				return fmt.Errorf("%q is no method and no name of a field", name)
			}
			if name == "*" && c.Credentials {
				return fmt.Errorf("with credentials \"*\" is a name like any other, and stands for nothing (Fetch §3.2.5); list them")
			}
		}
	}
	return nil
}

// add adds an origin.
func (c *cors) add(origin string, credentials bool) error {
	scheme, host, has := strings.Cut(origin, "://")
	switch {
	case origin == "*" && credentials:
		// Every page on the Web could do as its visitor, logged in.
		return fmt.Errorf("credentials are never for every origin; list those that are meant")
	case origin == "*":
		c.any = true
	case strings.HasPrefix(origin, "~"):
		re, err := route.CompileWhole(origin[1:])
		if err != nil {
			return err
		}
		if re.MatchString("https://evil.invalid") && credentials {
			return fmt.Errorf("it matches every origin, and credentials are never for every origin")
		}
		c.patterns = append(c.patterns, re)
	case origin == "null":
		return fmt.Errorf("documents from anywhere have it (sandboxed frames, files); it stands for nobody")
	case !has || scheme == "" || host == "" || strings.ContainsAny(host, "/?#@ ") || strings.ToLower(origin) != origin:
		return fmt.Errorf("want a scheme and a host in lower case, without a path, as in https://www.example.com")
	case strings.HasPrefix(host, "*."):
		if strings.Count(host, ".") < 2 {
			return fmt.Errorf("it is for every name of a top level domain")
		}
		c.wildcards = append(c.wildcards, [2]string{scheme + "://", host[1:]})
	case strings.Contains(host, "*"):
		return fmt.Errorf("\"*\" stands for whole labels at the beginning; write a regular expression, \"~...\"")
	default:
		c.exact = append(c.exact, origin)
	}
	return nil
}

// allows reports whether a page of that origin may read the response. What the client sends
// is compared, never trusted: an origin that no rule names is not reflected.
func (c *cors) allows(origin []byte) bool {
	if len(origin) == 0 || len(origin) > maxOrigin || !isOrigin(origin) {
		return false
	}
	if c.any {
		return true
	}
	for _, o := range c.exact {
		if o == string(origin) {
			return true
		}
	}
	for _, w := range c.wildcards {
		begin, end := w[0], w[1]
		if len(origin) > len(begin)+len(end) && string(origin[:len(begin)]) == begin && string(origin[len(origin)-len(end):]) == end &&
			isHost(origin[len(begin):len(origin)-len(end)]) {
			return true
		}
	}
	for _, re := range c.patterns {
		if re.Match(origin) {
			return true
		}
	}
	return false
}

// isOrigin reports whether b can be an origin: a scheme, a host and a port, with nothing that
// would let a regular expression take the end of something else for a host.
func isOrigin(b []byte) bool {
	scheme, host, has := bytes.Cut(b, colonSlashes)
	if !has || len(scheme) == 0 || !isHost(scheme) {
		return false
	}
	for _, c := range host {
		if !isHost([]byte{c}) && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return len(host) > 0
}

var colonSlashes = []byte("://")

// isHost reports whether b is labels of a host and nothing else, so that no "/" or "@" in it
// makes another host of what a wildcard matches.
func isHost(b []byte) bool {
	for _, c := range b {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

// decide answers preflights.
func (c *cors) decide(p *Pass) Verdict {
	origin := p.Request.Field("Origin")
	if origin == nil {
		p.note("the request is of no other origin")
		return Verdict{}
	}
	if string(p.Request.Method()) != "OPTIONS" || p.Request.Field("Access-Control-Request-Method") == nil {
		if p.explains {
			p.note("pages of %s may read the response: %t", origin, c.allows(origin))
		}
		return Verdict{}
	}
	if !c.allows(origin) {
		return Verdict{Status: 403, Kind: "http_request_denied", Text: "pages of that origin may not ask"}
	}
	return Verdict{Status: 204, Text: "a preflight is answered here", Lines: c.preflight}
}

// appendResponse appends the fields of a response. That it depends on the origin is said
// even where there is none, so that no cache gives the one for the other.
func (c *cors) appendResponse(b []byte, p *Pass) []byte {
	origin := p.Request.Field("Origin")
	if c.any && !c.credentials {
		if origin == nil {
			return append(b, "Access-Control-Allow-Origin: *\r\n"...)
		}
		return append(append(b, "Access-Control-Allow-Origin: *\r\n"...), c.simple...)
	}
	b = append(b, "Vary: Origin\r\n"...)
	if !c.allows(origin) {
		return b
	}
	b = append(append(b, "Access-Control-Allow-Origin: "...), origin...)
	return append(append(b, '\r', '\n'), c.simple...)
}

func appendList(b []byte, name string, list []string) []byte {
	if len(list) == 0 {
		return b
	}
	return append(append(append(b, name...), ": "...), bytes.Join(octets(list), []byte(", "))...)
}

func octets(list []string) (out [][]byte) {
	for _, s := range list {
		out = append(out, []byte(s))
	}
	out[len(out)-1] = append(out[len(out)-1], '\r', '\n')
	return out
}
