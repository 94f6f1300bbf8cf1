package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/rogpeppe/go-internal/testscript"
)

// fetch3 sends a request by HTTP/3 to an address, and prints the status, the fields that are
// asked for, the content and the trailers:
//
//	fetch3 [-method M] [-data CONTENT] [-field NAME:VALUE] [-show NAME,NAME] ADDRESS URL
func fetch3(ts *testscript.TestScript, neg bool, args []string) {
	var flags flag.FlagSet
	method, data := flags.String("method", "GET", ""), flags.String("data", "", "")
	field, show := flags.String("field", "", ""), flags.String("show", "", "")
	ts.Check(flags.Parse(args))
	var content io.Reader
	if *data != "" {
		content = strings.NewReader(*data)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, *method, flags.Arg(1), content)
	ts.Check(err)
	if name, value, ok := strings.Cut(*field, ":"); ok {
		r.Header.Set(name, value)
	}
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableCompression: true,
		Dial: func(ctx context.Context, _ string, t *tls.Config, c *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, flags.Arg(0), t, c)
		},
	}
	defer tr.Close()
	resp, err := tr.RoundTrip(r)
	if neg {
		if err == nil {
			ts.Fatalf("there is an answer: %s", resp.Status)
		}
		return
	}
	ts.Check(err)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	ts.Check(err)
	out := ts.Stdout()
	fmt.Fprintf(out, "%s %d\n", resp.Proto, resp.StatusCode)
	for name := range strings.SplitSeq(*show, ",") {
		for _, value := range resp.Header.Values(name) {
			fmt.Fprintf(out, "%s: %s\n", name, value)
		}
	}
	out.Write(got)
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range resp.Trailer {
			if !yield(name) {
				return
			}
		}
	}) {
		fmt.Fprintf(out, "trailer %s: %s\n", name, resp.Trailer.Get(name))
	}
}

// noUDP succeeds when nobody has the UDP port of an address.
func noUDP(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.ListenPacket("udp", args[0])
	ts.Check(err)
	l.Close()
}
