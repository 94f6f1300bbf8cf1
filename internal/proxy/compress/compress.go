// Package compress decides whether the content of a response is compressed on its way to
// the client, and with what.
//
// It owns negotiation by quality values, and the rules by which a response is left as it is.
// It does not own the compression itself (package encoders), nor the fields of the response.
//
//	Accept-Encoding: br;q=0.9, gzip, *;q=0   --Negotiate-->  gzip
//	Rules + what the response is             --Decide----->  a coding, or why there is none
//
// Entry points: Parse, Rules.Decide, Rules.Offers, Negotiate.
//
// Concurrency: Rules are constant. Nothing here allocates once they are made.
//
// Sources: RFC 9110 §8.4.1 (content codings), §8.8.3 (weak validators), §12.5.3
// (Accept-Encoding), §12.5.5 (Vary); RFC 9111 §5.2.2.6 (no-transform); RFC 7932 (br);
// RFC 8878, RFC 9659 (zstd, whose window is at most 8 MB).
package compress

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Coding is a content coding.
type Coding uint8

// The codings.
const (
	Identity Coding = iota // none
	Gzip
	Brotli
	Zstd
	codings
)

var names = [codings]string{"identity", "gzip", "br", "zstd"}

// String returns the name that fields have for it.
func (c Coding) String() string { return names[c] }

// Rules are what is compressed.
type Rules struct {
	codings []Coding // that are offered, the one that is liked best first
	least   int64    // octets of content; less is not worth it
	types   []string // "text/html", "text/*" or "application/*+json"
	secrets bool     // responses with secrets, too
}

// DefaultTypes are media types that compress well. Pictures, films, sounds and archives are
// compressed already, and gRPC does so by itself.
var DefaultTypes = []string{"text/*", "application/json", "application/javascript", "application/xml", "application/*+json", "application/*+xml", "image/svg+xml", "application/wasm", "font/ttf", "font/otf"}

// maxTypes bounds what is looked at for each response.
const maxTypes = 100

