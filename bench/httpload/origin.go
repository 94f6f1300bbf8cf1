package httpload

import (
	"bytes"
	"fmt"
)

// The content of a response: 100 octets that begin with the number in the
// request's path.
const (
	contentLen = 100
	numberLen  = 8
)

// numbered stands in the path before the number.
const numbered = "/item/"

var headerEnd = []byte("\r\n\r\n")

// originReply returns a response whose content waits for its number.
func originReply() []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: Sun, 01 Jan 2023 00:00:00 GMT\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n", contentLen)
	return append([]byte(head), bytes.Repeat([]byte{'.'}, contentLen)...)
}

// answer responds to every whole request in c's buffer and reports whether the
// connection can go on. A request has no content: it ends with its fields.
func (l *Loop) answer(c *conn) bool {
	for c.have > 0 {
		end := bytes.Index(c.buf[:c.have], headerEnd)
		if end < 0 {
			return c.have < len(c.buf)
		}
		request := c.buf[:end]
		number := l.reply[len(l.reply)-contentLen:][:numberLen]
		copy(number, "--------")
		line, _, _ := bytes.Cut(request, []byte("\r\n"))
		if at := bytes.Index(line, []byte(numbered)); at >= 0 {
			copy(number, line[at+len(numbered):])
		}
		if c.write(l.reply) != nil {
			return false
		}
		c.consume(end + len(headerEnd))
	}
	return true
}
