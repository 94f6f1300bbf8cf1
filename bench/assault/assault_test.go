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
