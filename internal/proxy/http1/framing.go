package http1

// facts is what single fields said that concerns the message as a whole.
type facts struct {
	hosts, lengths, codings uint8 // how many of each field
	chunked                 bool  // Transfer-Encoding is just "chunked"
	codingKnown             bool  // Transfer-Encoding is a list of tokens
	close, keepAlive        bool  // options of Connection
	upgrade                 bool
	nominates               bool // Connection names fields of this message
	upgrades                uint8
	expect                  bool // Expect: 100-continue
	websocket               bool
	dropped                 uint8
}

// note records what a well-known field says.
func (p *Parser) note(f Field, value []byte) *Violation {
	switch f.ID {
	case FieldHost:
		p.start.host = span{f.valueFrom, f.valueTo}
		p.facts.hosts++
		if p.facts.hosts > 1 {
			return p.fail(400, "more than one Host field", int(f.nameFrom))
		}
	case FieldContentLength:
		return p.noteLength(f, value)
	case FieldTransferEncoding:
		p.facts.codings++
		if p.facts.codings > 1 {
			return p.fail(p.badFraming(), "more than one Transfer-Encoding field", int(f.nameFrom))
		}
		p.facts.chunked = equalLower(value, "chunked")
		p.facts.codingKnown = isTokenList(value)
	case FieldConnection:
		return p.noteConnection(f, value)
	case FieldUpgrade:
		p.facts.upgrades++
		p.facts.websocket = equalLower(value, "websocket")
	case FieldExpect:
		// RFC 9110 §10.1.1: any other expectation may be answered with 417.
		if !p.response && !equalLower(value, "100-continue") {
			return p.fail(417, "the only expectation known is 100-continue", int(f.valueFrom))
		}
		p.facts.expect = true
	}
	return nil
}

// noteLength accepts 1 to 18 digits, once. RFC 9110 §8.6 allows a recipient to
// take "5, 5" or two equal fields for 5; here both are refused, as only broken
// or hostile senders make them. 18 digits cannot overflow an int64.
func (p *Parser) noteLength(f Field, value []byte) *Violation {
	p.facts.lengths++
	if p.facts.lengths > 1 {
		return p.fail(p.badFraming(), "more than one Content-Length field", int(f.nameFrom))
	}
	if len(value) == 0 || len(value) > 18 {
		return p.fail(p.badFraming(), "Content-Length is not 1 to 18 digits", int(f.valueFrom))
	}
	n := int64(0)
	for i, c := range value {
		if !isDigit(c) {
			return p.fail(p.badFraming(), "Content-Length is not 1 to 18 digits", int(f.valueFrom)+i)
		}
		n = n*10 + int64(c-'0')
	}
	p.length = n
	return nil
}

func (p *Parser) noteConnection(f Field, value []byte) *Violation {
	for option := range List(value) {
		switch {
		case equalLower(option, "close"):
			p.facts.close = true
		case equalLower(option, "keep-alive"):
			p.facts.keepAlive = true
		case equalLower(option, "upgrade"):
			p.facts.upgrade = true
		default:
			p.facts.nominates = true
		}
	}
	return nil
}

func (p *Parser) badFraming() int {
	if p.response {
		return 502
	}
	return 400
}

// checkRequest holds the rules that need more than one field of a request.
func (p *Parser) checkRequest() *Violation {
	if p.facts.hosts == 0 {
		// RFC 9112 §3.2: an HTTP/1.1 request without Host is answered with 400.
		if p.start.minor == 1 {
			return p.fail(400, "no Host field", len(p.head)-2)
		}
	} else if !validHost(p.start.host.of(p.head)) {
		return p.fail(400, "the Host field is not a host with an optional port", int(p.start.host.from))
	}
	// RFC 9112 §3.2.2 lets the target's authority win over Host. Where they
	// differ, one of two readers is deceived: refused.
	if p.start.authority.len() > 0 && p.facts.hosts > 0 &&
		!EqualFold(p.start.authority.of(p.head), p.start.host.of(p.head)) {
		return p.fail(400, "the request target and the Host field name different hosts", int(p.start.host.from))
	}
	return nil
}

// frameRequest decides the framing of a request's content (RFC 9112 §6.3).
func (p *Parser) frameRequest() *Violation {
	f := &p.facts
	switch {
	case f.codings > 0 && p.stream:
		return p.fail(400, "Transfer-Encoding in a request that has a stream of its own", len(p.head)-2)
	case p.whole && p.length > 0:
		return p.fail(400, "the request ends with its head, but Content-Length says otherwise", len(p.head)-2)
	case f.codings > 0 && p.start.minor == 0:
		return p.fail(400, "Transfer-Encoding in an HTTP/1.0 request", len(p.head)-2)
	case f.codings > 0 && f.lengths > 0:
		// RFC 9112 §6.1: "a server MAY reject"; the very form of smuggling.
		return p.fail(400, "both Transfer-Encoding and Content-Length", len(p.head)-2)
	case f.codings > 0 && !f.chunked && f.codingKnown:
		return p.fail(501, "the only transfer coding known is chunked", len(p.head)-2)
	case f.codings > 0 && !f.chunked:
		return p.fail(400, "Transfer-Encoding is malformed", len(p.head)-2)
	case f.codings > 0:
		p.framing = Chunked
	case f.lengths > 0:
		p.framing = Length
	case p.stream && !p.whole:
		p.framing = UntilClose
	default:
		p.framing = NoContent
	}
	if p.start.methodID == MethodTrace && p.expectsContent() {
		// RFC 9110 §9.3.8: "A client MUST NOT send content in a TRACE request."
		return p.fail(400, "TRACE with content", len(p.head)-2)
	}
	return nil
}

