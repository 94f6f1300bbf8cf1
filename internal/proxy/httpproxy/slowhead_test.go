package httpproxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestLentBuffers: what has come of a head is the same in other buffers, with room for more.
func TestLentBuffers(t *testing.T) {
	for _, n := range []int{0, 1, 100, smallBuffer - 1, smallBuffer, smallBuffer + 1, largeBuffer - 1} {
		x := exchanges.New().(*exchange)
		if n > smallBuffer {
			x.growIn()
		}
		want := bytes.Repeat([]byte("0123456789"), n/10+1)[:n]
		x.filled = copy(x.in, want)
		for range 3 {
			x.lend()
			if cap(x.in) > n || x.back != nil || x.out != nil {
				t.Errorf("%d octets are kept in %d", n, cap(x.in))
			}
			x.equip()
			if string(x.in[:x.filled]) != string(want) || x.filled >= len(x.in) || len(x.back) != smallBuffer || cap(x.out) != smallBuffer {
				t.Fatalf("%d octets came back as %d, in a buffer of %d", n, x.filled, len(x.in))
			}
		}
		x.shrink()
		if len(x.in) != smallBuffer || x.largeIn != nil {
			t.Errorf("after the request it reads into %d octets", len(x.in))
		}
	}
}

// TestHeadInPieces: a head that comes octet by octet, or large and in pieces, is read as one that comes at
// once, and so are the content and the request behind it.
func TestHeadInPieces(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, answering(ok2)))
	small := "POST / HTTP/1.1\r\nHost: www.test\r\nContent-Length: 5\r\n\r\nhello"
	large := "GET / HTTP/1.1\r\nHost: www.test\r\nX-A: " + strings.Repeat("a", 30<<10) + "\r\n\r\n"
	conn := g.dial()
	r := bufio.NewReader(conn)
	for _, c := range []struct {
		request string
		piece   int
	}{{small, 1}, {large, 1000}, {small + large, 7001}, {large + small, smallBuffer}} {
		for rest := c.request; rest != ""; {
			n := min(c.piece, len(rest))
			if _, err := io.WriteString(conn, rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
			runtime.Gosched() // the gateway may have it now, or with the next piece
		}
		for range strings.Count(c.request, "HTTP/1.1") {
			if head := readMessageHead(r); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
				t.Fatalf("in pieces of %d: got %q", c.piece, head)
			}
			r.Discard(2) // ok
		}
	}
}

// TestHalfHeadsTakeLittle: who sends half a head and no more has the gateway keep little beside a goroutine.
func TestHalfHeadsTakeLittle(t *testing.T) {
	if runtime.GOOS != "linux" || raceEnabled {
		t.Skip("the race detector needs memory of its own")
	}
	g := startGateway(t, Config{Limits: Limits{RequestHead: time.Hour}}, startOrigin(t, answering(ok2)))
	before := occupied()
	const many, most = 300, 28 << 10 // both ends in this process; 65 KiB with buffers
	for range many {
		fmt.Fprint(g.dial(), "GET / HTTP/1.1\r\nHost: www.test\r\nX-A: ")
	}
	for patience := time.Now().Add(30 * time.Second); ; runtime.Gosched() {
		each := (int(occupied()) - int(before)) / many
		if all := g.server.inFlight.Load() == many; all && each < most {
			t.Logf("%d octets for each", each)
			return
		}
		if time.Now().After(patience) {
			t.Fatalf("%d octets for each, want less than %d", each, most)
		}
	}
}
