package httpproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pharos/internal/proxy/breaker"
	"pharos/internal/proxy/terms"
)

const (
	callHead    = "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n"
	callFine    = callHead + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 0\r\n\r\n"
	callLost    = callHead + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nGrpc-Status: 14\r\n\r\n"
	callRefused = callHead + "Grpc-Status: 14\r\nContent-Length: 0\r\n\r\n" // "Trailers-Only"
	callWrong   = callHead + "Grpc-Status: 5\r\nContent-Length: 0\r\n\r\n"  // NOT_FOUND: the caller's affair
	callSilent  = callHead + "Content-Length: 2\r\n\r\nok"
)

// call sends a call of gRPC with a message on a stream: in one piece, as clients do.
func (c *conn2) call(stream uint32, trailers ...string) {
	framer, piece := c.Framer, new(bytes.Buffer)
	c.Framer = http2.NewFramer(piece, nil)
	defer func() {
		c.Framer = framer
		c.conn.Write(piece.Bytes())
	}()
	c.head(stream, false, ":method", "POST", ":scheme", "http", ":path", "/shop.Orders/Place", ":authority", "h", "content-type", "application/grpc", "te", "trailers")
	c.WriteData(stream, len(trailers) == 0, []byte("order"))
	if len(trailers) > 0 {
		c.head(stream, true, trailers...)
	}
}

// inTurns is an origin server of calls, or several, that give the answers one after the other,
// the last one for ever.
func inTurns(asked *atomic.Int64, answers ...string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		for {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			n := int(asked.Add(1)) - 1
			io.WriteString(conn, answers[min(n, len(answers)-1)])
		}
	}
}

// Calls that fail have the status 200: their breaker goes by grpc-status, in the head or at the
// end, and by nothing that clients say.
func TestBreakerOfCalls(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		trailers     []string
		opens        bool
	}{
		{"UNAVAILABLE without a message", callRefused, nil, true},
		{"UNAVAILABLE behind a message", callLost, nil, true},
		{"well", callFine, nil, false},
		{"NOT_FOUND", callWrong, nil, false},
		{"the client says so itself", callSilent, []string{"grpc-status", "14"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			g := startGateway(t, Config{}, startOrigin(t, inTurns(&asked, c.answer)))
			g.table.Breakers(map[string]breaker.Rules{"web": {ErrorRate: 50, MinRequests: 3, Window: time.Minute, Open: time.Hour, Trials: 1}}, nil)
			g.publish(g.table)
			conn := dial2(g)
			calls, isOpen := uint32(0), false
			for calls < 10 && !isOpen { // the end of a call may be told before its breaker knows
				conn.call(2*calls+1, c.trailers...)
				conn.ended(2*calls + 1)
				calls++
				isOpen = g.table.ReadBreakers(time.Now())[0].State == breaker.Open
			}
			if isOpen != c.opens || isOpen && calls < 3 {
				t.Errorf("the breaker is open: %t after %d calls, want %t", isOpen, calls, c.opens)
			}
			if isOpen {
				before := asked.Load()
				conn.call(2*calls + 1)
				if got := grpcStatus(conn); got != fmt.Sprintf("%d grpc-status 14", 2*calls+1) || asked.Load() != before {
					t.Errorf("a call while it is open: %s, and the server was asked %d times more", got, asked.Load()-before)
				}
			}
		})
	}
}

// ended waits for the end of a stream.
func (c *conn2) ended(stream uint32) {
	c.t.Helper()
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.t.Fatal(err)
		}
		if h := f.Header(); h.StreamID == stream && h.Flags&1 != 0 && h.Type <= 1 { // END_STREAM of DATA or HEADERS
			return
		}
	}
}

// A call that is answered with an outcome that the route names goes to another member, as long
// as there was no message.
func TestRetryOfCalls(t *testing.T) {
	unavailable := &terms.Retrying{Connect: true, Codes: []int{14}}
	for _, c := range []struct {
		name, first string
		on          *terms.Retrying
		tries       int64
		want        string
	}{
		{"named", callRefused, unavailable, 2, "1 grpc-status 0"},
		{"not named", callRefused, &terms.Retrying{Connect: true, Codes: []int{8}}, 1, "1 grpc-status 14"},
		{"statuses are not meant", callRefused, &terms.Retrying{Connect: true, Statuses: []int{200, 503}}, 1, "1 grpc-status 14"},
		{"another outcome", callWrong, unavailable, 1, "1 grpc-status 5"},
		{"there was a message", callLost, unavailable, 1, "1 grpc-status 14"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			serve := inTurns(&asked, c.first, callFine)
			g := startGateway(t, Config{}, startOrigin(t, serve), startOrigin(t, serve))
			g.table.Terms([]*terms.Terms{{On: c.on}})
			g.publish(g.table)
			conn := dial2(g)
			conn.call(1)
			got := grpcStatus(conn)
			for !strings.Contains(got, "grpc-status") && strings.Contains(got, ":status") { // the head before a message
				got = grpcStatus(conn)
			}
			if got != c.want || asked.Load() != c.tries {
				t.Errorf("got %s after %d tries, want %s after %d", got, asked.Load(), c.want, c.tries)
			}
		})
	}
}
