package httpproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"pharos/lab/peers"
	"pharos/lab/tools"
)

// reader is a server that reads octets as HTTP/1.1: what it takes for a request it
// tells its recorder.
type reader struct {
	name    string
	address string
	seen    *recorder
}

// startReaders starts what an origin server behind the gateway may be: nginx and HAProxy,
// which tell what they read by passing it on, and Go's net/http.
func startReaders(t *testing.T) []reader {
	t.Helper()
	all := []reader{startNetHTTP(t)}
	for _, kind := range []peers.Kind{peers.Nginx, peers.HAProxy} {
		tools.Need(t, string(kind))
		rec := new(recorder)
		behind := startOrigin(t, rec.serve)
		address, err := peers.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		server, err := peers.StartWith(t.Context(), kind, address, t.TempDir(), readerConfig(kind, address, behind))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Stop)
		for listens := false; !listens; {
			conn, err := net.Dial("tcp", address.String())
			if listens = err == nil; listens {
				conn.Close()
			} else if server.Ended() {
				t.Fatalf("%s has ended:\n%s", kind, server.Log())
			}
		}
		all = append(all, reader{string(kind), address.String(), rec})
	}
	return all
}

func readerConfig(kind peers.Kind, address netip.AddrPort, behind string) string {
	if kind == peers.HAProxy {
		return fmt.Sprintf(`global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 10s
    timeout server 10s
frontend reader
    bind %s
    default_backend recorder
backend recorder
    server recorder %s
`, address, behind)
	}
	return fmt.Sprintf(`daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    merge_slashes off;
    underscores_in_headers on;
    server {
        listen %s;
        location / { proxy_pass http://%s; proxy_http_version 1.1; }
    }
}
`, address, behind)
}

func startNetHTTP(t *testing.T) reader {
	t.Helper()
	rec := new(recorder)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, err := io.ReadAll(r.Body)
		rec.mu.Lock()
		defer rec.mu.Unlock()
		if err != nil {
			rec.faults = append(rec.faults, err)
			return
		}
		rec.requests = append(rec.requests, plainRequest{method: r.Method, target: r.RequestURI, content: string(content)})
	})}
	var served sync.WaitGroup
	served.Go(func() { s.Serve(l) })
	t.Cleanup(func() {
		s.Close()
		served.Wait()
	})
	return reader{"net/http", l.Addr().String(), rec}
}

// readsSo reports what r makes of octets that the gateway has forwarded as requests, and
// of one more request behind them.
func (r *reader) readsSo(t *testing.T, octets []byte, want []plainRequest) (refused bool, err error) {
	t.Helper()
	conn := dial(t, r.address)
	defer conn.Close()
	if _, err := conn.Write(append(bytes.Clone(octets), "GET /end HTTP/1.1\r\nHost: end\r\nConnection: close\r\n\r\n"...)); err != nil && !isReset(err) {
		return false, err
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !isReset(err) {
		return false, fmt.Errorf("it waits for more: %w", err)
	}
	got, faults := r.seen.take()
	if len(faults) > 0 {
		return false, fmt.Errorf("it passes on what is no request: %v", faults)
	}
	want = append(slices.Clone(want), plainRequest{method: "GET", target: "/end"})
	for i, q := range got {
		if i == len(want) || q.method != want[i].method || q.target != want[i].target || q.content != want[i].content {
			return false, fmt.Errorf("request %d: it reads %+v of %+v", i, q, want)
		}
	}
	refused = bytes.Contains(answer, []byte("HTTP/1.1 4")) || bytes.Contains(answer, []byte("HTTP/1.1 5"))
	if len(got) < len(want) && !refused {
		return false, fmt.Errorf("it reads %d requests of %d, and refuses none", len(got), len(want))
	}
	return refused, nil
}

func isReset(err error) bool {
	var ne net.Error
	return err != nil && (!errors.As(err, &ne) || !ne.Timeout())
}

// TestFramingOfOthers: what the gateway forwards, nginx, HAProxy and net/http read as the
// same requests. They may refuse one, but none may see other requests in the octets.
// PHAROS_FRAMINGS says how many mutations are tried.
func TestFramingOfOthers(t *testing.T) {
	readers := startReaders(t)
	rec := new(recorder)
	g := startGateway(t, Config{}, startOrigin(t, rec.serve))
	inputs := framingCases(t)
	whole := len(inputs)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range tools.Number(t, "PHAROS_FRAMINGS", 1500) {
		from := []byte(seeds[i%len(seeds)])
		if i%8 == 0 { // these are refused, nearly all
			from = inputs[r.IntN(whole)]
		}
		inputs = append(inputs, mutate(r, from))
	}
	forwarded, refused := 0, map[string]int{}
	for _, in := range inputs {
		g.ask(string(in))
		octets := rec.takeOctets()
		want, _ := rec.take()
		if len(want) == 0 {
			continue
		}
		forwarded++
		for _, reader := range readers {
			no, err := reader.readsSo(t, octets, want)
			if err != nil {
				t.Errorf("%s: %v\nsent to the gateway %q\nforwarded %q", reader.name, err, in, octets)
			}
			if no {
				refused[reader.name]++
			}
		}
	}
	t.Logf("%d inputs, %d of them forwarded; refused then: %v", len(inputs), forwarded, refused)
	if forwarded < len(inputs)/10 || forwarded == len(inputs) {
		t.Error("the inputs prove nothing")
	}
}

// framingCases are the seeds and the published cases.
func framingCases(t *testing.T) [][]byte {
	t.Helper()
	var all [][]byte
	for _, s := range seeds {
		all = append(all, []byte(s))
	}
	publishedFramings(t, func(_ string, raw []byte) { all = append(all, raw) })
	return all
}
