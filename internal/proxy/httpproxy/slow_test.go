package httpproxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/proxy/served"
)

// pipeListener gives connections of net.Pipe, which live in a bubble of
// synctest, where time passes only when everybody waits.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// inBubble runs a dialogue between a client and an origin, with the gateway
// between them and a fake clock.
func inBubble(t *testing.T, limits Limits, origin func(net.Conn, *bufio.Reader), client func(net.Conn)) {
	inBubbleWith(t, limits, tableOf(t, "192.0.2.1:80"), origin, client)
}

// inBubbleWith is inBubble for another table.
func inBubbleWith(t *testing.T, limits Limits, table *served.Table, origin func(net.Conn, *bufio.Reader), client func(net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		var origins sync.WaitGroup
		defer origins.Wait()
		s := New(Config{Limits: limits, Table: func() *served.Table { return table },
			Dial: func(context.Context, netip.AddrPort) (net.Conn, error) {
				near, far := net.Pipe()
				origins.Go(func() { defer far.Close(); origin(far, bufio.NewReader(far)) })
				return near, nil
			}})
		l := &pipeListener{make(chan net.Conn), make(chan struct{})}
		go s.Serve(l)
		near, far := net.Pipe()
		l.conns <- far
		client(near)
		near.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// expectAfter reads from conn until it is closed and checks what came, and that
// it came after limit and not much later.
func expectAfter(t *testing.T, conn net.Conn, limit time.Duration, prefix string) {
	t.Helper()
	began := time.Now()
	got, _ := io.ReadAll(conn)
	if took := time.Since(began); took < limit || took > limit+3*tick {
		t.Errorf("ended after %v, want %v", took, limit)
	}
	if !strings.HasPrefix(string(got), prefix) || prefix == "" && len(got) > 0 {
		t.Errorf("got %q, want %q", got, prefix)
	}
}

func echo2(conn net.Conn, r *bufio.Reader) { answering(ok2)(conn, r) }

func TestSlowClients(t *testing.T) {
	t.Run("never sends anything", func(t *testing.T) {
		inBubble(t, Limits{Idle: 30 * time.Second}, echo2, func(conn net.Conn) {
			expectAfter(t, conn, 30*time.Second, "")
		})
	})
	t.Run("half a head", func(t *testing.T) {
		inBubble(t, Limits{}, echo2, func(conn net.Conn) {
			io.WriteString(conn, "GET / HT")
			expectAfter(t, conn, 10*time.Second, "HTTP/1.1 408 ")
		})
	})
	t.Run("a head that trickles: the limit is absolute", func(t *testing.T) {
		inBubble(t, Limits{}, echo2, func(conn net.Conn) {
			var trickle sync.WaitGroup
			defer trickle.Wait()
			trickle.Go(func() {
				for i := 0; ; i++ {
					if _, err := fmt.Fprintf(conn, "%c", "GET / HTTP/1.1\r\nHost: h\r\n"[min(i, 20)]); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			expectAfter(t, conn, 10*time.Second, "HTTP/1.1 408 ")
		})
	})
	t.Run("content that stops", func(t *testing.T) {
		inBubble(t, Limits{}, echo2, func(conn net.Conn) {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
			expectAfter(t, conn, 20*time.Second, "HTTP/1.1 408 ")
		})
	})
	t.Run("large content that stops", func(t *testing.T) {
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, func(conn net.Conn) {
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\nabc")
			expectAfter(t, conn, 20*time.Second, "HTTP/1.1 408 ")
		})
	})
	t.Run("content below the least rate", func(t *testing.T) {
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, func(conn net.Conn) {
			var trickle sync.WaitGroup
			defer trickle.Wait()
			trickle.Go(func() {
				io.WriteString(conn, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
				for {
					if _, err := conn.Write([]byte{'x'}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
			expectAfter(t, conn, 31*time.Second, "HTTP/1.1 408 ")
		})
	})
	t.Run("does not read the response", func(t *testing.T) {
		inBubble(t, Limits{}, echo2, func(conn net.Conn) {
			io.WriteString(conn, get(""))
			time.Sleep(19 * time.Second)
			synctest.Wait()
			time.Sleep(2 * time.Second)
			if got, err := io.ReadAll(conn); len(got) > 0 {
				t.Errorf("still got %q, %v", got, err)
			}
		})
	})
}

func TestSlowOrigins(t *testing.T) {
	t.Run("never answers", func(t *testing.T) {
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) { io.Copy(io.Discard, r) }, func(conn net.Conn) {
			io.WriteString(conn, get(byeField))
			expectAfter(t, conn, 30*time.Second, "HTTP/1.1 504 ")
		})
	})
	t.Run("stops within the response", func(t *testing.T) {
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) {
			readMessageHead(r)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\nabc")
			io.Copy(io.Discard, r)
		}, func(conn net.Conn) {
			io.WriteString(conn, get(byeField))
			expectAfter(t, conn, 30*time.Second, "HTTP/1.1 200 ")
		})
	})
	t.Run("stops within a response that nothing was passed on of", func(t *testing.T) {
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) {
			readMessageHead(r)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
			io.Copy(io.Discard, r)
		}, func(conn net.Conn) {
			io.WriteString(conn, get(byeField))
			expectAfter(t, conn, 30*time.Second, "HTTP/1.1 504 ")
		})
	})
	t.Run("a slow answer within the limit", func(t *testing.T) {
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) {
			for readMessageHead(r) != "" {
				time.Sleep(29 * time.Second)
				io.WriteString(conn, ok2)
			}
		}, func(conn net.Conn) {
			io.WriteString(conn, get(""))
			r := bufio.NewReader(conn)
			readMessageHead(r)
			r.Discard(2)
			io.WriteString(conn, get(byeField))
			expectAfter(t, conn, 29*time.Second-tick, "HTTP/1.1 200 ")
		})
	})
	t.Run("a stream of events is not the client's slowness", func(t *testing.T) {
		const events = 2000
		inBubble(t, Limits{}, func(conn net.Conn, r *bufio.Reader) {
			readMessageHead(r)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
			for range events {
				time.Sleep(time.Second)
				io.WriteString(conn, "data: x\n\n")
			}
		}, func(conn net.Conn) {
			io.WriteString(conn, get(byeField))
			got, err := io.ReadAll(conn)
			if n := strings.Count(string(got), "data: x\n\n"); n != events || err != nil {
				t.Errorf("got %d events, %v", n, err)
			}
		})
	})
	t.Run("a tunnel that is silent", func(t *testing.T) {
		fields := "Connection: Upgrade\r\nUpgrade: x\r\n"
		inBubble(t, Limits{Tunnel: time.Minute}, switching(fields), func(conn net.Conn) {
			io.WriteString(conn, upgradeRequest("x"))
			expectAfter(t, conn, time.Minute, "HTTP/1.1 101 ")
		})
	})
}

