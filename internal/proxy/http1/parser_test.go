package http1

import (
	"fmt"
	"strings"
	"testing"
)

// dialogue is what a test sees of one message: events in words, pieces of
// content joined.
func dialogue(p *Parser, feeds [][]byte, closed bool) string {
	var out strings.Builder
	var buf, content []byte
	flush := func() {
		if len(content) > 0 {
			fmt.Fprintf(&out, "content %q\n", content)
			content = nil
		}
	}
	for _, piece := range feeds {
		buf = append(buf, piece...)
		for {
			n, ev, v := p.Feed(buf)
			if v != nil {
				flush()
				fmt.Fprintf(&out, "violation %d %s @%d\n", v.Status, v.Text, v.Offset)
				return out.String()
			}
			switch ev {
			case HeadDone:
				out.WriteString(describeHead(p))
			case Content:
				content = append(content, p.Content...)
			case Trailer:
				flush()
				fmt.Fprintf(&out, "trailer %s=%s\n", p.TrailerName, p.TrailerValue)
			case End:
				flush()
				fmt.Fprintf(&out, "end, %q left\n", buf[n:])
				return out.String()
			}
			buf = append([]byte(nil), buf[n:]...)
			if ev == NeedMore {
				break
			}
			if ev == HeadDone {
				// The rest of the test reads names from a copy that stays in place.
				p.Rebase(append([]byte(nil), p.Head()...))
			}
		}
	}
	flush()
	if closed {
		if v := p.Close(); v != nil {
			fmt.Fprintf(&out, "cut off\n")
		} else {
			fmt.Fprintf(&out, "end by close\n")
		}
	}
	return out.String()
}

func describeHead(p *Parser) string {
	var out strings.Builder
	if p.response {
		fmt.Fprintf(&out, "status %d %q 1.%d", p.Status(), p.Reason(), p.Minor())
	} else {
		fmt.Fprintf(&out, "%s %s host %s path %s query %q 1.%d", p.Method(), p.Target(), p.Host(), p.Path(), p.Query(), p.Minor())
	}
	fmt.Fprintf(&out, " framing %s length %d keep %t\n", p.Framing(), p.ContentLength(), p.KeepAlive())
	for _, f := range p.Fields() {
		fmt.Fprintf(&out, "  %s: %s|\n", p.Name(f), p.Value(f))
	}
	return out.String()
}

func whole(s string) [][]byte { return [][]byte{[]byte(s)} }

func bytewise(s string) [][]byte {
	var out [][]byte
	for i := range len(s) {
		out = append(out, []byte{s[i]})
	}
	return out
}

var requests = []struct{ name, in, want string }{
	{"get", "GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nrest",
		"GET /a?b host x path /a query \"?b\" 1.1 framing none length -1 keep true\n  Host: x|\nend, \"rest\" left\n"},
	{"one empty line before (RFC 9112 2.2)", "\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET / host x path / query \"\" 1.1 framing none length -1 keep true\n  Host: x|\nend, \"\" left\n"},
	{"length", "POST / HTTP/1.1\r\nHost: x:80\r\nContent-Length:  3 \t\r\n\r\nabcd",
		"POST / host x:80 path / query \"\" 1.1 framing length length 3 keep true\n  Host: x:80|\n  Content-Length: 3|\ncontent \"abc\"\nend, \"d\" left\n"},
	{"chunked with extension and trailer", "PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3;a=\"b\"\r\nabc\r\n0A\r\n0123456789\r\n0\r\nT: v\r\nU:\r\n\r\nnext",
		"PUT / host x path / query \"\" 1.1 framing chunked length -1 keep true\n  Host: x|\n  Transfer-Encoding: Chunked|\ncontent \"abc0123456789\"\ntrailer T=v\ntrailer U=\nend, \"next\" left\n"},
	{"1.0", "GET / HTTP/1.0\r\n\r\n", "GET / host  path / query \"\" 1.0 framing none length -1 keep false\nend, \"\" left\n"},
	{"1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", "GET / host  path / query \"\" 1.0 framing none length -1 keep true\n  Connection: x, Keep-Alive|\nend, \"\" left\n"},
	{"absolute form", "GET http://X.y:8/p?q=%zz HTTP/1.1\r\nHost: x.Y:8\r\n\r\n",
		"GET http://X.y:8/p?q=%zz host x.Y:8 path /p query \"?q=%zz\" 1.1 framing none length -1 keep true\n  Host: x.Y:8|\nend, \"\" left\n"},
	{"absolute form without path", "GET HTTP://x HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET HTTP://x host x path / query \"\" 1.1 framing none length -1 keep true\n  Host: x|\nend, \"\" left\n"},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: [::1]:5\r\n\r\n",
		"OPTIONS * host [::1]:5 path * query \"\" 1.1 framing none length -1 keep true\n  Host: [::1]:5|\nend, \"\" left\n"},
	{"connect", "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\n",
		"CONNECT a.b:443 host a.b:443 path  query \"\" 1.1 framing none length -1 keep true\n  Host: a.b:443|\nend, \"\" left\n"},
	{"underscore dropped", "GET / HTTP/1.1\r\nHost: x\r\nX_a: 1\r\nX-a: 2\r\n\r\n",
		"GET / host x path / query \"\" 1.1 framing none length -1 keep true\n  Host: x|\n  X-a: 2|\nend, \"\" left\n"},
	{"obs-text in a value is opaque (RFC 9110 5.5)", "GET / HTTP/1.1\r\nHost: x\r\nX: \xc3\xa9\tz\r\n\r\n",
		"GET / host x path / query \"\" 1.1 framing none length -1 keep true\n  Host: x|\n  X: \xc3\xa9\tz|\nend, \"\" left\n"},
	{"zero length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
		"POST / host x path / query \"\" 1.1 framing length length 0 keep true\n  Host: x|\n  Content-Length: 0|\nend, \"\" left\n"},
}

