package http1

import "testing"

// Framing of responses, RFC 9112 §6.3.
func TestResponseFraming(t *testing.T) {
	for _, c := range []struct {
		name, head string
		toHEAD     bool
		framing    Framing
		length     int64
		keep       bool
	}{
		{"length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, Length, 5, true},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, Chunked, -1, true},
		{"neither", "HTTP/1.1 200 OK\r\n\r\n", false, UntilClose, -1, false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, Length, 5, false},
		{"HTTP/1.0 kept", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", false, Length, 5, true},
		{"close", "HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\n", false, Length, 5, false},
		{"to HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, NoContent, 5, true},
		{"to HEAD, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, NoContent, -1, true},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", false, NoContent, -1, true},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, NoContent, 5, true},
		{"100", "HTTP/1.1 100 Continue\r\n\r\n", false, NoContent, -1, true},
		{"101", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, NoContent, -1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p Parser
			p.ResetResponse(Limits{}, c.toHEAD)
			n, ev, v := p.Feed([]byte(c.head + "xyz"))
			if v != nil || ev != HeadDone || n != len(c.head) {
				t.Fatalf("got %d %v %v", n, ev, v)
			}
			if p.Framing() != c.framing || p.ContentLength() != c.length || p.KeepAlive() != c.keep {
				t.Errorf("got %v %d %t, want %v %d %t", p.Framing(), p.ContentLength(), p.KeepAlive(), c.framing, c.length, c.keep)
			}
		})
	}
}

// A message is complete at the end of the connection only where its framing
// says so (RFC 9112 §8).
func TestClose(t *testing.T) {
	for in, complete := range map[string]bool{
		"HTTP/1.1 200 OK\r\n\r\nabc":                                             true,
		"HTTP/1.1 200 OK\r\n\r\n":                                                true,
		"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc":                        true,
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc":                        false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n":      false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n":             false,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: u\r\n\r\n": true,
		"HTTP/1.1 200 OK\r\n":                                                    false,
		"":                                                                       false,
	} {
		var p Parser
		p.ResetResponse(Limits{}, false)
		for used := 0; ; {
			n, ev, v := p.Feed([]byte(in)[used:])
			used += n
			if v != nil {
				t.Fatal(v)
			}
			if ev == NeedMore || ev == End {
				break
			}
		}
		if got := p.Close() == nil; got != complete {
			t.Errorf("%q: complete %t, want %t", in, got, complete)
		}
	}
}
