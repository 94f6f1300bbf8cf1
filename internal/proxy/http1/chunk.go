package http1

import "bytes"

// feedChunked reads the chunked transfer coding (RFC 9112 §7.1).
//
//	1*16HEXDIG [ ";" extensions ] CRLF  data CRLF  ...  0 CRLF  trailer fields  CRLF
func (p *Parser) feedChunked(b []byte) (int, Event, *Violation) {
	n := 0
	for {
		switch p.state {
		case inChunkLine:
			used, v := p.readChunkLine(b[n:])
			if v != nil || used == 0 {
				return n, NeedMore, v
			}
			n += used
		case inChunk:
			return p.readChunk(b, n)
		case inChunkEnd:
			used, v := p.readChunkEnd(b[n:])
			if v != nil || used == 0 {
				return n, NeedMore, v
			}
			n += used
		case inTrailers:
			used, ev, v := p.readTrailer(b[n:])
			return n + used, ev, v
		}
	}
}

// readChunkLine reads one whole chunk-size line; 0 when it is not there yet.
func (p *Parser) readChunkLine(b []byte) (int, *Violation) {
	line, v := p.wholeLine(b, MaxChunkLine, 400, "the chunk-size line is too long")
	if v != nil || line == nil {
		return 0, v
	}
	size, digits := int64(0), 0
	for digits < len(line) && isHex(line[digits]) {
		if digits == 16 || size >= 1<<59 {
			return 0, p.fail(p.badFraming(), "the chunk size is too large", digits)
		}
		size = size<<4 | int64(hexValue(line[digits]))
		digits++
	}
	if digits == 0 || digits < len(line) && line[digits] != ';' {
		return 0, p.fail(p.badFraming(), "the chunk size is not hexadecimal digits", digits)
	}
	// Extensions are read over (RFC 9112 §7.1.1: "MUST ignore" unknown ones) and
	// never forwarded, but only what is printable ASCII may stand there.
	for i, c := range line[digits:] {
		if c < 0x20 && c != '\t' || c >= 0x7f {
			return 0, p.fail(p.badFraming(), "a chunk extension is not printable ASCII", digits+i)
		}
	}
	p.left, p.state = size, inChunk
	if size == 0 {
		p.state = inTrailers
	}
	return len(line) + 2, nil
}

func (p *Parser) readChunk(b []byte, n int) (int, Event, *Violation) {
	take := len(b) - n
	if take == 0 {
		return n, NeedMore, nil
	}
	if int64(take) >= p.left {
		take, p.state = int(p.left), inChunkEnd
	}
	p.left -= int64(take)
	p.Content = b[n : n+take]
	return n + take, Content, nil
}

// readChunkEnd reads the CRLF after the data of a chunk.
func (p *Parser) readChunkEnd(b []byte) (int, *Violation) {
	if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
		return 0, p.fail(p.badFraming(), "the data of a chunk is not followed by CRLF", 0)
	}
	if len(b) < 2 {
		return 0, nil
	}
	p.state = inChunkLine
	return 2, nil
}

// readTrailer reads one line of the trailer section.
func (p *Parser) readTrailer(b []byte) (int, Event, *Violation) {
	line, v := p.wholeLine(b, MaxTrailer-p.trailers, 431, "the trailer section is too large")
	if v != nil || line == nil {
		return 0, NeedMore, v
	}
	used := len(line) + 2
	if len(line) == 0 {
		p.state = ended
		return used, End, nil
	}
	p.trailers += used
	name, value, _, v := p.splitField(line, 0, len(line))
	if v != nil {
		return 0, NeedMore, v
	}
	p.TrailerName, p.TrailerValue = name.of(line), value.of(line)
	p.TrailerID = LookupField(p.TrailerName)
	return used, Trailer, nil
}

// wholeLine returns the octets of b before its first CRLF; nil when there is
// none yet. most bounds the line with its CRLF.
func (p *Parser) wholeLine(b []byte, most, status int, text string) ([]byte, *Violation) {
	i := bytes.IndexByte(b[:min(len(b), most)], '\n')
	if i < 0 {
		if len(b) >= most {
			return nil, p.fail(status, text, most)
		}
		return nil, nil
	}
	if i == 0 || b[i-1] != '\r' {
		return nil, p.fail(p.badFraming(), "line feed without carriage return", i)
	}
	return b[: i-1 : i-1], nil
}

func hexValue(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// TrailerForwardable reports whether the trailer field last reported may go on:
// fields for framing, routing, authentication and this hop may not stand in a
// trailer section (RFC 9110 §6.5.1), and underscore names follow the same rule
// as in the head.
func (p *Parser) TrailerForwardable() bool {
	if p.TrailerID != FieldOther {
		return false
	}
	return p.response || p.limits.KeepUnderscores || bytes.IndexByte(p.TrailerName, '_') < 0
}
