package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pharos/internal/proxy/served"
	"pharos/internal/proxy/terms"
	"pharos/internal/traffic/pool"
)

// silent is an origin that never answers.
func silent(_ net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }

// withTerms is a table of two members whose route has terms.
func withTerms(t testing.TB, of terms.Terms) *served.Table {
	table := tableOf(t, "192.0.2.1:80", "192.0.2.2:80")
	table.Terms([]*terms.Terms{&of})
	return table
}

func TestRouteTimeouts(t *testing.T) {
	for _, c := range []struct {
		name   string
		terms  terms.Terms
		origin func(net.Conn, *bufio.Reader)
		after  time.Duration
		want   string
	}{
		{"per try, until all are asked", terms.Terms{PerTry: 2 * time.Second}, silent, 4 * time.Second, "HTTP/1.1 504 "},
		{"total ends the second try", terms.Terms{PerTry: 2 * time.Second, Total: 3 * time.Second}, silent, 3 * time.Second, "HTTP/1.1 504 "},
		{"one try", terms.Terms{PerTry: 2 * time.Second, Tries: 1}, silent, 2 * time.Second, "HTTP/1.1 504 "},
		{"no retry of time-outs", terms.Terms{PerTry: 2 * time.Second, On: &terms.Retrying{Connect: true, Reset: true}}, silent, 2 * time.Second, "HTTP/1.1 504 "},
		{"per try is longer than the server's limit", terms.Terms{PerTry: 45 * time.Second, Tries: 1}, silent, 45 * time.Second, "HTTP/1.1 504 "},
		{"total cuts a response", terms.Terms{Total: 5 * time.Second}, trickling("text/plain"), 5 * time.Second, "HTTP/1.1 200 "},
		{"total does not cut events", terms.Terms{Total: 5 * time.Second}, trickling("text/event-stream; charset=utf-8"), 20 * time.Second, "HTTP/1.1 200 "},
		{"unless it is for streams, too", terms.Terms{Total: 5 * time.Second, Streams: true}, trickling("text/event-stream"), 5 * time.Second, "HTTP/1.1 200 "},
		{"idle is shorter than the server's limit", terms.Terms{Idle: 3 * time.Second}, pausing(time.Hour), 3 * time.Second, "HTTP/1.1 200 "},
		{"idle is longer than the server's limit", terms.Terms{Idle: time.Minute}, pausing(50 * time.Second), 50 * time.Second, "HTTP/1.1 200 "},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubbleWith(t, Limits{}, withTerms(t, c.terms), c.origin, func(conn net.Conn) {
				io.WriteString(conn, get(byeField))
				began := time.Now()
				got, _ := io.ReadAll(conn)
				if took := time.Since(began); took < c.after-tick || took > c.after+5*tick {
					t.Errorf("ended after %v, want %v", took, c.after)
				}
				if !strings.HasPrefix(string(got), c.want) {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestTryDeadline: a clock that lags, as on a busy machine, neither shortens a try nor has it
// end before a whole time that is no longer.
func TestTryDeadline(t *testing.T) {
	began := time.Now()
	c := &client{server: &Server{began: began}} // its coarse clock stands still
	x := &exchange{began: began.Add(time.Second), asked: began.Add(time.Second)}
	x.terms = &terms.Terms{PerTry: 300 * time.Millisecond}
	wantAt := func(want time.Duration) {
		t.Helper()
		c.setTryDeadline(x)
		if at := time.Duration(c.deadline.Load()); at != want {
			t.Errorf("overdue at %v, want %v", at, want)
		}
	}
	wantAt(1300 * time.Millisecond)
	x.terms.Total = 300 * time.Millisecond
	c.beginTerms(x)
	c.server.now.Store(c.until.Load())
	wantAt(1300 * time.Millisecond)
	if !c.isPastTotal() {
		t.Error("the try ends before the whole time does")
	}
}

// pausing is an origin that begins a response, and ends it after a while.
func pausing(d time.Duration) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\nbegun")
		ended := make(chan struct{})
		go func() { defer close(ended); io.Copy(io.Discard, r) }()
		select {
		case <-time.After(d):
		case <-ended:
		}
	}
}

// The time of the whole request is not that of a tunnel, whose silence is bounded.
func TestTunnelTimeouts(t *testing.T) {
	fields := "Connection: Upgrade\r\nUpgrade: x\r\n"
	for _, c := range []struct {
		terms terms.Terms
		after time.Duration
	}{
		{terms.Terms{Total: 5 * time.Second, Idle: time.Minute}, time.Minute},
		{terms.Terms{Total: 5 * time.Second, Idle: time.Minute, Streams: true}, 5 * time.Second},
	} {
		inBubbleWith(t, Limits{}, withTerms(t, c.terms), switching(fields), func(conn net.Conn) {
			io.WriteString(conn, upgradeRequest("x"))
			expectAfter(t, conn, c.after-tick, "HTTP/1.1 101 ")
		})
	}
}

// TestTotalWhileConnecting: the whole time may end before there is a connection. That is no
// failure of the member, and no other one is asked.
func TestTotalWhileConnecting(t *testing.T) {
	var dialled atomic.Int64
	g := startGateway(t, Config{Dial: func(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
		dialled.Add(1)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, "192.0.2.1:80", "192.0.2.2:80")
	g.table.Terms([]*terms.Terms{{Total: 50 * time.Millisecond}})
	g.publish(g.table)
	if got := g.ask(get(byeField)); !strings.HasPrefix(got, "HTTP/1.1 504 ") || !strings.Contains(got, kindTotal) {
		t.Errorf("got %q", got)
	}
	if n := dialled.Load(); n != 1 {
		t.Errorf("%d members were asked in the time of one", n)
	}
}

// A call of gRPC is bounded by the time that its client gives it, if that is shorter than the
// route's; without one it lasts as long as it will.
func TestGRPCTimeout(t *testing.T) {
	ended := make(chan struct{})
	g := startGateway(t, Config{}, startOrigin(t, func(conn net.Conn, r *bufio.Reader) {
		head := readMessageHead(r)
		if strings.Contains(head, " /long ") {
			<-ended
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nContent-Length: 2\r\n\r\nok")
			return
		}
		io.Copy(io.Discard, r)
	}))
	g.table.Terms([]*terms.Terms{{Total: 300 * time.Millisecond, Tries: 1}})
	g.publish(g.table)
	c := dial2(g)
	call := func(stream uint32, path string, more ...string) {
		c.head(stream, true, append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "h", "content-type", "application/grpc", "te", "trailers"}, more...)...)
	}
	call(1, "/long")
	call(3, "/short", "grpc-timeout", "1m")
	if got := grpcStatus(c); got != "3 grpc-status 4" { // DEADLINE_EXCEEDED
		t.Errorf("a call beyond its client's time: %s", got)
	}
	call(5, "/short", "grpc-timeout", "1H")
	if got := grpcStatus(c); got != "5 grpc-status 4" {
		t.Errorf("a call beyond its route's time: %s", got)
	}
	close(ended)
	c.want("1 status 200", `1 data "ok" end`)
}

// grpcStatus returns what the next head says.
func grpcStatus(c *conn2) string {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return err.Error()
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok {
			for _, field := range h.Fields {
				if field.Name == "grpc-status" {
					return fmt.Sprintf("%d grpc-status %s", h.StreamID, field.Value)
				}
			}
			return fmt.Sprintf("%d %v", h.StreamID, h.Fields)
		}
	}
}

// A status that the route names has the request go to another member: one that may be
// repeated, and while there is another one. The last response is the client's.
func TestRetryStatus(t *testing.T) {
	const busy = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
	on503 := &terms.Retrying{Connect: true, Statuses: []int{502, 503}}
	for _, c := range []struct {
		name, request, second, want string
		terms                       terms.Terms
		tries                       int64
	}{
		{"named", get(byeField), ok2, "ok", terms.Terms{On: on503}, 2},
		{"the last one's is passed on", get(byeField), busy, "busy", terms.Terms{On: on503}, 2},
		{"not what may have been done", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n" + byeField + "\r\n", ok2, "busy", terms.Terms{On: on503}, 1},
		{"not another status", get(byeField), ok2, "busy", terms.Terms{On: &terms.Retrying{Connect: true, Statuses: []int{502}}}, 1},
		{"not beyond the tries", get(byeField), ok2, "busy", terms.Terms{Tries: 1, On: on503}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var asked atomic.Int64
			turns := func(conn net.Conn, r *bufio.Reader) {
				for readMessageHead(r) != "" {
					if asked.Add(1) == 1 {
						io.WriteString(conn, busy)
					} else {
						io.WriteString(conn, c.second)
					}
				}
			}
			g := startGateway(t, Config{}, startOrigin(t, turns), startOrigin(t, turns))
			g.table.PoolAt(0).Publish(withoutOpinions(g.table.PoolAt(0).View()))
			g.table.Terms([]*terms.Terms{&c.terms})
			g.publish(g.table)
			if got := g.ask(c.request); !strings.HasSuffix(got, c.want) {
				t.Errorf("got\n%s\nwant %s", got, c.want)
			}
			if asked.Load() != c.tries {
				t.Errorf("%d members were asked, want %d", asked.Load(), c.tries)
			}
			if left := g.table.PoolAt(0).Load().Retrying.Load(); left != 0 {
				t.Errorf("%d retries are counted that have ended", left)
			}
		})
	}
}

// withoutOpinions is a view in which errors have nobody else asked by themselves.
func withoutOpinions(v *pool.View) *pool.View {
	spec := v.Whole()
	spec.Passive.Off = true
	return pool.Compile(spec, nil, nil)
}

// What the route does not name has no retry, whatever may be repeated.
func TestRetryOn(t *testing.T) {
	for _, c := range []struct {
		name  string
		on    *terms.Retrying
		first func(net.Conn, *bufio.Reader)
		want  string
	}{
		{"reset", &terms.Retrying{Reset: true}, func(_ net.Conn, r *bufio.Reader) { readMessageHead(r) }, "200"},
		{"no reset", &terms.Retrying{Connect: true, Timeout: true}, func(_ net.Conn, r *bufio.Reader) { readMessageHead(r) }, "502"},
	} {
		var asked atomic.Int64
		turns := func(conn net.Conn, r *bufio.Reader) {
			if asked.Add(1) == 1 {
				c.first(conn, r)
				return
			}
			echo2(conn, r)
		}
		g := startGateway(t, Config{}, startOrigin(t, turns), startOrigin(t, turns))
		g.table.Terms([]*terms.Terms{{On: c.on}})
		g.publish(g.table)
		if got := g.ask(get(byeField)); !strings.HasPrefix(got, "HTTP/1.1 "+c.want) {
			t.Errorf("%s: got\n%s", c.name, got)
		}
	}
}
