package doh

import (
	"bytes"
	"crypto/tls"
	"io"
	"strconv"
	"time"
)

// This file is what a client hears that did not agree on HTTP/2 (RFC 8484 §5.2: "the minimum
// RECOMMENDED version of HTTP for use with DoH").

// mostOlder is how much of a request is read that is not answered as it asks: its head, and the
// longest message by POST.
const mostOlder = MaxFields + 64<<10

// olderText is why there is no answer, and what would help.
const olderText = "DNS over HTTPS is spoken here over HTTP/2 and, where it is on, HTTP/3 (RFC 8484 section 5.2): " +
	"the client has to offer \"h2\" in its TLS handshake (ALPN); for curl that is --http2\n"

// older is the response to a request of HTTP/1 (RFC 9110 §15.6.6: "why that version is not
// supported and what other protocols are supported").
var older = []byte("HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n" +
	"Cache-Control: no-store\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(olderText)) + "\r\n\r\n" + olderText)

// turnAway answers one request of HTTP/1 with 505, and anything else not at all, and closes the
// connection, all of it within a time.
func turnAway(conn *tls.Conn, within time.Duration) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(within)) != nil {
		return
	}
	head := make([]byte, 0, MaxFields)
	for !bytes.Contains(head, []byte("\r\n\r\n")) {
		if len(head) == cap(head) {
			return
		}
		n, err := conn.Read(head[len(head):cap(head)])
		if head = head[:len(head)+n]; err != nil {
			return
		}
	}
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	if !bytes.HasSuffix(line, []byte(" HTTP/1.1")) && !bytes.HasSuffix(line, []byte(" HTTP/1.0")) {
		return
	}
	if _, err := conn.Write(older); err != nil || conn.CloseWrite() != nil {
		return
	}
	// What still comes is read: to close before would reset the connection, and take the response
	// from a client that has not read it (RFC 9112 §9.6).
	_, _ = io.CopyN(io.Discard, conn, mostOlder)
}