// frameResponse decides the framing of a response's content (RFC 9112 §6.3).
func (p *Parser) frameResponse() *Violation {
	f := &p.facts
	switch {
	case p.start.status < 200 || p.start.status == 204:
		// §6.3 item 1. What framing fields say here is not forwarded either.
		p.framing = NoContent
		return nil
	case f.codings > 0 && f.lengths > 0:
		// Item 3 would let Transfer-Encoding win; a gateway that forwards it
		// might be read differently downstream of an older cache: refused.
		return p.fail(502, "both Transfer-Encoding and Content-Length", len(p.head)-2)
	case f.codings > 0 && p.start.minor == 0:
		return p.fail(502, "Transfer-Encoding in an HTTP/1.0 response", len(p.head)-2)
	case f.codings > 0 && !f.chunked:
		return p.fail(502, "a transfer coding other than chunked, which was not asked for", len(p.head)-2)
	case p.toHEAD || p.start.status == 304:
		p.framing = NoContent
	case f.codings > 0:
		p.framing = Chunked
	case f.lengths > 0:
		p.framing = Length
	default:
		p.framing = UntilClose
	}
	return nil
}

// KeepAlive reports whether the sender will keep the connection after this
// message (RFC 9112 §9.3).
func (p *Parser) KeepAlive() bool {
	switch {
	case p.facts.close || p.framing == UntilClose:
		return false
	case p.start.minor == 1:
		return true
	}
	return p.facts.keepAlive
}

// Upgrade returns the one protocol the sender offers or accepts to switch to,
// or nil. A list of protocols, h2c (RFC 9113 §3.1 has retired it; forwarding it
// opens a tunnel past every rule) and Upgrade without its Connection option
// (RFC 9110 §7.8) count as none.
func (p *Parser) Upgrade() []byte {
	if !p.facts.upgrade || p.facts.upgrades != 1 || p.start.minor == 0 {
		return nil
	}
	value, _ := p.Get(FieldUpgrade)
	for _, c := range value {
		if !isToken(c) && c != '/' {
			return nil
		}
	}
	if len(value) == 0 || len(value) >= 2 && equalLower(value[:2], "h2") {
		return nil
	}
	return value
}

// IsWebSocket reports whether Upgrade names the WebSocket protocol.
func (p *Parser) IsWebSocket() bool { return p.facts.websocket }

// ExpectsContinue reports whether the client waits for 100 (Continue) before it
// sends content. HTTP/1.0 clients never do (RFC 9110 §10.1.1).
func (p *Parser) ExpectsContinue() bool {
	return p.facts.expect && p.start.minor == 1 && p.expectsContent()
}

// expectsContent reports whether the head says that the request has content.
func (p *Parser) expectsContent() bool {
	return p.framing == Chunked || p.framing == UntilClose || p.length > 0
}

// Dropped returns how many fields were left out by rule.
func (p *Parser) Dropped() int { return int(p.facts.dropped) }

// Forwardable reports whether f goes on to the next hop: it is not a hop-by-hop
// field, not framing (which the gateway always makes itself) and not nominated
// by Connection. A nomination cannot remove a well-known end-to-end field, so
// that no client can strip what the gateway or the origin relies on.
func (p *Parser) Forwardable(f Field) bool {
	if f.ID != FieldOther {
		return !f.ID.HopByHop() && f.ID != FieldContentLength
	}
	return !p.facts.nominates || !p.nominated(p.Name(f))
}

func (p *Parser) nominated(name []byte) bool {
	for _, f := range p.Fields() {
		if f.ID != FieldConnection {
			continue
		}
		for option := range List(p.Value(f)) {
			if EqualFold(option, name) {
				return true
			}
		}
	}
	return false
}

// List yields the elements of a comma-separated list without quoted strings
// (RFC 9110 §5.6.1); empty elements are left out.
func List(value []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for from := 0; from < len(value); {
			to := from
			for to < len(value) && value[to] != ',' {
				to++
			}
			if f, t := trimOWS(value, from, to); f < t && !yield(value[f:t]) {
				return
			}
			from = to + 1
		}
	}
}

// isTokenList reports whether value is a list of at least one token.
func isTokenList(value []byte) bool {
	some := false
	for element := range List(value) {
		for _, c := range element {
			if !isToken(c) {
				return false
			}
		}
		some = true
	}
	return some
}