// Parse makes rules. codings are in the order in which they are liked.
func Parse(codingNames []string, least int64, types []string, secrets bool) (*Rules, error) {
	r := &Rules{least: least, secrets: secrets}
	for _, name := range codingNames {
		c := Coding(slices.Index(names[:], name))
		if c >= codings || c == Identity {
			return nil, fmt.Errorf("there is no coding %q; there are gzip, br and zstd", name)
		}
		if slices.Contains(r.codings, c) {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		r.codings = append(r.codings, c)
	}
	if len(types) == 0 {
		types = DefaultTypes
	}
	if len(types) > maxTypes {
		return nil, fmt.Errorf("%d types are more than %d", len(types), maxTypes)
	}
	for _, t := range types {
		main, sub, ok := strings.Cut(t, "/")
		if !ok || main == "" || sub == "" || strings.ContainsAny(t, " ;,") || strings.Contains(main, "*") || strings.LastIndexByte(sub, '*') > 0 {
			return nil, fmt.Errorf(`%q is no media type; want one such as "text/html", "text/*" or "application/*+json"`, t)
		}
		r.types = append(r.types, strings.ToLower(t))
	}
	return r, nil
}

// Message is what is to be known of a request and its response.
type Message struct {
	Status      int
	Length      int64  // of the content; -1: not known yet
	Type        []byte // Content-Type
	Coded       bool   // Content-Encoding says it is compressed, or otherwise coded
	Partial     bool   // Content-Range
	NoTransform bool   // Cache-Control of the request or of the response
	Secret      bool   // Authorization, or Set-Cookie
	Digest      bool   // a field has a digest of the octets as they are
}

// Decide returns the coding for a response, and whether that depends on Accept-Encoding,
// which the response has to say then. accepts are the values of all fields of that name;
// isGiven is that there are any.
func (r *Rules) Decide(m *Message, accepts [][]byte, isGiven bool) (c Coding, varies bool) {
	offered := r.Offers(m)
	if len(offered) == 0 {
		return Identity, false
	}
	if !isGiven {
		return Identity, true // RFC 9110 §12.5.3: any would do; who says nothing knows none
	}
	return Negotiate(accepts, offered), true
}

// Offers returns the codings that there are for a response, the one that is liked best first;
// none: it goes as it is, whatever the client accepts. Without rules nothing is compressed.
func (r *Rules) Offers(m *Message) []Coding {
	switch {
	case r == nil:
		return nil
	case m.Status < 200 || m.Status == 204 || m.Status == 205 || m.Status == 206 || m.Status == 304:
		return nil
	case m.Coded || m.Partial || m.NoTransform || m.Digest:
		return nil
	case m.Secret && !r.secrets:
		// Who sees how long it is, and has a part of it be what he likes, can guess what
		// else is in it (BREACH).
		return nil
	case m.Length >= 0 && m.Length < r.least || !r.fits(m.Type):
		return nil
	}
	return r.codings
}

// fits reports whether content of a media type is compressed.
func (r *Rules) fits(value []byte) bool {
	if i := bytes.IndexByte(value, ';'); i >= 0 {
		value = value[:i]
	}
	var room [128]byte
	value = bytes.TrimSpace(value)
	if len(value) == 0 || len(value) > len(room) {
		return false
	}
	t := room[:copy(room[:], value)]
	for i, c := range t {
		if 'A' <= c && c <= 'Z' {
			t[i] = c + 'a' - 'A'
		}
	}
	if bytes.HasPrefix(t, []byte("application/grpc")) {
		return false // its messages are compressed one by one
	}
	for _, pattern := range r.types {
		star := strings.IndexByte(pattern, '*')
		if star < 0 && string(t) == pattern {
			return true
		}
		if star >= 0 && len(t) >= len(pattern) && string(t[:star]) == pattern[:star] && string(t[len(t)-(len(pattern)-star-1):]) == pattern[star+1:] {
			return true
		}
	}
	return false
}

// Negotiate returns the coding of offered that the client likes best; of those it likes as
// much, the first (RFC 9110 §12.5.3). It is Identity if none is acceptable: a client that
// refuses that too gets it all the same, rather than nothing (406 would be allowed as well).
func Negotiate(accepts [][]byte, offered []Coding) Coding {
	quality, any := [codings]int{-1, -1, -1, -1}, -1
	for _, list := range accepts {
		for len(list) > 0 {
			var item []byte
			item, list, _ = bytes.Cut(list, comma)
			name, q, ok := ParseItem(item)
			switch {
			case !ok:
				continue
			case len(name) == 1 && name[0] == '*':
				any = q
			default:
				if c, known := codingOf(name); known {
					quality[c] = q
				}
			}
		}
	}
	best, most := Identity, 0
	for _, c := range offered {
		q := quality[c]
		if q < 0 {
			q = max(any, 0)
		}
		if q > most {
			best, most = c, q
		}
	}
	if own := quality[Identity]; own > most {
		return Identity // which the client has said that it likes better
	}
	return best
}

var comma = []byte(",")

func codingOf(name []byte) (Coding, bool) {
	for c, text := range names {
		if len(name) == len(text) && bytes.EqualFold(name, []byte(text)) {
			return Coding(c), true
		}
	}
	if bytes.EqualFold(name, []byte("x-gzip")) { // RFC 9110 §8.4.1.3
		return Gzip, true
	}
	return 0, false
}

// ParseItem reads one coding with its weight, in thousandths: 1000 unless it is said.
func ParseItem(item []byte) (name []byte, quality int, ok bool) {
	name, parameters, weighted := bytes.Cut(item, []byte(";"))
	name = bytes.Trim(name, " \t")
	if !weighted {
		return name, 1000, len(name) > 0
	}
	key, value, is := bytes.Cut(bytes.Trim(parameters, " \t"), []byte("="))
	if !is || len(key) != 1 || key[0]|0x20 != 'q' || len(name) == 0 {
		return nil, 0, false
	}
	quality, ok = parseQuality(value)
	return name, quality, ok
}

// parseQuality reads qvalue: 0 to 1 with at most three decimals (RFC 9110 §12.4.2).
func parseQuality(b []byte) (thousandths int, ok bool) {
	if len(b) == 0 || len(b) > len("0.123") || b[0] != '0' && b[0] != '1' || len(b) > 1 && b[1] != '.' {
		return 0, false
	}
	q, unit := int(b[0]-'0')*1000, 100
	for _, c := range b[min(2, len(b)):] {
		if c < '0' || c > '9' {
			return 0, false
		}
		q += int(c-'0') * unit
		unit /= 10
	}
	return q, q <= 1000
}
