package http1

import "encoding/binary"

// FieldID is a small number for a field name the gateway knows; 0 for others.
type FieldID uint8

// The well-known fields. Those from Connection to HTTP2Settings concern one
// connection only and are never forwarded as they came (RFC 9110 §7.6.1).
const (
	FieldOther FieldID = iota

	FieldConnection
	FieldKeepAlive
	FieldProxyConnection
	FieldProxyAuthenticate
	FieldProxyAuthorization
	FieldTE
	FieldTrailer
	FieldTransferEncoding
	FieldUpgrade
	FieldHTTP2Settings

	FieldContentLength
	FieldHost
	FieldExpect
	FieldForwarded
	FieldXForwardedFor
	FieldXForwardedHost
	FieldXForwardedProto
	FieldXForwardedPort
	FieldXRealIP
	FieldXRequestID
	FieldVia
	FieldClientCert
	FieldClientCertChain
	FieldXClientSubject

	FieldAuthorization
	FieldCacheControl
	FieldCookie
	FieldContentType
	FieldContentEncoding
	FieldDate
	FieldLocation
	FieldReferer
	FieldServer
	FieldSetCookie
	FieldUserAgent
	FieldSecWebSocketAccept
	FieldSecWebSocketKey
	FieldStrictTransport

	fieldIDs
)

var fieldNames = [fieldIDs]string{
	FieldConnection:         "connection",
	FieldKeepAlive:          "keep-alive",
	FieldProxyConnection:    "proxy-connection",
	FieldProxyAuthenticate:  "proxy-authenticate",
	FieldProxyAuthorization: "proxy-authorization",
	FieldTE:                 "te",
	FieldTrailer:            "trailer",
	FieldTransferEncoding:   "transfer-encoding",
	FieldUpgrade:            "upgrade",
	FieldHTTP2Settings:      "http2-settings",
	FieldContentLength:      "content-length",
	FieldHost:               "host",
	FieldExpect:             "expect",
	FieldForwarded:          "forwarded",
	FieldXForwardedFor:      "x-forwarded-for",
	FieldXForwardedHost:     "x-forwarded-host",
	FieldXForwardedProto:    "x-forwarded-proto",
	FieldXForwardedPort:     "x-forwarded-port",
	FieldXRealIP:            "x-real-ip",
	FieldXRequestID:         "x-request-id",
	FieldVia:                "via",
	FieldClientCert:         "client-cert",
	FieldClientCertChain:    "client-cert-chain",
	FieldXClientSubject:     "x-client-subject",
	FieldAuthorization:      "authorization",
	FieldCacheControl:       "cache-control",
	FieldCookie:             "cookie",
	FieldContentType:        "content-type",
	FieldContentEncoding:    "content-encoding",
	FieldDate:               "date",
	FieldLocation:           "location",
	FieldReferer:            "referer",
	FieldServer:             "server",
	FieldSetCookie:          "set-cookie",
	FieldUserAgent:          "user-agent",
	FieldSecWebSocketAccept: "sec-websocket-accept",
	FieldSecWebSocketKey:    "sec-websocket-key",
	FieldStrictTransport:    "strict-transport-security",
}

// String returns the name in lower case; "" for FieldOther.
func (id FieldID) String() string { return fieldNames[id] }

// HopByHop reports whether the field concerns one connection only.
func (id FieldID) HopByHop() bool { return FieldConnection <= id && id <= FieldHTTP2Settings }

// idSlots is a perfect hash of the well-known names: its length and three
// letters choose a slot, and the name in the slot is compared. A test fails when
// two names fall into one slot.
var idSlots = func() (t [256]FieldID) {
	for id := FieldOther + 1; id < fieldIDs; id++ {
		t[slotOf([]byte(fieldNames[id]))] = id
	}
	return t
}()

func slotOf(name []byte) uint8 {
	first, last := name[0]|0x20, name[len(name)-1]|0x20
	mid := name[len(name)*3/4] | 0x20
	return uint8(len(name))*slotLen + first*slotFirst + last*slotLast + mid*slotMid
}

// Multipliers found by search so that no two well-known names share a slot.
const (
	slotLen   = 1
	slotFirst = 3
	slotLast  = 1
	slotMid   = 17
)

// LookupField returns the id of a field name, which must be a token and not be empty.
func LookupField(name []byte) FieldID {
	id := idSlots[slotOf(name)]
	if id != FieldOther && isNamed(name, id) {
		return id
	}
	return FieldOther
}

// fieldWords are the well-known names, eight octets at a time.
var fieldWords = func() (t [fieldIDs][4]uint64) {
	for id, name := range fieldNames {
		for i := range name {
			t[id][i/8] |= uint64(name[i]) << (i % 8 * 8)
		}
	}
	return t
}()

