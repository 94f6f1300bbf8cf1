package http1

import "testing"

// RFC 9113 §8.1.1: a request is malformed when Content-Length is not the sum of the DATA
// frames; §8.2.2: Transfer-Encoding does not exist there.
func TestRequestOnAStream(t *testing.T) {
	for _, c := range []struct {
		name, fields string
		whole        bool
		content      string // that comes until the stream ends
		framing      Framing
		refused      bool
	}{
		{"no content", "", true, "", NoContent, false},
		{"of unknown length", "", false, "hello", UntilClose, false},
		{"of unknown length, empty", "", false, "", UntilClose, false},
		{"of a known length", "Content-Length: 5\r\n", false, "hello", Length, false},
		{"of length 0", "Content-Length: 0\r\n", true, "", Length, false},
		{"shorter than it says", "Content-Length: 6\r\n", false, "hello", Length, true},
		{"missing", "Content-Length: 6\r\n", true, "", Length, true},
		{"coded", "Transfer-Encoding: chunked\r\n", false, "", NoContent, true},
	} {
		var p Parser
		p.ResetStream(Limits{}, c.whole)
		head := "POST / HTTP/1.1\r\nHost: a\r\n" + c.fields + "\r\n"
		n, ev, v := p.Feed([]byte(head))
		if v == nil && (ev != HeadDone || n != len(head) || p.Framing() != c.framing || p.Done() != c.whole && c.framing != Length) {
			t.Errorf("%s: %v after %d octets, framing %v, done %v", c.name, ev, n, p.Framing(), p.Done())
		}
		if v == nil && len(c.content) > 0 {
			if n, ev, _ := p.Feed([]byte(c.content)); ev != Content || n != len(c.content) {
				t.Errorf("%s: %v after %d octets of content", c.name, ev, n)
			}
		}
		if v == nil {
			v = p.Close()
		}
		if (v != nil) != c.refused || v == nil && !p.Done() {
			t.Errorf("%s: refused %v, want %v", c.name, v, c.refused)
		}
	}
}

// RFC 9113 §8.1: trailer fields come last; they are held to the rules of all others.
func TestTrailersOnAStream(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\r\nc: d\r\n\r\n": "a=b c=d ",
		"a: \x01\r\n\r\n":      "refused",
	} {
		var p Parser
		p.ResetStream(Limits{}, false)
		p.Feed([]byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n"))
		got := ""
		if v := p.CloseStream(); v != nil {
			t.Fatal(v)
		}
		for b := []byte(text); !p.Done(); {
			n, ev, v := p.Feed(b)
			if v != nil {
				got = "refused"
				break
			}
			if b = b[n:]; ev == Trailer {
				got += string(p.TrailerName) + "=" + string(p.TrailerValue) + " "
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A request of HTTP/1.1 that follows one on a stream is framed by its own rules again.
func TestResetForgetsTheStream(t *testing.T) {
	var p Parser
	p.ResetStream(Limits{}, false)
	p.ResetRequest(Limits{})
	if _, _, v := p.Feed([]byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n")); v != nil || p.Framing() != NoContent || !p.Done() {
		t.Errorf("framing %v, done %v: %v", p.Framing(), p.Done(), v)
	}
}
