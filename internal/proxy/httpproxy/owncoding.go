package httpproxy

import (
	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/encoders"
	"pharos/internal/proxy/http1"
	"pharos/internal/proxy/pages"
)

// This file compresses what the gateway has of its own. There are no secrets of others in it,
// beside which a client could have a part of it be what he likes.

// acceptedCodings appends the values of Accept-Encoding of the request.
func (x *exchange) acceptedCodings(to [][]byte) [][]byte {
	for _, f := range x.req.Fields() {
		if f.ID == http1.FieldOther && len(to) < cap(to) && equalFold(x.req.Name(f), "Accept-Encoding") {
			to = append(to, x.req.Value(f))
		}
	}
	return to
}

// leavesOwn reports whether what a route has of its own goes as it is: it is to, or its
// filters say themselves how it is coded.
func (x *exchange) leavesOwn() bool {
	return x.route != nil && x.route.Uncompressed || x.chain.DropsResponse([]byte("Content-Encoding"))
}

// formOf returns the form of a file for the client, and whether that depends on what it
// accepts.
func (c *client) formOf(x *exchange, f *pages.File) (form *pages.Form, varies bool) {
	if x.leavesOwn() {
		return f.AsItIs(), false
	}
	var rules *compress.Rules
	var set *encoders.Set
	if how := c.server.cfg.Compression; how != nil {
		rules, set = how.Rules, how.Encoders
	}
	var room [4][]byte
	m := compress.Message{Status: x.status, Length: int64(len(f.Content)), Type: []byte(x.route.Respond.Type)}
	return f.In(rules, set, &m, x.acceptedCodings(room[:0]))
}

// packOwn compresses content that was made for this response, if that is worth it, and
// returns the field line that says so.
func (c *client) packOwn(x *exchange, content []byte, status int, mediaType string) (packed, line []byte, varies bool) {
	how := c.server.cfg.Compression
	if how == nil || !x.hasHead() || x.leavesOwn() {
		return content, nil, false
	}
	var room [4][]byte
	accepts := x.acceptedCodings(room[:0])
	m := compress.Message{Status: status, Length: int64(len(content)), Type: []byte(mediaType)}
	coding, varies := how.Rules.Decide(&m, accepts, len(accepts) > 0)
	if coding != compress.Identity {
		if packed, ok := how.Encoders.Pack(coding, content); ok && len(packed) < len(content) {
			return packed, c.appendOwnCoding(nil, x, coding, len(content), len(packed)), varies
		}
	}
	return content, nil, varies
}

// appendOwnCoding appends the field of content that is coded, and counts it.
func (c *client) appendOwnCoding(b []byte, x *exchange, coding compress.Coding, before, now int) []byte {
	if x.coded = (coded{coding: coding}); coding == compress.Identity {
		return b
	}
	n := &c.server.codings[coding]
	n.responses.Add(1)
	n.before.Add(uint64(before))
	n.now.Add(uint64(now))
	return append(append(append(b, "Content-Encoding: "...), coding.String()...), "\r\n"...)
}