// isNamed reports whether name is that of id in whatever case. What the bit of the case makes
// of a letter, a digit or a hyphen, it makes of no other octet of a token.
func isNamed(name []byte, id FieldID) bool {
	const lowers = 0x2020202020202020
	if len(name) != len(fieldNames[id]) {
		return false
	}
	words, i := &fieldWords[id], 0
	for ; i+8 <= len(name); i += 8 {
		if binary.LittleEndian.Uint64(name[i:])|lowers != words[i/8&3] {
			return false
		}
	}
	rest := words[i/8&3]
	for _, c := range name[i:] {
		if c|0x20 != byte(rest) {
			return false
		}
		rest >>= 8
	}
	return true
}

// Field is one field line of a head, by offsets into it.
type Field struct {
	nameFrom, nameTo, valueFrom, valueTo uint16
	ID                                   FieldID
}

// Fields returns the fields of the head in their order; those dropped by rule
// (underscores) are not among them. Valid until the next reset.
func (p *Parser) Fields() []Field { return p.fields[:p.count] }

// Name returns the name of f as it was sent.
func (p *Parser) Name(f Field) []byte { return p.head[f.nameFrom:f.nameTo] }

// Value returns the value of f without the white space around it.
func (p *Parser) Value(f Field) []byte { return p.head[f.valueFrom:f.valueTo] }

// Get returns the value of the first field with this id, and whether there is
// one.
func (p *Parser) Get(id FieldID) ([]byte, bool) {
	for i := range p.fields[:p.count] {
		if f := &p.fields[i]; f.ID == id {
			return p.head[f.valueFrom:f.valueTo], true
		}
	}
	return nil, false
}

// readField reads one field line (RFC 9112 §5).
func (p *Parser) readField(b []byte, from, to int) *Violation {
	name, value, underscore, v := p.splitField(b, from, to)
	if v != nil {
		return v
	}
	if underscore && !p.response {
		if looksLikeFraming(name.of(b)) {
			return p.fail(400, "a field name that some servers read as a framing field", from)
		}
		if !p.limits.KeepUnderscores || isAlias(name.of(b)) {
			p.facts.dropped++
			return nil
		}
	}
	if p.count == p.limits.FieldCount {
		return p.fail(431, "too many fields", from)
	}
	f := Field{name.from, name.to, value.from, value.to, LookupField(name.of(b))}
	if f.ID != FieldOther {
		if v := p.note(f, value.of(b)); v != nil {
			return v
		}
	} else if !p.response && name.len() >= len("contentlength") && looksLikeFraming(name.of(b)) {
		return p.fail(400, "a field name that some servers read as a framing field", from)
	}
	p.fields[p.count] = f
	p.count++
	return nil
}

// splitField finds name and value in the line [from, to) of b and checks their
// octets.
func (p *Parser) splitField(b []byte, from, to int) (name, value span, underscore bool, v *Violation) {
	seen := uint8(0)
	line := b[from:to]
	n := lettersOf(line)
	for ; n < len(line); n++ {
		c := class[line[n]]
		if c&tchar == 0 {
			break
		}
		seen |= c
	}
	i := from + n
	switch {
	case i < to && b[i] == ':' && i > from:
	case i == from && i < to && (b[i] == ' ' || b[i] == '\t'):
		// RFC 9112 §5.2: obs-fold. A gateway may refuse it; it does.
		return name, value, false, p.fail(400, "a field line begins with white space", i)
	case i == from && i < to && b[i] == ':':
		return name, value, false, p.fail(400, "a field without a name", i)
	case i < to && (b[i] == ' ' || b[i] == '\t'):
		// RFC 9112 §5.1: "A server MUST reject".
		return name, value, false, p.fail(400, "white space between field name and colon", i)
	default:
		return name, value, false, p.fail(400, "a field name is not a token followed by a colon", i)
	}
	if j := badValueOctet(b[i+1 : to]); j >= 0 {
		return name, value, false, p.fail(400, "control character in a field value", i+1+j)
	}
	vf, vt := trimOWS(b, i+1, to)
	return span{uint16(from), uint16(i)}, span{uint16(vf), uint16(vt)}, seen&under != 0, nil
}

// isAlias reports whether name is a well-known name but for underscores in the
// place of hyphens: what the gateway decides about X-Forwarded-For must not be
// evaded with X_Forwarded_For, even where other underscores pass.
func isAlias(name []byte) bool {
	var room [32]byte
	if len(name) > len(room) {
		return false // longer than every well-known name
	}
	plain := room[:copy(room[:], name)]
	for i, c := range plain {
		if c == '_' {
			plain[i] = '-'
		}
	}
	return LookupField(plain) != FieldOther
}

// looksLikeFraming reports whether name is Content-Length or Transfer-Encoding
// with other characters between or around its letters: names that a lenient
// origin might take for the real ones (Transfer_Encoding, Content-Length~).
// The real names themselves have well-known ids and do not come here.
func looksLikeFraming(name []byte) bool {
	return lettersAre(name, "contentlength") || lettersAre(name, "transferencoding")
}

func lettersAre(name []byte, want string) bool {
	at := 0
	for _, c := range name {
		if c = lower(c); c < 'a' || c > 'z' {
			continue
		}
		if at == len(want) || want[at] != c {
			return false
		}
		at++
	}
	return at == len(want)
}
