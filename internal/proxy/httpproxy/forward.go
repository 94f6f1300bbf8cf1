package httpproxy

import (
	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/requestid"
)

// appendRequestHead appends the head that goes to the origin: the normalised
// target in origin-form, the client's end-to-end fields, then ours. What the
// client's Connection field nominates is gone before ours are added, so that it
// can never name them.
func (c *client) appendRequestHead(b []byte, x *exchange) []byte {
	req := &x.req
	b = append(append(b, req.Method()...), ' ')
	if x.route.Rewrites() && req.Form() != http1.AsteriskForm {
		b = x.route.AppendPath(b, x.matched)
	} else {
		b = append(b, x.path...)
	}
	b = append(b, req.Query()...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if host := req.Host(); x.chain.SetsHost() {
		b = x.chain.AppendHost(b, &x.pass)
	} else if len(host) > 0 {
		b = append(b, host...)
	} else {
		b = append(b, c.local...) // HTTP/1.0 without Host; the origin's 1.1 needs one
	}
	b = append(b, '\r', '\n')
	x.upgrade = c.upgradeOf(x)
	copies := x.table.MirrorOf(x.route) != nil
	lines := req.Lines()
	for _, f := range req.Fields() {
		if copies && f.ID == http1.FieldOther && equalFold(req.Name(f), mirrorField) {
			continue // it says what is a copy
		}
		if !req.Forwardable(f) || c.isOurs(f.ID) || x.chain != nil && x.chain.DropsRequest(req.Name(f)) {
			continue
		}
		if f.ID == http1.FieldExpect && (x.upload == nil || !req.ExpectsContinue()) {
			continue // the content is sent without waiting
		}
		if c.server.cfg.Tracing != nil && f.ID == http1.FieldOther && isTraceField(req.Name(f)) {
			continue // written again with what was believed of it
		}
		b = lines.Add(b, f)
	}
	b = lines.Flush(b)
	b = c.appendForwarding(b, x)
	b = c.appendRequestID(b, x)
	if c.server.cfg.Tracing != nil {
		b = x.appendTrace(b)
	}
	if via := c.server.cfg.Via; via != "" {
		b = append(append(b, "Via: "...), c.wire.version(x)...)
		b = append(append(append(b, ' '), via...), '\r', '\n')
	}
	if x.chain != nil {
		b = x.chain.AppendRequest(b, &x.pass, (*filtered)(c))
	}
	switch x.sending {
	case http1.Length:
		n := req.ContentLength()
		if x.upload == nil {
			n = int64(x.contentEnd - x.content)
		}
		b = http1.AppendContentLength(b, n)
	case http1.Chunked:
		b = http1.AppendChunked(b)
	}
	if x.upgrade != nil {
		b = append(b, "Connection: Upgrade\r\nUpgrade: "...)
		b = append(append(b, x.upgrade...), '\r', '\n')
	}
	return append(b, '\r', '\n')
}

// upgradeOf returns the protocol to offer to the origin: nothing unless the
// request has no content, whose end would be unclear to one of the two.
func (c *client) upgradeOf(x *exchange) []byte {
	if x.sending != http1.NoContent || x.req.MethodID() != http1.MethodGet {
		return nil
	}
	return x.req.Upgrade()
}

// isOurs reports whether the field is written by the gateway itself, or must
// not pass from this peer.
func (c *client) isOurs(id http1.FieldID) bool {
	switch id {
	case http1.FieldHost, http1.FieldXForwardedFor, http1.FieldForwarded, http1.FieldXRequestID:
		return true // written again with what was believed of it
	case http1.FieldXForwardedHost, http1.FieldXForwardedProto, http1.FieldXForwardedPort, http1.FieldXRealIP:
		return !c.peerAs.trusted
	case http1.FieldClientCert, http1.FieldClientCertChain, http1.FieldXClientSubject: // RFC 9440 §2.4
		return !c.peerAs.trusted || c.tls != nil && c.tls.Subject != ""
	}
	return false
}

// appendForwarding appends X-Forwarded-For, -Host, -Proto and Forwarded (RFC
// 7239), and who the client is by its certificate (RFC 9440). From a trusted peer the
// lists are continued and the others kept.
func (c *client) appendForwarding(b []byte, x *exchange) []byte {
	p := &c.peerAs
	host := x.req.Host()
	b = append(b, "X-Forwarded-For: "...)
	b = c.appendBelieved(b, x, http1.FieldXForwardedFor)
	b = append(append(b, p.address...), '\r', '\n')
	if !c.believes(x, http1.FieldXForwardedHost) && len(host) > 0 {
		b = append(append(append(b, "X-Forwarded-Host: "...), host...), '\r', '\n')
	}
	if !c.believes(x, http1.FieldXForwardedProto) {
		b = append(append(append(b, "X-Forwarded-Proto: "...), c.scheme()...), '\r', '\n')
	}
	b = append(b, "Forwarded: "...)
	b = c.appendBelieved(b, x, http1.FieldForwarded)
	b = append(b, p.forwarded...)
	if len(host) > 0 {
		b = append(append(append(b, `;host="`...), host...), '"')
	}
	b = append(append(append(b, ";proto="...), c.scheme()...), '\r', '\n')
	if c.tls != nil && c.tls.Subject != "" {
		b = append(append(append(b, "X-Client-Subject: "...), c.tls.Subject...), '\r', '\n')
		b = append(append(append(b, "Client-Cert: "...), c.tls.Certificate...), '\r', '\n')
	}
	return b
}

func (c *client) believes(x *exchange, id http1.FieldID) bool {
	if !c.peerAs.trusted {
		return false
	}
	_, ok := x.req.Get(id)
	return ok
}

// appendBelieved appends the values of all fields of one name, if the peer is
// trusted, each followed by a comma.
func (c *client) appendBelieved(b []byte, x *exchange, id http1.FieldID) []byte {
	if !c.peerAs.trusted {
		return b
	}
	for _, f := range x.req.Fields() {
		if v := x.req.Value(f); f.ID == id && len(v) > 0 {
			b = append(append(b, v...), ',', ' ')
		}
	}
	return b
}

// identify gives the request its id, unless it has one.
func (c *client) identify(x *exchange) {
	if len(x.id) > 0 {
		return
	}
	if given, ok := x.req.Get(http1.FieldXRequestID); ok && c.peerAs.trusted && requestid.IsOne(given) {
		x.id = append(x.id[:0], given...)
	} else {
		x.id = requestid.Append(x.id[:0], x.began)
	}
}

func (c *client) appendRequestID(b []byte, x *exchange) []byte {
	c.identify(x)
	return append(append(append(b, "X-Request-Id: "...), x.id...), '\r', '\n')
}

// appendResponseHead appends the head that goes to the client, but for what its connection
// has to be told (wire.endHead).
func (c *client) appendResponseHead(b []byte, x *exchange, framing http1.Framing) []byte {
	resp := &x.resp
	b = http1.AppendStatusLine(b, resp.Status(), resp.Reason())
	b = appendResponseFields(b, x)
	if x.chain != nil {
		b = x.chain.AppendResponse(b, &x.pass, (*relayed)(c))
	}
	if x.coded.varies {
		b = x.appendCoding(b)
	}
	b = x.choice.appendCookie(b, x.choice.at)
	if _, has := resp.Get(http1.FieldDate); !has {
		// RFC 9110 §6.6.1: who forwards a response without Date MUST add it.
		b = x.stamp.AppendDate(b, x.began)
	}
	switch framing {
	case http1.Length:
		b = http1.AppendContentLength(b, resp.ContentLength())
	case http1.NoContent:
		// What GET would have had (RFC 9110 §8.6); never in 1xx and 204.
		if n := resp.ContentLength(); n >= 0 && resp.Status() != 204 && resp.Status() >= 200 && x.coded.coding == compress.Identity {
			b = http1.AppendContentLength(b, n)
		}
	}
	return b
}

func appendResponseFields(b []byte, x *exchange) []byte {
	resp, chain := &x.resp, x.chain
	lines := resp.Lines()
	for _, f := range resp.Fields() {
		if x.ownAltSvc && f.ID == http1.FieldOther && isAltSvc(resp.Name(f)) {
			continue
		}
		if resp.Forwardable(f) && (chain == nil || !chain.DropsResponse(resp.Name(f))) {
			if x.coded.varies {
				b = x.appendCodedField(b, f)
				continue
			}
			b = lines.Add(b, f)
		}
	}
	return lines.Flush(b)
}

// appendRequestTrailer appends the trailer field at hand of the request, unless the filters
// take fields of that name out: some origin servers take trailer fields for fields.
func (x *exchange) appendRequestTrailer(b []byte) []byte {
	if x.chain.DropsRequest(x.req.TrailerName) {
		return b
	}
	return appendTrailer(b, &x.req)
}

func (x *exchange) appendResponseTrailer(b []byte) []byte {
	if x.chain.DropsResponse(x.resp.TrailerName) {
		return b
	}
	return appendTrailer(b, &x.resp)
}

func appendTrailer(b []byte, p *http1.Parser) []byte {
	if !p.TrailerForwardable() {
		return b
	}
	return http1.AppendField(b, p.TrailerName, p.TrailerValue)
}
