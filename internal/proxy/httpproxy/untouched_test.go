package httpproxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/internal/proxy/origins"
)

// refusing is a connection whose server has not looked at the request.
type refusing struct {
	net.Conn
	leaving bool
}

func (r refusing) Error() string               { return "not taken" }
func (r refusing) Untouched() bool             { return r.leaving }
func (r refusing) Write(b []byte) (int, error) { return len(b), nil }
func (r refusing) Read([]byte) (int, error)    { return 0, r }

// TestUntouchedIsSentAnew: RFC 9113 §8.7: a request that nobody has looked at is sent anew,
// whatever it asks for: to the same member if that only left the connection, to another one if
// it does not take it. Not if its content is gone.
func TestUntouchedIsSentAnew(t *testing.T) {
	for name, tt := range map[string]struct {
		leaving, reused bool
		content         string
		members         []string // which were asked
		want            int
	}{
		"refused":         {false, true, "Content-Length: 3\r\n\r\nabc", []string{"192.0.2.1:80", "192.0.2.2:80"}, 200},
		"left":            {true, true, "Content-Length: 3\r\n\r\nabc", []string{"192.0.2.1:80", "192.0.2.1:80"}, 200},
		"left at once":    {true, false, "Content-Length: 3\r\n\r\nabc", []string{"192.0.2.1:80", "192.0.2.2:80"}, 200},
		"content is gone": {false, true, "Content-Length: 300000\r\n\r\nabc", []string{"192.0.2.1:80"}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string // under mu
			g := startGateway(t, Config{}, "192.0.2.1:80", "192.0.2.2:80")
			table := tableOf(t, "192.0.2.1:80", "192.0.2.2:80")
			table.Reach(map[string]*origins.Reach{"web": {Identity: "test", Open: func(_ context.Context, a netip.AddrPort, _ func(context.Context) (net.Conn, error)) (net.Conn, bool, error) {
				mu.Lock()
				asked = append(asked, a.String())
				first := len(asked) == 1
				mu.Unlock()
				ours, theirs := net.Pipe()
				if first {
					return refusing{ours, tt.leaving}, tt.reused, nil
				}
				go func() {
					if req, err := http.ReadRequest(bufio.NewReader(theirs)); err == nil {
						io.Copy(io.Discard, req.Body)
						io.WriteString(theirs, ok2)
					}
				}()
				return ours, false, nil
			}}}, nil)
			g.publish(table)
			conn := g.dial()
			io.WriteString(conn, "POST / HTTP/1.1\r\nHost: a\r\n"+tt.content)
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil || resp.StatusCode != tt.want || strings.Join(asked, " ") != strings.Join(tt.members, " ") && !swapped(asked, tt.members) {
				t.Errorf("got %v, %v after asking %v, want %d after %v", resp, err, asked, tt.want, tt.members)
			}
		})
	}
}

// swapped reports whether the two members are asked as they should be, but the second first.
func swapped(got, want []string) bool {
	other := strings.NewReplacer("192.0.2.1", "192.0.2.2", "192.0.2.2", "192.0.2.1")
	return strings.Join(got, " ") == other.Replace(strings.Join(want, " "))
}
