package httpproxy

import (
	"strings"
	"testing"
)

func TestGet(t *testing.T) {
	g := startGateway(t, Config{}, startOrigin(t, answering(ok2)))
	got := g.ask("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if !strings.HasSuffix(got, "\r\n\r\nok") {
		t.Errorf("got %q", got)
	}
}