func TestRequests(t *testing.T) {
	for _, c := range requests {
		t.Run(c.name, func(t *testing.T) {
			for how, feeds := range map[string][][]byte{"whole": whole(c.in), "bytewise": bytewise(c.in)} {
				var p Parser
				p.ResetRequest(Limits{})
				got := dialogue(&p, feeds, false)
				want := c.want
				if how == "bytewise" { // what is left was not fed yet
					want = want[:strings.LastIndex(want, "end, ")] + "end, \"\" left\n"
				}
				if got != want {
					t.Errorf("%s:\ngot  %s\nwant %s", how, got, want)
				}
			}
		})
	}
}

const h = "GET / HTTP/1.1\r\nHost: x\r\n"

// refused requests, each with the status it is answered with. The sentences are
// of RFC 9112 unless another is named.
var refused = []struct {
	name   string
	status int
	in     string
}{
	{"6.1 both framings", 400, h + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"},
	{"6.3 two lengths", 400, h + "Content-Length: 1\r\nContent-Length: 2\r\n\r\n"},
	{"6.3 two equal lengths", 400, h + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n"},
	{"6.3 list of lengths", 400, h + "Content-Length: 1, 1\r\n\r\n"},
	{"length with sign", 400, h + "Content-Length: +1\r\n\r\n"},
	{"negative length", 400, h + "Content-Length: -1\r\n\r\n"},
	{"hexadecimal length", 400, h + "Content-Length: 0x1\r\n\r\n"},
	{"empty length", 400, h + "Content-Length:\r\n\r\n"},
	{"length of 19 digits", 400, h + "Content-Length: 1000000000000000000\r\n\r\n"},
	{"other coding", 501, h + "Transfer-Encoding: gzip\r\n\r\n"},
	{"coding list", 501, h + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
	{"chunked twice", 501, h + "Transfer-Encoding: chunked, chunked\r\n\r\n"},
	{"two codings", 400, h + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"quoted coding", 400, h + "Transfer-Encoding: \"chunked\"\r\n\r\n"},
	{"empty coding", 400, h + "Transfer-Encoding:\r\n\r\n"},
	{"6.1 coding in 1.0", 400, "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{"vertical tab before chunked", 400, h + "Transfer-Encoding:\vchunked\r\n\r\n"},
	{"5.1 space before colon", 400, h + "Content-Length : 1\r\n\r\n"},
	{"5.2 obs-fold", 400, h + "X: a\r\n b\r\n\r\n"},
	{"first field folded", 400, "GET / HTTP/1.1\r\n Host: x\r\n\r\n"},
	{"no colon", 400, h + "Xyz\r\n\r\n"},
	{"no name", 400, h + ": a\r\n\r\n"},
	{"name with parenthesis", 400, h + "X(: a\r\n\r\n"},
	{"name beyond ASCII", 400, h + "X\xff: a\r\n\r\n"},
	{"2.2 bare LF", 400, "GET / HTTP/1.1\nHost: x\n\n"},
	{"bare LF in fields", 400, h + "X: a\nY: b\r\n\r\n"},
	{"bare CR in a value", 400, h + "X: a\rY: b\r\n\r\n"},
	{"CR CR LF", 400, h + "X: a\r\r\n\r\n"},
	{"NUL in a value", 400, h + "X: a\x00b\r\n\r\n"},
	{"DEL in a value", 400, h + "X: 0123456789\x7fb\r\n\r\n"},
	{"3.2 no Host", 400, "GET / HTTP/1.1\r\n\r\n"},
	{"3.2 two Hosts", 400, h + "Host: x\r\n\r\n"},
	{"empty Host", 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"},
	{"Host with user", 400, "GET / HTTP/1.1\r\nHost: a@x\r\n\r\n"},
	{"Host with path", 400, "GET / HTTP/1.1\r\nHost: x/y\r\n\r\n"},
	{"Host with comma", 400, "GET / HTTP/1.1\r\nHost: x, y\r\n\r\n"},
	{"Host with port too large", 400, "GET / HTTP/1.1\r\nHost: x:65536\r\n\r\n"},
	{"Host with broken brackets", 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
	{"3.2.2 Host differs from the target", 400, "GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n"},
	{"https target on a clear port", 400, "GET https://x/ HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"authority form without CONNECT", 400, "GET x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n"},
	{"asterisk without OPTIONS", 400, "GET * HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"fragment", 400, "GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"target beyond ASCII", 400, "GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"target with broken escape", 400, "GET /%4 HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"target with tab", 400, "GET /a\tb HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"two spaces", 400, "GET  / HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"space in the target", 400, "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"space after the version", 400, "GET / HTTP/1.1 \r\nHost: x\r\n\r\n"},
	{"HTTP/0.9", 400, "GET /\r\n\r\n"},
	{"HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{"version 1.2", 505, "GET / HTTP/1.2\r\nHost: x\r\n\r\n"},
	{"lower-case version", 400, "GET / http/1.1\r\nHost: x\r\n\r\n"},
	{"TLS", 400, "\x16\x03\x01"},
	{"two empty lines first", 400, "\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"method with a control character", 400, "G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"method too long", 501, strings.Repeat("M", 33) + " / HTTP/1.1\r\nHost: x\r\n\r\n"},
	{"unknown expectation", 417, h + "Expect: cake\r\n\r\n"},
	{"9110 9.3.8 TRACE with content", 400, "TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"},
	{"alias of Transfer-Encoding", 400, h + "Transfer_Encoding: chunked\r\n\r\n"},
	{"alias of Content-Length", 400, h + "Content.Length: 1\r\n\r\n"},
	{"request line too long", 414, "GET /" + strings.Repeat("a", 8200)},
	{"fields too long", 431, h + "X: " + strings.Repeat("a", 33000)},
	{"fields too long in sum", 431, h + strings.Repeat("X: "+strings.Repeat("a", 1000)+"\r\n", 40)},
	{"too many fields", 431, h + strings.Repeat("X: a\r\n", 100) + "\r\n"},
}

var chunkRefused = []string{
	"\r\n", "g\r\n", "-1\r\n", "+1\r\n", "0x1\r\n", "1 \r\n", " 1\r\n", "1\n", "1\rx\r\n", "1\r\nab", "1\r\na\n", "1\r\na\rX",
	"11111111111111111\r\n", "8000000000000000\r\n", "1;" + strings.Repeat("x", 300), "1;a\x00\r\n", "1;a\rb\r\n", "1;a\x85\r\n",
	"0\r\nX : y\r\n\r\n", "0\r\n X: y\r\n", "0\r\nX\r\n", "0\r\nX: y\n", "0\r\nX: \x01\r\n\r\n", "0\r\n\n",
	"0\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 9),
}

func TestRefused(t *testing.T) {
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) { expectRefusal(t, c.in, c.status) })
	}
	for _, c := range chunkRefused {
		t.Run(fmt.Sprintf("chunk %.20q", c), func(t *testing.T) {
			expectRefusal(t, h+"Transfer-Encoding: chunked\r\n\r\n"+c, 0)
		})
	}
}

// expectRefusal feeds in as a whole and octet by octet: both must be refused in
// the same words.
func expectRefusal(t *testing.T, in string, status int) {
	t.Helper()
	var p, q Parser
	p.ResetRequest(Limits{})
	q.ResetRequest(Limits{})
	a, b := dialogue(&p, whole(in), false), dialogue(&q, bytewise(in), false)
	if a != b {
		t.Errorf("whole and bytewise differ:\n%s\n%s", a, b)
	}
	at := strings.LastIndex(a, "violation ")
	if at < 0 {
		t.Fatalf("accepted: %s", a)
	}
	if want := fmt.Sprintf("violation %d ", status); status != 0 && !strings.HasPrefix(a[at:], want) {
		t.Errorf("got %s, want %s", a[at:], want)
	}
}
