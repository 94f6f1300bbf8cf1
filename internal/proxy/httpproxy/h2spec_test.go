package httpproxy

import (
	"context"
	"net"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"pharos/lab/tools"
)

// TestH2spec holds the gateway to the public conformance suite for HTTP/2 and HPACK, of 145
// tests. Where both versions are spoken in the clear, one of them fails for a reason: it sends
// "INVALID CONNECTION PREFACE" and wants a GOAWAY or the end (RFC 9113 §3.4). That is not the
// beginning of HTTP/2, so that it is a request of HTTP/1.1 that is malformed, whose sender is
// told so: 400, then the end. Over TLS, ALPN says which version a connection is of.
func TestH2spec(t *testing.T) {
	h2spec := tools.Path(t, "h2spec")
	const all = "145 tests, 145 passed, 0 skipped, 0 failed"
	for _, c := range []struct {
		name     string
		versions Versions
		want     string
	}{
		{"HTTP/2 only", OnlyHTTP2, all},
		{"both versions", Both, "145 tests, 144 passed, 0 skipped, 1 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := startGateway(t, Config{HTTP2: c.versions}, startOrigin(t, echoing))
			runH2spec(t, h2spec, g.address, c.want)
		})
	}
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		g, _ := startSecured(t, Config{}, nil, startOrigin(t, echoing))
		runH2spec(t, h2spec, g.address, all, "-t", "-k")
	})
}

func runH2spec(t *testing.T, h2spec, address, want string, args ...string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	// A test that expects silence waits for as long as -o says; one that expects a frame
	// fails after that.
	out, _ := exec.CommandContext(ctx, h2spec, append([]string{"-h", host, "-p", port, "-o", "5"}, args...)...).CombinedOutput()
	if got := regexp.MustCompile(`\d+ tests, .* failed`).FindString(string(out)); got != want {
		t.Errorf("got %q, want %q\n%s", got, want, out)
	}
}
