package httpload

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"
)

// The content of a response begins with the number in the request's path; the rest are dots.
const (
	ShortContent = 100
	numberLen    = 8
)

// numbered stands in the path before the number.
const numbered = "/item/"

var headerEnd = []byte("\r\n\r\n")

// originReply returns a response whose content waits for its number.
func originReply(content int) []byte {
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nDate: Sun, 01 Jan 2023 00:00:00 GMT\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n", content)
	return append([]byte(head), bytes.Repeat([]byte{'.'}, content)...)
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
		number := l.reply[len(l.reply)-l.content:][:numberLen]
		copy(number, "--------")
		line, _, _ := bytes.Cut(request, []byte("\r\n"))
		if at := bytes.Index(line, []byte(numbered)); at >= 0 {
			copy(number, line[at+len(numbered):])
		}
		n, err := c.write(l.reply)
		if err != nil {
			return false
		}
		c.consume(end + len(headerEnd))
		if n < len(l.reply) {
			return l.hold(c, n)
		}
	}
	return true
}

// hold keeps what is left of the response after n octets until the socket takes more. Nothing is
// read of c meanwhile. It reports whether the connection can go on.
func (l *Loop) hold(c *conn, n int) bool {
	if c.out == nil {
		c.out = make([]byte, len(l.reply))
	}
	c.rest = c.out[:copy(c.out, l.reply[n:])]
	return l.rewatch(c, unix.EPOLLOUT) == nil
}

// resume writes on.
func (l *Loop) resume(c *conn) {
	n, err := c.write(c.rest)
	if err != nil {
		l.drop(c)
		return
	}
	if c.rest = c.rest[n:]; len(c.rest) > 0 {
		return
	}
	c.rest = nil
	if l.rewatch(c, unix.EPOLLIN) != nil || !l.answer(c) {
		l.drop(c)
	}
}
