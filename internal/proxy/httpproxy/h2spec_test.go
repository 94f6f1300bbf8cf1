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
// tests. One of them sends what is no HTTP at all and wants the connection closed without a
// word: where both versions are spoken, such a client is told so in HTTP/1.1 first.
func TestH2spec(t *testing.T) {
	h2spec := tools.Path(t, "h2spec")
	for _, c := range []struct {
		name     string
		versions Versions
		want     string
	}{
		{"HTTP/2 only", OnlyHTTP2, "145 tests, 145 passed, 0 skipped, 0 failed"},
		{"both versions", Both, "145 tests, 144 passed, 0 skipped, 1 failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := startGateway(t, Config{HTTP2: c.versions}, startOrigin(t, echoing))
			runH2spec(t, h2spec, g.address, c.want)
		})
	}
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
