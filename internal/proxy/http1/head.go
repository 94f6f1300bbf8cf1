package http1

import "bytes"

// span is octets [from, to) of the head.
type span struct{ from, to uint16 }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }
func (s span) len() int           { return int(s.to - s.from) }

// startLine is what the first line said.
type startLine struct {
	method    span
	methodID  Method
	target    span
	form      Form
	authority span // of absolute-form and authority-form
	path      span // without query; empty in absolute-form without a path
	query     span // with its "?"
	host      span // value of the Host field
	minor     uint8
	status    uint16
	reason    span
}

// feedHead reads whole lines until the empty one. It consumes nothing before
// the head is complete, so that the head stays in one piece in the caller's
// buffer; how far it has read is remembered, so that no octet is read twice.
func (p *Parser) feedHead(b []byte) (int, Event, *Violation) {
	if v := p.firstOctet(b); v != nil {
		return 0, NeedMore, v
	}
	for {
		i := bytes.IndexByte(b[p.scanned:], '\n')
		if i < 0 {
			p.scanned = len(b)
			return 0, NeedMore, p.checkSize(len(b))
		}
		lf := p.scanned + i
		if v := p.checkSize(lf + 1); v != nil {
			return 0, NeedMore, v
		}
		// RFC 9112 §2.2 lets a recipient take a bare LF for a line end. Not here:
		// where one reader sees a line end, all must.
		if lf == p.line || b[lf-1] != '\r' {
			return 0, NeedMore, p.fail(400, "line feed without carriage return", lf)
		}
		from, to := p.line, lf-1
		p.scanned, p.line = lf+1, lf+1
		switch {
		case p.fieldsFrom == 0 && from == to:
			continue // the empty line before a request; firstOctet allows one
		case p.fieldsFrom == 0:
			p.fieldsFrom = lf + 1
			if v := p.readStartLine(b, from, to); v != nil {
				return 0, NeedMore, v
			}
		case from == to:
			return p.endHead(b[:lf+1])
		default:
			if v := p.readField(b, from, to); v != nil {
				return 0, NeedMore, v
			}
		}
	}
}

// firstOctet refuses at once what cannot become a message (a TLS handshake, for
// example), and all but one empty line before a request line (RFC 9112 §2.2:
// "SHOULD ignore at least one").
func (p *Parser) firstOctet(b []byte) *Violation {
	if p.fieldsFrom != 0 || len(b) == 0 {
		return nil
	}
	at := 0
	if b[0] == '\r' && !p.response {
		if len(b) == 1 {
			return nil
		}
		if b[1] != '\n' {
			return p.fail(400, "carriage return without line feed", 0)
		}
		at = 2
	}
	if at < len(b) && !isToken(b[at]) {
		return p.fail(400, "this is not HTTP/1.1", at)
	}
	return nil
}

// checkSize applies the limits to the octets [0, end) of the head read so far.
func (p *Parser) checkSize(end int) *Violation {
	if p.fieldsFrom == 0 {
		if most := p.line + p.limits.StartLine + 2; end > most {
			return p.fail(414, "the request line is too long", most)
		}
		return nil
	}
	if most := p.fieldsFrom + p.limits.Fields; end > most {
		return p.fail(431, "the field section is too large", most)
	}
	return nil
}

func (p *Parser) readStartLine(b []byte, from, to int) *Violation {
	if p.response {
		return p.readStatusLine(b, from, to)
	}
	return p.readRequestLine(b, from, to)
}

// readRequestLine reads method SP request-target SP HTTP-version, with exactly
// one space between them (RFC 9112 §3; the leniency of its last paragraph is
// not used).
func (p *Parser) readRequestLine(b []byte, from, to int) *Violation {
	line := b[from:to]
	i := 0
	for i < len(line) && isToken(line[i]) {
		i++
	}
	if i == len(line) || line[i] != ' ' || i == 0 {
		return p.fail(400, "the method is not a token followed by one space", from+i)
	}
	if i > MaxMethodLen {
		return p.fail(501, "the method is too long", from+MaxMethodLen)
	}
	const versionLen = len("HTTP/1.1")
	if len(line) < i+1+1+1+versionLen || line[len(line)-versionLen-1] != ' ' {
		return p.fail(400, "the request line is not method, target and version with one space between", from+i)
	}
	version := line[len(line)-versionLen:]
	if v := p.readVersion(version, to-versionLen); v != nil {
		return v
	}
	p.start.method = span{uint16(from), uint16(from + i)}
	p.start.methodID = methodOf(line[:i])
	p.start.target = span{uint16(from + i + 1), uint16(to - versionLen - 1)}
	return p.readTarget(b)
}

