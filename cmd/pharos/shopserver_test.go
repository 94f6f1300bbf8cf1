package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
)

// shopServer starts a server on an address of this machine: shopserver NAME ADDRESS FILE. It
// answers with its address, and at /health that it is well while there is FILE.
func shopServer(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: shopserver NAME ADDRESS FILE")
	}
	l, err := net.Listen("tcp", net.JoinHostPort(args[1], "0"))
	ts.Check(err)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(args[2]); err != nil && r.URL.Path == "/health" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, args[1])
	}))
	s.Listener.Close()
	s.Listener = l
	s.Start()
	ts.Defer(s.Close)
	ts.Setenv(args[0], l.Addr().String())
}
