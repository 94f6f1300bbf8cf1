package httpproxy

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// When everything fails, only a part of the requests is tried again: the others are told at
// once, and the members have hardly more to do than without retries.
func TestRetryBudget(t *testing.T) {
	const requests = 40
	var came, again atomic.Int64
	all, release := make(chan struct{}), make(chan struct{})
	serve := func(conn net.Conn, r *bufio.Reader) {
		if readMessageHead(r) == "" {
			return
		}
		n := came.Add(1)
		if n == requests {
			close(all)
		}
		if n <= requests {
			<-all // and it is closed without an answer
			return
		}
		again.Add(1)
		<-release
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
	}
	g := startGateway(t, Config{}, startOrigin(t, serve), startOrigin(t, serve))
	answers := make(chan string, requests)
	var asking sync.WaitGroup
	for range requests {
		conn := g.dial()
		asking.Go(func() {
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			answer, _ := io.ReadAll(conn) // what is cut off is no answer that is wanted
			answers <- string(answer)
		})
	}
	for range requests - leastRetries {
		if answer := <-answers; !strings.HasPrefix(answer, "HTTP/1.1 502 ") {
			t.Fatalf("want 502, got\n%s", answer)
		}
	}
	close(release)
	for range leastRetries {
		if answer := <-answers; !strings.HasPrefix(answer, "HTTP/1.1 200 ") {
			t.Errorf("tried again:\n%s", answer)
		}
	}
	asking.Wait()
	if again.Load() != leastRetries || g.table.CountersAt(0).Unretried.Load() != requests-leastRetries {
		t.Errorf("%d were tried again, and %d not; want %d and %d", again.Load(), g.table.CountersAt(0).Unretried.Load(), leastRetries, requests-leastRetries)
	}
	if left := g.table.PoolAt(0).Load().Retrying.Load(); left != 0 {
		t.Errorf("%d retries are counted that have ended", left)
	}
}
