// Package http1 reads and writes HTTP/1.1 messages: bytes in, events out.
//
// It owns the syntax of RFC 9112: the request line and the status line, the
// field lines, the framing of content (Content-Length, chunked, until close)
// and what may not be in a message that a gateway is to forward. It does not
// own connections, routing, what a field means to an application, nor when a
// connection is kept: the driver (package httpproxy) decides that from facts
// this package states.
//
//	"GET /a HTTP/1.1 CRLF Host: x CRLF CRLF" -> HeadDone, End
//	"POST ... Content-Length: 3 ... CRLF CRLF abc" -> HeadDone, Content "abc", End
//	"... chunked ... 3 CRLF abc CRLF 0 CRLF T: v CRLF CRLF" -> HeadDone, Content, Trailer, End
//
// Entry points: Parser.ResetRequest or Parser.ResetResponse, then Parser.Feed
// until End; the Append functions for the way out. Nothing is copied: all names
// and values are slices of the buffer that was given to Feed, and live as long
// as the caller leaves those octets in place. Nothing is allocated.
//
// How bytes are split over calls to Feed never changes what is accepted, what
// is refused, or what is reported, except that content may come in more pieces.
//
// The parser is strict where two readers could disagree (request smuggling):
// where RFC 9112 lets a recipient be lenient, it is not. Each rule stands at its
// decision.
//
// Concurrency: a Parser is owned by one goroutine at a time. No clock, no I/O.
//
// Sources: RFC 9112 (syntax and framing), RFC 9110 §5 (fields), §7.6.1
// (Connection), §10.1.1 (Expect), RFC 3986 §3 (request targets).
package http1

// Limits bounds what one message head or one chunk may cost. The zero value of
// a member means its default.
type Limits struct {
	// StartLine is the longest request line or status line in octets, without
	// CRLF. Default 8192 (RFC 9112 §3 asks for at least 8000). At it: 414.
	StartLine int
	// Fields is the longest field section in octets, all line ends included.
	// Default 32768, as nginx's large_client_header_buffers. At it: 431.
	Fields int
	// FieldCount is the highest number of field lines; at most and by default
	// MaxFields. At it: 431.
	FieldCount int
	// KeepUnderscores forwards fields with "_" in their names. By default they
	// are dropped, because CGI-like origins read X_Y and X-Y as the same field.
	KeepUnderscores bool
	// Secure says that requests come over TLS: absolute targets are https URIs then
	// (RFC 9110 §4.2.2), else http.
	Secure bool
}

// Limits that are not configurable; each is arbitrary but far above honest use.
const (
	// MaxFields is the size of the field table in a Parser: 100, as Apache's.
	MaxFields = 100
	// MaxMethodLen is the longest method; the longest registered one has 17
	// octets (UPDATEREDIRECTREF). A longer one is 501.
	MaxMethodLen = 32
	// MaxChunkLine is the longest chunk-size line in octets: 16 digits and the
	// extensions, which are dropped. At it: 400.
	MaxChunkLine = 256
	// MaxTrailer is the longest trailer section in octets. At it: 431.
	MaxTrailer = 8192
	// maxStartLine and maxFieldSection keep offsets in 16 bits.
	maxStartLine    = 16 << 10
	maxFieldSection = 47 << 10
)

// MaxHead returns the greatest number of octets of a head within l: what a
// buffer must be able to hold.
func (l Limits) MaxHead() int { d := l.withDefaults(); return d.StartLine + d.Fields + 8 }

func (l Limits) withDefaults() Limits {
	if l.StartLine <= 0 {
		l.StartLine = 8192
	}
	if l.Fields <= 0 {
		l.Fields = 32768
	}
	if l.FieldCount <= 0 || l.FieldCount > MaxFields {
		l.FieldCount = MaxFields
	}
	l.StartLine = min(l.StartLine, maxStartLine)
	l.Fields = min(l.Fields, maxFieldSection)
	return l
}

// Event says what Feed has found.
type Event uint8

const (
	// NeedMore: nothing more to report from these octets. Feed again with the
	// octets not consumed followed by new ones.
	NeedMore Event = iota
	// HeadDone: the start line and all fields are known; they are in b[:n].
	HeadDone
	// Content: Parser.Content is the next piece of content, within b[:n].
	Content
	// Trailer: Parser.TrailerName and TrailerValue are one trailer field.
	Trailer
	// End: the message is complete; b[n:] is not part of it.
	End
)

func (e Event) String() string {
	return [...]string{"NeedMore", "HeadDone", "Content", "Trailer", "End"}[e]
}

// Violation is why a message is refused. The connection it came from cannot be
// used any further, as nobody knows where the next message begins.
type Violation struct {
	Status int    // what to answer to a request; a gateway answers 502 to a response
	Text   string // what is wrong, for logs and for the client
	Offset int    // octets from the start of the head, the chunk line or the trailer section
}

func (v *Violation) Error() string { return v.Text }

// Framing is how the content of a message is delimited (RFC 9112 §6).
type Framing uint8

const (
	NoContent  Framing = iota // the message ends with its head
	Length                    // Content-Length octets
	Chunked                   // chunked transfer coding
	UntilClose                // ends when the connection or the stream does
)

func (f Framing) String() string {
	return [...]string{"none", "length", "chunked", "close"}[f]
}

type state uint8