// trickling is an origin that sends a piece of content each second, twenty in all.
func trickling(kind string) func(net.Conn, *bufio.Reader) {
	return func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n\r\n", kind)
		for range 20 {
			time.Sleep(time.Second) // in a bubble
			if _, err := io.WriteString(conn, "data: x\n\n"); err != nil {
				return
			}
		}
	}
}

// A client that takes a large response in drops is cut off (slow read): each of its reads is
// in time, all of them together are not.
func TestSlowReaders(t *testing.T) {
	const pieces, piece = 100, 2000
	inBubble(t, Limits{MinRate: 1000}, func(conn net.Conn, r *bufio.Reader) {
		readMessageHead(r)
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat("x", 2*smallBuffer))
		for range pieces {
			if _, err := io.WriteString(conn, strings.Repeat("y", piece)); err != nil {
				return
			}
		}
	}, func(conn net.Conn) {
		io.WriteString(conn, get(""))
		began, room := time.Now(), make([]byte, piece)
		for {
			n, err := conn.Read(room)
			if err != nil {
				break
			}
			if strings.Contains(string(room[:n]), "yy") {
				time.Sleep(5 * time.Second)
			}
		}
		if took := time.Since(began); took < 30*time.Second || took > 2*time.Minute {
			t.Errorf("cut off after %v, want some time after 30 s", took)
		}
	})
}
