package l4route

// Verdict is what the first octets of a connection are.
type Verdict uint8

// The verdicts.
const (
	Short     Verdict = iota // not whole yet: more is needed to tell
	Hello                    // a whole ClientHello
	Foreign                  // not TLS
	Malformed                // TLS that no client may send, or more than MaxHello
)

var verdictNames = [...]string{"short", "hello", "not TLS", "malformed"}

// String returns the verdict as explanations show it.
func (v Verdict) String() string { return verdictNames[v] }

// MaxHello is how many octets a ClientHello may have, with the heads of its records. With
// keys of ML-KEM it has some 1,800; a session ticket may add some thousands. What is longer
// is refused, as nobody could be asked to hold it for every client.
const MaxHello = 16 << 10

const (
	recordHead    = 5 // type, version, length (RFC 8446 §5.1)
	handshakeHead = 4 // type, length (RFC 8446 §4)

	typeHandshake   = 22
	typeClientHello = 1
	typeServerName  = 0 // the extension (RFC 6066 §3)
	typeHostName    = 0 // in it
	maxRecord       = 1 << 14
	maxName         = 253 // octets of a host name in text
)

// ServerName reads the name that a client asks for (SNI) out of what it has sent so far. The
// name is in lower case; "" if the hello has none. room is memory for a hello that comes in
// several records, and for the name.
//
// What two readers could take for two different names is Malformed: a name twice, a list
// with several, octets that no host name has. The origin server must never go by another
// name than the one that has led to it.
func ServerName(b []byte, room []byte) (name []byte, v Verdict) {
	hello, rest, v := handshake(b, room[:0])
	if v != Hello {
		return nil, v
	}
	p := parser{b: hello}
	p.skip(2 + 32)    // legacy_version, random
	p.skip(p.octet()) // legacy_session_id
	suites := p.number()
	p.skip(suites)
	methods := p.octet()
	p.skip(methods)
	if p.failed || suites < 2 || suites%2 != 0 || methods < 1 {
		return nil, Malformed
	}
	if len(p.b) == 0 {
		return nil, Hello // no extensions: a client of TLS 1.2 or before
	}
	extensions := parser{b: p.take(p.number())}
	if p.failed || len(p.b) != 0 {
		return nil, Malformed
	}
	seen := false
	for len(extensions.b) > 0 {
		kind := extensions.number()
		data := extensions.take(extensions.number())
		if extensions.failed || kind == typeServerName && seen {
			return nil, Malformed // RFC 8446 §4.2: no extension twice
		}
		if kind == typeServerName {
			var ok bool
			if name, ok = hostName(data, rest); !ok {
				return nil, Malformed
			}
			seen = true
		}
	}
	return name, Hello
}

// handshake returns the body of the ClientHello in records, in one piece, and what is left of
// room.
func handshake(b, room []byte) (body, rest []byte, v Verdict) {
	joined := room[:0]
	for whole := false; ; whole = true {
		if len(b) < recordHead {
			return nil, nil, shortOr(b, whole)
		}
		length := int(b[3])<<8 | int(b[4])
		if b[0] != typeHandshake || b[1] != 3 {
			if !whole {
				return nil, nil, Foreign
			}
			return nil, nil, Malformed // RFC 8446 §5.1: nothing comes between its records
		}
		if length == 0 || length > maxRecord {
			return nil, nil, Malformed
		}
		fragment := b[recordHead:min(len(b), recordHead+length)]
		if len(joined) == 0 && len(fragment) > 0 && fragment[0] != typeClientHello {
			return nil, nil, Malformed
		}
		if need, known := helloLength(joined, fragment); known && need > MaxHello {
			return nil, nil, Malformed
		} else if known && len(joined) == 0 && len(fragment) >= need {
			return fragment[handshakeHead:need], room, Hello // in one record, as nearly always
		}
		if len(joined)+len(fragment) > cap(room) {
			return nil, nil, Malformed
		}
		joined = append(joined, fragment...)
		if need, known := helloLength(joined, nil); known && len(joined) >= need {
			return joined[handshakeHead:need], joined[len(joined):cap(joined)][:0], Hello
		}
		if len(fragment) < length {
			return nil, nil, Short
		}
		b = b[recordHead+length:]
	}
}

// shortOr is the verdict on less than the head of a record.
func shortOr(b []byte, behind bool) Verdict {
	want := [2]byte{typeHandshake, 3}
	for i, c := range b[:min(len(b), len(want))] {
		switch {
		case c != want[i] && behind:
			return Malformed
		case c != want[i]:
			return Foreign
		}
	}
	return Short
}

// helloLength returns how many octets the handshake message has, with its head, if that is there.
func helloLength(joined, fragment []byte) (n int, known bool) {
	at := func(i int) int {
		if i < len(joined) {
			return int(joined[i])
		}
		return int(fragment[i-len(joined)])
	}
	if len(joined)+len(fragment) < handshakeHead {
		return 0, false
	}
	return handshakeHead + at(1)<<16 + at(2)<<8 + at(3), true
}

// hostName reads the extension server_name (RFC 6066 §3).
func hostName(data, room []byte) (name []byte, ok bool) {
	p := parser{b: data}
	list := parser{b: p.take(p.number())}
	if p.failed || len(p.b) != 0 || len(list.b) == 0 {
		return nil, false
	}
	for len(list.b) > 0 {
		kind := list.octet()
		host := list.take(list.number())
		if list.failed || kind == typeHostName && name != nil {
			return nil, false
		}
		if kind != typeHostName {
			continue // of a type that is not defined; none is
		}
		if len(host) == 0 || len(host) > maxName {
			return nil, false
		}
		name = room[:0]
		for _, c := range host {
			if !isHostOctet(c) {
				return nil, false
			}
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			name = append(name, c)
		}
		if name[len(name)-1] == '.' { // RFC 6066 §3 wants none, some send it
			name = name[:len(name)-1]
		}
	}
	return name, len(name) > 0
}

// isHostOctet reports whether c may stand in a host name. The underscore is in names that
// are in use, though RFC 952 has none.
func isHostOctet(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_'
}

// parser takes what is at the beginning of b. Once something was not there, failed is set and
// everything is empty.
type parser struct {
	b      []byte
	failed bool
}

func (p *parser) take(n int) []byte {
	if p.failed || n > len(p.b) {
		p.failed, p.b = true, nil
		return nil
	}
	out := p.b[:n]
	p.b = p.b[n:]
	return out
}

func (p *parser) skip(n int) { p.take(n) }

func (p *parser) octet() int {
	if b := p.take(1); b != nil {
		return int(b[0])
	}
	return 0
}

func (p *parser) number() int {
	if b := p.take(2); b != nil {
		return int(b[0])<<8 | int(b[1])
	}
	return 0
}
