package main

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// streaming sets VAR to the address of a server with a WebSocket at /chat, which greets and
// then sends back what it gets, octet for octet, and with three events at /events; and what browsers are shown.
func streaming(ts *testscript.TestScript, _ bool, args []string) {
	mux := http.NewServeMux()
	mux.HandleFunc("/chat", chat)
	browsable(mux, reported)
	mux.HandleFunc("/events", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for n := range 3 {
			fmt.Fprintf(w, "data: event %d\n\n", n)
			w.(http.Flusher).Flush()
		}
	})
	s := httptest.NewServer(mux)
	ts.Defer(s.Close)
	ts.Setenv(args[0], strings.TrimPrefix(s.URL, "http://"))
}

// chat switches protocols (RFC 6455 §4.2.2).
func chat(w http.ResponseWriter, r *http.Request) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		http.Error(w, "this is a WebSocket", http.StatusUpgradeRequired)
		return
	}
	conn, both, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(both, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n\x81\x05hello",
		base64.StdEncoding.EncodeToString(sum[:]))
	both.Flush()
	echoFrames(conn, both.Reader)
}

// echoFrames sends the messages of a client back, which are short, until it leaves.
func echoFrames(w io.Writer, r *bufio.Reader) {
	for {
		var head [6]byte // a mask follows the length (§5.3)
		if _, err := io.ReadFull(r, head[:]); err != nil || head[1]&0x7f > 125 {
			return
		}
		content := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(r, content); err != nil {
			return
		}
		for i := range content {
			content[i] ^= head[2+i%4]
		}
		if _, err := w.Write(append([]byte{head[0], byte(len(content))}, content...)); err != nil || head[0]&0x0f == 8 {
			return
		}
	}
}