const (
	inHead state = iota
	inLength
	inChunkLine
	inChunk
	inChunkEnd
	inTrailers
	inUntilClose
	ended
	failed
)

// Parser reads one message after another. Its zero value must be given
// ResetRequest or ResetResponse before Feed.
type Parser struct {
	limits   Limits
	response bool // a response is read, not a request
	toHEAD   bool // the response answers HEAD: never any content
	stream   bool // the request has a stream of its own, whose end is its end
	whole    bool // and that has ended with the head
	state    state

	// Head being read: offsets from the head's first octet.
	scanned    int // no line feed in [line, scanned)
	line       int // start of the line being read
	fieldsFrom int // start of the field section; 0 while in the start line

	head   []byte // the octets of the head, valid from HeadDone on
	start  startLine
	count  int // of fields
	fields [MaxFields]Field
	facts  facts

	framing  Framing
	length   int64 // declared Content-Length; -1 when there was none
	left     int64 // octets left of the content or of the chunk
	trailers int   // octets of the trailer section read so far

	// Content is the piece of content that the last Content event reported.
	Content []byte
	// TrailerName and TrailerValue are what the last Trailer event reported.
	TrailerName, TrailerValue []byte
	// TrailerID is the well-known id of TrailerName.
	TrailerID FieldID

	violation Violation
}

// ResetRequest makes p ready for the first octet of a request.
func (p *Parser) ResetRequest(l Limits) { p.reset(l, false, false) }

// ResetStream makes p ready for a request that came on a stream of its own (RFC 9113, RFC
// 9114) and was written in the form of HTTP/1.1. Its content is what the stream carries:
// UntilClose unless Content-Length says how much that is, and Close tells that it has
// ended. whole says that the stream has ended with the head. A Transfer-Encoding is refused.
func (p *Parser) ResetStream(l Limits, whole bool) {
	p.reset(l, false, false)
	p.stream, p.whole = true, whole
}

// ResetResponse makes p ready for the first octet of a response. toHEAD says
// that it answers a HEAD request, so that it has no content whatever its fields
// say (RFC 9110 §9.3.2).
func (p *Parser) ResetResponse(l Limits, toHEAD bool) { p.reset(l, true, toHEAD) }

func (p *Parser) reset(l Limits, response, toHEAD bool) {
	p.limits = l.withDefaults()
	p.response, p.toHEAD, p.state = response, toHEAD, inHead
	p.stream, p.whole = false, false
	p.scanned, p.line, p.fieldsFrom = 0, 0, 0
	p.head, p.start, p.count, p.facts = nil, startLine{}, 0, facts{}
	p.framing, p.length, p.left, p.trailers = NoContent, -1, 0, 0
	p.Content, p.TrailerName, p.TrailerValue = nil, nil, nil
}

// Feed reads from b, which begins at the first octet that earlier calls did not
// consume, and reports the next event. The first n octets of b are consumed;
// with NeedMore, n is 0 unless content is passing. After a Violation every
// further call returns the same one.
func (p *Parser) Feed(b []byte) (n int, ev Event, err *Violation) {
	switch p.state {
	case inHead:
		return p.feedHead(b)
	case inLength:
		return p.feedLength(b)
	case inChunkLine, inChunk, inChunkEnd, inTrailers:
		return p.feedChunked(b)
	case inUntilClose:
		if len(b) == 0 {
			return 0, NeedMore, nil
		}
		p.Content = b
		return len(b), Content, nil
	case ended:
		return 0, End, nil
	}
	return 0, NeedMore, &p.violation
}

// Close tells p that no octet will follow. It returns nil when the message is
// complete with what was read, which for content delimited by close is always
// so (RFC 9112 §8).
func (p *Parser) Close() *Violation {
	switch p.state {
	case ended:
		return nil
	case inUntilClose:
		p.state = ended
		return nil
	case failed:
		return &p.violation
	}
	return p.fail(400, "the connection was closed in the middle of the message", p.scanned)
}

// CloseStream is Close for a request on a stream that has trailers: Feed reads them next,
// as field lines that end with an empty one. Content of a declared length has none.
func (p *Parser) CloseStream() *Violation {
	if p.state == inUntilClose {
		p.state = inTrailers
		return nil
	}
	return p.Close()
}

// Done reports whether the message is complete.
func (p *Parser) Done() bool { return p.state == ended }

// InHead reports whether the head is not complete yet.
func (p *Parser) InHead() bool { return p.state == inHead }

// Left returns how many octets of a Content-Length are still to come; 0 for
// every other framing.
func (p *Parser) Left() int64 {
	if p.state != inLength {
		return 0
	}
	return p.left
}

func (p *Parser) feedLength(b []byte) (int, Event, *Violation) {
	if len(b) == 0 {
		return 0, NeedMore, nil
	}
	n := len(b)
	if int64(n) >= p.left {
		n, p.state = int(p.left), ended
	}
	p.left -= int64(n)
	p.Content = b[:n]
	return n, Content, nil
}

func (p *Parser) fail(status int, text string, offset int) *Violation {
	p.violation = Violation{Status: status, Text: text, Offset: offset}
	p.state = failed
	if p.head == nil {
		p.count, p.start = 0, startLine{} // half a head has no parts to ask for
	}
	return &p.violation
}

// Rebase tells p that the caller has moved the octets of a complete head: names
// and values are now slices of head.
func (p *Parser) Rebase(head []byte) { p.head = head[:len(p.head)] }
