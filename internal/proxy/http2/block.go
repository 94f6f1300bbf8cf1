package http2

import (
	"golang.org/x/net/http2/hpack"
)

// block is a field block: gathered over frames, then decoded and held to RFC 9113 §8.
type block struct {
	most int // octets of a head

	// Gathering.
	open      bool
	stream    uint32
	endStream bool
	selfish   bool // its priority depends on itself
	frames    int  // CONTINUATION frames
	octets    []byte

	// Decoding.
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
	broken                                  bool
	decoder                                 *hpack.Decoder
}

// Pseudo-fields, as bits.
const (
	hasMethod = 1 << iota
	hasScheme
	hasAuthority
	hasPath
	hasProtocol
)

func (k *block) begin(stream uint32, endStream, selfish bool) {
	k.open, k.stream, k.endStream, k.selfish, k.frames = true, stream, endStream, selfish, 0
	k.octets = k.octets[:0]
}

// decode decodes the whole block. It is decoded to its end even when it is malformed, as
// the blocks after it build on its table.
func (k *block) decode(d *hpack.Decoder, b []byte, isTrailers bool) {
	k.isTrailers = isTrailers
	k.method, k.scheme, k.authority, k.path, k.asksTo, k.host = "", "", "", "", "", ""
	k.pseudo, k.regular, k.hasHost, k.declared = 0, false, false, -1
	k.lines, k.cookie = k.lines[:0], k.cookie[:0]
	k.tooLarge, k.malformed = false, ""
	k.decoder = d
	d.SetEmitEnabled(true)
	if _, err := d.Write(b); err != nil {
		k.broken = true
		return
	}
	k.broken = d.Close() != nil
}

// fail notes why the message is malformed, and reads no more of it.
func (k *block) fail(text string) {
	k.malformed = text
	k.decoder.SetEmitEnabled(false)
}

// add takes the next field of the block.
func (k *block) add(f hpack.HeaderField) {
	most := k.most
	if k.isTrailers {
		most = maxTrailer
	}
	switch {
	case len(k.lines)+len(k.cookie)+len(f.Name)+len(f.Value)+len(": \r\n") > most:
		// What was decoded so far may be small: no more is (a block of few octets can
		// stand for many, by its table).
		k.tooLarge = true
		k.decoder.SetEmitEnabled(false)
	case len(f.Name) > 0 && f.Name[0] == ':':
		k.addPseudo(f)
	case !isName(f.Name):
		k.fail("a field name that is not a token in lower case")
	case !isValue(f.Value):
		k.fail("a field value with a line break, a NUL or white space around it")
	default:
		k.regular = true
		k.addRegular(f)
	}
}

// addPseudo takes what the start line of HTTP/1.1 has (RFC 9113 §8.3).
func (k *block) addPseudo(f hpack.HeaderField) {
	if k.isTrailers || k.regular {
		k.fail("a pseudo-field in the trailers or after other fields")
		return
	}
	bit, to := uint8(0), (*string)(nil)
	switch f.Name {
	case ":method":
		bit, to = hasMethod, &k.method
	case ":scheme":
		bit, to = hasScheme, &k.scheme
	case ":authority":
		bit, to = hasAuthority, &k.authority
	case ":path":
		bit, to = hasPath, &k.path
	case ":protocol":
		bit, to = hasProtocol, &k.asksTo
	}
	switch {
	case bit == 0:
		k.fail("an unknown pseudo-field")
	case k.pseudo&bit != 0:
		k.fail("a pseudo-field twice")
	case !isLinePart(f.Value):
		k.fail("a pseudo-field with white space or a control character")
	}
	if k.malformed == "" {
		k.pseudo |= bit
		*to = f.Value
	}
}

// addRegular takes any other field. What concerns one connection does not exist here (RFC
// 9113 §8.2.2).
func (k *block) addRegular(f hpack.HeaderField) {
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		k.fail("a field that concerns a connection of HTTP/1.1")
		return
	case "te":
		if f.Value != "trailers" {
			k.fail("a TE field that is not \"trailers\"")
			return
		}
	case "host":
		if k.hasHost && k.host != f.Value {
			k.fail("two Host fields")
		}
		k.host, k.hasHost = f.Value, true
		return
	case "cookie":
		// RFC 9113 §8.2.3: crumbs are put together again for HTTP/1.1.
		if len(k.cookie) > 0 {
			k.cookie = append(k.cookie, "; "...)
		}
		k.cookie = append(k.cookie, f.Value...)
		return
	case "content-length":
		k.declared = lengthOf(f.Value)
	case "sec-websocket-key":
		if k.pseudo&hasProtocol != 0 {
			return // RFC 8441 §5: it has no meaning here; the driver makes one
		}
	}
	k.lines = append(append(k.lines, f.Name...), ": "...)
	k.lines = append(append(k.lines, f.Value...), "\r\n"...)
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

// finishRequest gives s the head, or the reason why it is none.
func (k *block) finishRequest(s *Stream) {
	s.declared = k.declared
	if k.malformed == "" && !k.tooLarge {
		k.malformed = k.checkRequest()
	}
	if s.Malformed = k.malformed; s.Malformed != "" || k.tooLarge {
		return
	}
	method, target := k.method, k.path
	switch {
	case k.asksTo == "websocket":
		method, s.Protocol, s.Whole = "GET", k.asksTo, true
	case k.method == "CONNECT":
		target = k.authority
	}
	b := append(append(s.Head, method...), ' ')
	b = append(append(b, target...), " HTTP/1.1\r\n"...)
	if host := k.authority; host != "" || k.hasHost {
		if host == "" {
			host = k.host
		}
		b = append(append(append(b, "host: "...), host...), "\r\n"...)
	}
	b = append(b, k.lines...)
	if len(k.cookie) > 0 {
		b = append(append(append(b, "cookie: "...), k.cookie...), "\r\n"...)
	}
	if s.Protocol != "" {
		b = append(append(append(b, "connection: upgrade\r\nupgrade: "...), s.Protocol...), "\r\n"...)
	}
	if s.Head = b; len(b) > k.most {
		s.Head, s.TooLarge = b[:0], true
	}
}

// checkRequest holds the rules that need more than one field (RFC 9113 §8.3.1, §8.5; RFC
// 8441 §4). It returns what is wrong.
func (k *block) checkRequest() string {
	const required = hasMethod | hasScheme | hasPath
	isConnect := k.method == "CONNECT"
	extended := k.pseudo&hasProtocol != 0
	switch {
	case k.method == "":
		return "no :method"
	case extended && !isConnect:
		return ":protocol without CONNECT"
	case isConnect && !extended:
		if k.pseudo != hasMethod|hasAuthority || k.authority == "" {
			return "CONNECT without just :authority"
		}
	case k.pseudo&required != required || k.scheme == "" || k.path == "":
		return "no :scheme or no :path"
	case k.scheme != "http" && k.scheme != "https":
		return "a :scheme that is neither http nor https"
	case k.path[0] != '/' && !(k.path == "*" && k.method == "OPTIONS"):
		return "a :path that does not begin with a slash"
	case !isToken(k.method):
		return "a :method that is not a token"
	}
	if k.hasHost && k.authority != "" && !equalFold(k.host, k.authority) {
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
