package httpproxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// seeds are honest requests with every framing there is; their mutations are
// mostly not.
var seeds = []string{
	"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x\r\n!\r\n0\r\nT: u\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nX: Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n0123456",
	"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n",
}

// splices are what smuggling is made of.
var splices = []string{"\r\n", "\r", "\n", "\n\n", " ", "\t", "\v", "\x00", "\x85", ":", ",", ";", "0", "+", "-", "0x", "chunked", "identity", "5",
	"Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-Encoding: identity\r\n", "Host: b\r\n", "Expect: 100-continue\r\n", "\r\n\r\n", "0\r\n\r\n", "ffffffffffffffff", "00000000000000000005"}

func mutate(r *rand.Rand, in []byte) []byte {
	out := bytes.Clone(in)
	for range 1 + r.IntN(3) {
		at := r.IntN(len(out) + 1)
		switch r.IntN(4) {
		case 0: // put something in
			out = append(out[:at:at], append([]byte(splices[r.IntN(len(splices))]), out[at:]...)...)
		case 1: // take something out
			out = append(out[:at:at], out[min(at+1+r.IntN(4), len(out)):]...)
		case 2: // change an octet
			if at < len(out) {
				out[at] ^= 1 << r.IntN(8)
			}
		case 3: // say something twice
			end := min(at+r.IntN(30), len(out))
			out = append(out[:end:end], out[at:]...)
		}
	}
	return out
}

// TestMutatedFraming: whatever is made of honest requests and of the published
// cases, the origin sees exactly the requests that the strict reader sees, and
// nothing that is not one.
func TestMutatedFraming(t *testing.T) {
	inputs := [][]byte{}
	for _, s := range seeds {
		inputs = append(inputs, []byte(s))
	}
	if unzipped, err := gzip.NewReader(sharedFile(t, "conformance/request-framing.jsonl.gz")); err == nil {
		for lines := json.NewDecoder(unzipped); ; {
			var c struct {
				Raw []byte `json:"raw_b64"`
			}
			if lines.Decode(&c) == io.EOF {
				break
			}
			if len(inputs)%7 == 0 {
				inputs = append(inputs, c.Raw)
			} else {
				inputs = append(inputs, []byte(seeds[len(inputs)%len(seeds)]))
			}
		}
	}
	rec := new(recorder)
	g := startGateway(t, Config{}, startOrigin(t, rec.serve))
	r := rand.New(rand.NewPCG(1, 2))
	rejected, clean := 0, 0
	for _, in := range inputs {
		raw := mutate(r, in)
		answer := g.ask(string(raw))
		got, faults := rec.take()
		if len(got) == 0 && len(faults) == 0 {
			rejected++ // refused, or not even a whole head
			continue
		}
		if fault := judge(raw, answer, got, faults); fault != "" {
			t.Errorf("%s\nsent %q\nanswer %q", fault, raw, answer)
		}
		clean++
	}
	t.Logf("mutated requests: %d not forwarded, %d forwarded clean", rejected, clean)
	if clean == 0 || rejected == 0 {
		t.Error("the mutations prove nothing")
	}
}

// answers are honest responses, some with what must never be read behind them.
var answers = []string{
	ok2,
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
	"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
	ok2 + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
}

// TestMutatedResponses: whatever an origin answers, the client reads a whole
// response or sees the connection break; and the answer to the next request is
// always the answer to the next request.
func TestMutatedResponses(t *testing.T) {
	const cases, atOnce = 600, 60
	r := rand.New(rand.NewPCG(3, 4))
	var running sync.WaitGroup
	turn := make(chan struct{}, atOnce)
	var answered atomic.Int64 // second requests
	for range cases {
		first := mutate(r, []byte(answers[r.IntN(len(answers))]))
		turn <- struct{}{}
		running.Go(func() {
			defer func() { <-turn }()
			origin := startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
				for head := readMessageHead(r); head != ""; head = readMessageHead(r) {
					if strings.Contains(head, " /first ") {
						conn.Write(first)
					} else {
						io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond")
					}
				}
			})
			// POST, so that nothing is sent twice; the limit ends the wait for what a
			// mutation has cut away. It may also end that for an origin that is slow.
			g := startGateway(t, Config{Limits: Limits{Response: 500 * time.Millisecond}}, origin)
			conn := g.dial()
			r := bufio.NewReader(conn)
			ask := func(path string) (status int, content string, open bool) {
				io.WriteString(conn, "POST "+path+" HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
				for {
					resp, err := http.ReadResponse(r, nil)
					if err != nil {
						return 0, "", false
					}
					content, err := io.ReadAll(resp.Body)
					if resp.StatusCode >= 200 {
						return resp.StatusCode, string(content), err == nil && !resp.Close
					}
				}
			}
			if _, _, open := ask("/first"); !open {
				return
			}
			switch status, got, _ := ask("/second"); {
			case got == "second":
				answered.Add(1)
			case status != http.StatusGatewayTimeout:
				t.Errorf("after %q the next answer is %d, %q", first, status, got)
			}
		})
	}
	running.Wait()
	if answered.Load() == 0 {
		t.Error("no second request was answered")
	}
}
