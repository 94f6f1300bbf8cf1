//go:build linux

package assault

import (
	"bytes"
	"context"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestEachKind: each attack comes, about as often as it is to, and ends when it is to, with
// a server that takes everything.
func TestEachKind(t *testing.T) {
	for i, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var came atomic.Int64
			var serving sync.WaitGroup
			serving.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					serving.Go(func() {
						defer conn.Close()
						came.Add(1)
						conn.Read(make([]byte, 64<<10)) // of which nothing is known: its end takes it back
					})
				}
			})
			made := 0
			for tries := 0; made == 0 || came.Load() == 0; tries++ { // once, unless the machine stands still
				var out bytes.Buffer
				if err := Main([]string{strconv.Itoa(i), l.Addr().String(), "100", "200"}, &out); err != nil {
					t.Fatal(err)
				}
				if made, err = strconv.Atoi(strings.TrimSpace(out.String())); err != nil {
					t.Fatal(err)
				}
				if tries == 50 {
					t.Fatalf("%d made, %d have come", made, came.Load())
				}
			}
			l.Close()
			serving.Wait()
		})
	}
	if err := Main([]string{"0"}, new(bytes.Buffer)); err == nil {
		t.Error("too few arguments are taken")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	run(ctx, &Kinds[0], "127.0.0.1:1", 100) // nobody is there: it ends nevertheless
}

// TestSink: a process that only reads takes each attack, and ends the connections that a gateway would.
func TestSink(t *testing.T) {
	for i, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			s, err := newSink(k.cut(), 0)
			if err != nil {
				t.Fatal(err)
			}
			go s.run() // ends with the process
			to := "127.0.0.1:" + strconv.Itoa(s.port)
			for made, tries := 0, 0; made == 0; tries++ {
				var out bytes.Buffer
				if err := Main([]string{strconv.Itoa(i), to, "100", "100"}, &out); err != nil {
					t.Fatal(err)
				}
				made, _ = strconv.Atoi(strings.TrimSpace(out.String()))
				if tries == 50 {
					t.Fatal("nobody has attacked")
				}
			}
			if !k.cut() {
				return
			}
			conn, err := net.Dial("tcp", to)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.Write([]byte("anything"))
			if n, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("the sink has said %d octets, want the connection closed", n)
			}
		})
	}
	for _, bad := range [][]string{nil, {"0"}, {"x", "1"}, {"99", "1"}, {"0", "x"}} {
		if err := Drain(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
