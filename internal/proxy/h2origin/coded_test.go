package h2origin

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"testing"
)

// TestCodedContent: the gateway asks for no coding that the client has not asked for, and
// unpacks nothing: what a bomb unpacks to is the client's affair.
func TestCodedContent(t *testing.T) {
	_, open, _ := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Accepted", fmt.Sprintf("%q", r.Header["Accept-Encoding"]))
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, "this is not gzip")
	})
	conn := open()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(resp.Body)
	if err != nil || string(content) != "this is not gzip" || resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("X-Accepted") != "[]" {
		t.Errorf("got %q, %v, %v", content, resp.Header, err)
	}
}
