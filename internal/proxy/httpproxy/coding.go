package httpproxy

import (
	"bytes"
	"sync"
	"sync/atomic"

	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/encoders"
	"pharos/internal/proxy/http1"
)

// Compression is what is compressed on the way to clients, and by what.
type Compression struct {
	Rules    *compress.Rules
	Encoders *encoders.Set
}

// CodingCounters are what was compressed with one coding.
type CodingCounters struct {
	Coding                 string
	Responses, Before, Now uint64 // octets of content before and after
}

// codingCounts are the counters of one coding. All atomic: to compress costs a thousand times
// as much.
type codingCounts struct{ responses, before, now atomic.Uint64 }

// Codings returns what was compressed, and how often that was not done because too many
// encoders were in use.
func (s *Server) Codings() (all []CodingCounters, full uint64) {
	if s.cfg.Compression == nil {
		return nil, 0
	}
	for c := compress.Gzip; c <= compress.Zstd; c++ {
		n := &s.codings[c]
		all = append(all, CodingCounters{c.String(), n.responses.Load(), n.before.Load(), n.now.Load()})
	}
	return all, s.cfg.Compression.Encoders.Full()
}

// coded is how the content of the response at hand is coded by us.
type coded struct {
	coding compress.Coding // Identity: not at all
	varies bool            // by Accept-Encoding, which the response says
	coder  *coder          // nil: there is nothing to code, as in a response to HEAD
}

// coder is an encoder and what has come out of it.
type coder struct {
	encoder encoders.Encoder
	out     []byte
	dirty   bool // something was written that was not flushed
	before  uint64
	now     uint64
}

func (k *coder) Write(p []byte) (int, error) {
	k.out = append(k.out, p...)
	return len(p), nil
}

var coders = sync.Pool{New: func() any { return new(coder) }}

// maxCoderRoom is how large a buffer is kept for the next response.
const maxCoderRoom = 64 << 10

// beginCoding decides whether the content of the response is compressed.
func (c *client) beginCoding(x *exchange) {
	x.coded = coded{}
	how := c.server.cfg.Compression
	if how == nil || x.route.Uncompressed || x.req.Minor() == 0 {
		return // HTTP/1.0 has no content of unknown length on a connection that is kept
	}
	var m compress.Message
	var room [4][]byte
	accepts := x.tell(&m, room[:0])
	x.coded.coding, x.coded.varies = how.Rules.Decide(&m, accepts, len(accepts) > 0)
	if x.coded.coding == compress.Identity || x.resp.Framing() == http1.NoContent {
		return
	}
	k := coders.Get().(*coder)
	*k = coder{out: k.out[:0]}
	if k.encoder = how.Encoders.Get(x.coded.coding, k); k.encoder == nil {
		coders.Put(k)
		x.coded.coding = compress.Identity
		return
	}
	x.coded.coder = k
}

// tell says what rules of compression look at. It returns the values of Accept-Encoding.
func (x *exchange) tell(m *compress.Message, accepts [][]byte) [][]byte {
	m.Status, m.Length = x.resp.Status(), x.resp.ContentLength()
	for _, f := range x.req.Fields() {
		switch f.ID {
		case http1.FieldAuthorization:
			m.Secret = true
		case http1.FieldCacheControl:
			m.NoTransform = m.NoTransform || hasToken(x.req.Value(f), "no-transform")
		case http1.FieldOther:
			if len(accepts) < cap(accepts) && equalFold(x.req.Name(f), "Accept-Encoding") {
				accepts = append(accepts, x.req.Value(f))
			}
		}
	}
	for _, f := range x.resp.Fields() {
		switch f.ID {
		case http1.FieldContentType:
			m.Type = x.resp.Value(f)
		case http1.FieldContentEncoding:
			m.Coded = m.Coded || !equalFold(x.resp.Value(f), "identity")
		case http1.FieldSetCookie:
			m.Secret = true
		case http1.FieldCacheControl:
			m.NoTransform = m.NoTransform || hasToken(x.resp.Value(f), "no-transform")
		case http1.FieldOther:
			switch name := x.resp.Name(f); {
			case equalFold(name, "Content-Range"):
				m.Partial = true
			case equalFold(name, "Content-Digest"), equalFold(name, "Repr-Digest"), equalFold(name, "Digest"), equalFold(name, "Content-MD5"):
				m.Digest = true
			}
		}
	}
	return accepts
}

// hasToken reports whether a list has a token, in any case.
func hasToken(list []byte, token string) bool {
	for len(list) > 0 {
		var item []byte
		item, list, _ = bytes.Cut(list, []byte(","))
		if equalFold(bytes.TrimSpace(item), token) {
			return true
		}
	}
	return false
}

// appendCodedField appends a field of a response that says that it varies, or that is coded.
func (x *exchange) appendCodedField(b []byte, f http1.Field) []byte {
	name, value := x.resp.Name(f), x.resp.Value(f)
	if f.ID != http1.FieldOther && f.ID != http1.FieldContentEncoding || x.coded.coding == compress.Identity {
		return http1.AppendField(b, name, value)
	}
	switch {
	case f.ID == http1.FieldContentEncoding, equalFold(name, "Accept-Ranges"): // of octets that nobody has seen
		return b
	case equalFold(name, "ETag") && len(value) > 0 && value[0] == '"':
		// RFC 9110 §8.8.3: a strong validator is of these very octets.
		b = append(append(append(b, name...), ": W/"...), value...)
		return append(b, "\r\n"...)
	}
	return http1.AppendField(b, name, value)
}

// appendCoding appends what a response says of its coding.
func (x *exchange) appendCoding(b []byte) []byte {
	if x.coded.coding != compress.Identity {
		b = append(append(append(b, "Content-Encoding: "...), x.coded.coding.String()...), "\r\n"...)
	}
	for _, f := range x.resp.Fields() {
		if f.ID == http1.FieldOther && equalFold(x.resp.Name(f), "Vary") && (hasToken(x.resp.Value(f), "Accept-Encoding") || hasToken(x.resp.Value(f), "*")) {
			return b
		}
	}
	return append(b, "Vary: Accept-Encoding\r\n"...) // RFC 9110 §12.5.5
}

// endCoding gives the encoder back.
func (c *client) endCoding(x *exchange) {
	k := x.coded.coder
	x.coded.coder = nil
	n := &c.server.codings[x.coded.coding]
	n.responses.Add(1)
	n.before.Add(k.before)
	n.now.Add(k.now)
	c.server.cfg.Compression.Encoders.Put(x.coded.coding, k.encoder)
	k.encoder = nil
	if cap(k.out) > maxCoderRoom {
		k.out = nil
	}
	coders.Put(k)
}

// encode takes the next piece of content, which is to be coded.
func (w *contentWriter) encode(piece []byte) refusal {
	k := w.coder
	k.dirty = true
	k.before += uint64(len(piece))
	_, err := k.encoder.Write(piece)
	return w.takeCoded(err)
}

// flushCoded has all that was taken go on, so that the client can read it.
func (w *contentWriter) flushCoded() refusal {
	if !w.coder.dirty {
		return refusal{}
	}
	w.coder.dirty = false
	return w.takeCoded(w.coder.encoder.Flush())
}

func (w *contentWriter) takeCoded(err error) refusal {
	if err != nil { // none of ours fails to write into memory
		return refusal{status: 500, kind: "proxy_internal_error", text: "the content could not be compressed"}
	}
	k := w.coder
	k.now += uint64(len(k.out))
	r := w.put(k.out)
	k.out = k.out[:0]
	return r
}
