package doh

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// TestManyAtOnce: a connection carries any number of queries, many at a time, answers that are
// there at once among such that come later, each to its question.
func TestManyAtOnce(t *testing.T) {
	s := start(t, dnsserver.Limits{InFlight: 40})
	go func() { // ends with the test's process
		for d := range s.deferred {
			var out dnswire.Builder
			out.Reset(d.Query(), make([]byte, 2000), d.Limit())
			d.Send(out.Finish())
		}
	}()
	s.isServed(t) // from now on all share its connection
	const clients, each = 16, 400
	names := [...]string{"www.example.", "later.example.", "drop.example."}
	var asking sync.WaitGroup
	for i := range clients {
		asking.Go(func() {
			for n := range each {
				name := names[0]
				if n%10 == i%10 {
					name = names[1+n/10%2]
				}
				asked := query(t, name)
				resp, err := s.client.Post(s.url("/dns-query"), mediaType, bytes.NewReader(asked))
				if name == names[2] {
					if err == nil {
						resp.Body.Close()
						t.Errorf("a query without an answer: %s", resp.Status)
					}
					continue
				}
				if err != nil {
					t.Errorf("query %d for %s: %v", n, name, err)
					return
				}
				answer, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK || err != nil || len(answer) < len(asked) || !bytes.Equal(answer[12:len(asked)], asked[12:]) {
					t.Errorf("query %d for %s: %s, %x, %v", n, name, resp.Status, answer, err)
					return
				}
			}
		})
	}
	asking.Wait()
	if c := s.Counts(dnsserver.DoH); c.Of(dnsserver.Connections) != 1 {
		t.Errorf("%d connections, want 1", c.Of(dnsserver.Connections))
	}
}

// TestStop: who waits for an answer when the server stops has it; what comes after is told to
// go elsewhere, and the connection ends.
func TestStop(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	s.isServed(t)
	late := make(chan string, 1)
	go func() {
		resp, err := s.client.Get(s.url(get(t, "later.example.")))
		if err != nil {
			late <- err.Error()
			return
		}
		resp.Body.Close()
		late <- resp.Status
	}()
	d := <-s.deferred
	stopped := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		stopped <- s.Shutdown(ctx)
	}()
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	if err := d.Send(out.Finish()); err != nil {
		t.Error(err)
	}
	if got := <-late; got != "200 OK" {
		t.Errorf("the answer that was waited for: %s", got)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestResetWhileAsked: a client that resets a request whose answer is not there yet has its
// stream forgotten, and the connection goes on.
func TestResetWhileAsked(t *testing.T) {
	s := start(t, dnsserver.Limits{})
	a := s.attack(t)
	ask := func(id uint32, name string) {
		t.Helper()
		if err := a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.head(get(t, name)), EndStream: true, EndHeaders: true}); err != nil {
			t.Fatal(err)
		}
	}
	ask(1, "later.example.")
	d := <-s.deferred
	if err := a.WriteRSTStream(1, http2.ErrCodeCancel); err != nil {
		t.Fatal(err)
	}
	ask(3, "www.example.")
	for answered := false; !answered; {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if f.Header().StreamID == 1 {
			t.Errorf("a stream that was reset gets %v", f)
		}
		answered = f.Header().StreamID == 3 && f.Header().Type == http2.FrameData
	}
	var out dnswire.Builder
	out.Reset(d.Query(), make([]byte, 2000), d.Limit())
	d.Send(out.Finish()) // nobody takes it; whether it is said to be gone depends on who comes first
	s.isServed(t)
}