// readVersion accepts HTTP/1.0 and HTTP/1.1 in just this spelling.
func (p *Parser) readVersion(v []byte, at int) *Violation {
	switch string(v) {
	case "HTTP/1.1":
		p.start.minor = 1
	case "HTTP/1.0":
		p.start.minor = 0
	default:
		if string(v[:5]) == "HTTP/" && isDigit(v[5]) && v[6] == '.' && isDigit(v[7]) {
			return p.fail(505, "the HTTP version is neither 1.0 nor 1.1", at)
		}
		return p.fail(400, "the HTTP version is malformed", at)
	}
	return nil
}

// readStatusLine reads HTTP-version SP status-code SP [reason]. The last space
// may be missing, as it is in the answers of many origins, when there is no
// reason: nothing else can be meant.
func (p *Parser) readStatusLine(b []byte, from, to int) *Violation {
	line := b[from:to]
	if len(line) < len("HTTP/1.1 200") || line[8] != ' ' {
		return p.fail(502, "the status line is malformed", from)
	}
	if v := p.readVersion(line[:8], from); v != nil {
		return v
	}
	code := line[9:12]
	if code[0] < '1' || code[0] > '9' || !isDigit(code[1]) || !isDigit(code[2]) {
		return p.fail(502, "the status code is not three digits from 100 on", from+9)
	}
	p.start.status = uint16(code[0]-'0')*100 + uint16(code[1]-'0')*10 + uint16(code[2]-'0')
	if len(line) > 12 {
		if line[12] != ' ' {
			return p.fail(502, "the status code is not followed by a space", from+12)
		}
		if i := badValueOctet(line[13:]); i >= 0 {
			return p.fail(502, "control character in the reason phrase", from+13+i)
		}
		p.start.reason = span{uint16(from + 13), uint16(to)}
	}
	return nil
}

// endHead looks at the message as a whole, decides its framing and reports it.
func (p *Parser) endHead(head []byte) (int, Event, *Violation) {
	p.head = head
	var v *Violation
	if p.response {
		v = p.frameResponse()
	} else if v = p.checkRequest(); v == nil {
		v = p.frameRequest()
	}
	if v != nil {
		return 0, NeedMore, v
	}
	switch p.framing {
	case NoContent:
		p.state = ended
	case Length:
		p.left, p.state = p.length, inLength
		if p.length == 0 {
			p.state = ended
		}
	case Chunked:
		p.state = inChunkLine
	case UntilClose:
		p.state = inUntilClose
	}
	return len(head), HeadDone, nil
}

// Method returns the method's octets.
func (p *Parser) Method() []byte { return p.start.method.of(p.head) }

// MethodID returns the method as a number; MethodOther when it is none of ours.
func (p *Parser) MethodID() Method { return p.start.methodID }

// Target returns the request target as it was sent.
func (p *Parser) Target() []byte { return p.start.target.of(p.head) }

// Form returns the form of the request target.
func (p *Parser) Form() Form { return p.start.form }

// Path returns the path of the request target, never normalised; "/" when an
// absolute-form has none, "*" in asterisk-form.
func (p *Parser) Path() []byte {
	if p.start.path.len() == 0 && p.start.form == AbsoluteForm {
		return slash
	}
	return p.start.path.of(p.head)
}

// Query returns the query of the request target with its "?"; empty when there
// is none.
func (p *Parser) Query() []byte { return p.start.query.of(p.head) }

// Host returns the value of the Host field; empty only in HTTP/1.0.
func (p *Parser) Host() []byte {
	if p.start.host.len() == 0 {
		return p.start.authority.of(p.head)
	}
	return p.start.host.of(p.head)
}

// Minor returns the minor version: 0 or 1.
func (p *Parser) Minor() int { return int(p.start.minor) }

// Status returns the status code of a response.
func (p *Parser) Status() int { return int(p.start.status) }

// Reason returns the reason phrase of a response.
func (p *Parser) Reason() []byte { return p.start.reason.of(p.head) }

// Head returns all octets of the head, its last CRLF included.
func (p *Parser) Head() []byte { return p.head }

// Framing returns how the content is delimited.
func (p *Parser) Framing() Framing { return p.framing }

// ContentLength returns the declared length; -1 when none was declared. With
// NoContent it may be positive (an answer to HEAD).
func (p *Parser) ContentLength() int64 { return p.length }

var slash = []byte("/")
