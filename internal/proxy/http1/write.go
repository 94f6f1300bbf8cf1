package http1

import "strconv"

// AppendStatusLine appends "HTTP/1.1 200 OK" CRLF. An empty reason stays empty:
// the space before it is required (RFC 9112 §4).
func AppendStatusLine(b []byte, status int, reason []byte) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = append(b, byte('0'+status/100), byte('0'+status/10%10), byte('0'+status%10), ' ')
	b = append(b, reason...)
	return append(b, '\r', '\n')
}

// AppendField appends one field line.
func AppendField(b, name, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ':', ' ')
	b = append(b, value...)
	return append(b, '\r', '\n')
}

// Lines appends field lines of one head to another one. Those that stand behind one another, as
// AppendField would write them, are copied at once.
type Lines struct {
	p        *Parser
	from, to int // of the head: what is not copied yet
}

// Lines returns what appends fields of p.
func (p *Parser) Lines() Lines { return Lines{p: p} }

// Add appends the line of f, at the latest with Flush.
func (l *Lines) Add(b []byte, f Field) []byte {
	head := l.p.head
	usual := f.valueFrom == f.nameTo+2 && head[f.nameTo+1] == ' ' && head[f.valueTo] == '\r'
	if usual && int(f.nameFrom) == l.to {
		l.to = int(f.valueTo) + 2
		return b
	}
	b = l.Flush(b)
	if usual {
		l.from, l.to = int(f.nameFrom), int(f.valueTo)+2
		return b
	}
	return AppendField(b, l.p.Name(f), l.p.Value(f))
}

// Flush appends what is not copied yet.
func (l *Lines) Flush(b []byte) []byte {
	b = append(b, l.p.head[l.from:l.to]...)
	l.from = l.to
	return b
}

// AppendContentLength appends the Content-Length field line.
func AppendContentLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

// AppendChunked appends the field line that announces the chunked coding.
func AppendChunked(b []byte) []byte { return append(b, "Transfer-Encoding: chunked\r\n"...) }

// ChunkOverhead is how many octets AppendChunk adds to its data at most.
const ChunkOverhead = 16 + 2 + 2

// AppendChunk appends one chunk; nothing when data is empty, as an empty chunk
// would be the last one.
func AppendChunk(b, data []byte) []byte {
	if len(data) == 0 {
		return b
	}
	b = strconv.AppendUint(b, uint64(len(data)), 16)
	b = append(b, '\r', '\n')
	b = append(b, data...)
	return append(b, '\r', '\n')
}

// LastChunk is what ends chunked content without trailer fields.
const LastChunk = "0\r\n\r\n"

// AppendLastChunk appends the last chunk with trailers, which are whole field
// lines, and the end of the message.
func AppendLastChunk(b, trailers []byte) []byte {
	b = append(b, "0\r\n"...)
	b = append(b, trailers...)
	return append(b, '\r', '\n')
}
