package main

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// logDaemon starts a log daemon that takes datagrams; NAME becomes its address, for hears.
func logDaemon(ts *testscript.TestScript, _ bool, args []string) {
	daemon, err := net.ListenPacket("udp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { daemon.Close() })
	address := daemon.LocalAddr().String()
	ts.Setenv(args[0], address)
	daemons.Store(address, daemon)
}

// daemons are the log daemons that were started, by address.
var daemons sync.Map

// hears waits until the log daemon at ADDRESS hears a message that PATTERN matches.
func hears(ts *testscript.TestScript, _ bool, args []string) {
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	found, ok := daemons.Load(args[0])
	if !ok {
		ts.Fatalf("there is no log daemon at %s", args[0])
	}
	daemon := found.(net.PacketConn)
	daemon.SetReadDeadline(time.Now().Add(time.Minute))
	for b := make([]byte, 64<<10); ; {
		n, _, err := daemon.ReadFrom(b)
		if err != nil {
			ts.Fatalf("no message that %s matches: %v", pattern, err)
		}
		ts.Logf("heard %s", b[:n])
		if pattern.Match(b[:n]) {
			return
		}
	}
}

// collectors are the channels of what collectors of traces get, by address.
var collectors sync.Map

// collector starts a collector of traces (OTLP over HTTP); NAME becomes its address, for
// spans.
func collector(ts *testscript.TestScript, _ bool, args []string) {
	got := make(chan *collectorv1.ExportTraceServiceRequest, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := new(collectorv1.ExportTraceServiceRequest)
		body, err := gzip.NewReader(r.Body)
		var octets []byte
		if err == nil {
			octets, err = io.ReadAll(body)
		}
		if err == nil {
			err = proto.Unmarshal(octets, request)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got <- request
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
	collectors.Store(server.URL, got)
}

// spans waits until the collector at ADDRESS has spans of so many requests, and prints them:
// trace, parent, span, kind, name and attributes, sorted.
func spans(ts *testscript.TestScript, _ bool, args []string) {
	found, ok := collectors.Load(args[0])
	if !ok {
		ts.Fatalf("there is no collector at %s", args[0])
	}
	var lines []string
	servers, deadline := 0, time.After(time.Minute)
	for fmt.Sprint(servers) != args[1] {
		select {
		case request := <-found.(chan *collectorv1.ExportTraceServiceRequest):
			for _, resource := range request.ResourceSpans {
				for _, s := range resource.ScopeSpans[0].Spans {
					line := fmt.Sprintf("trace=%s parent=%s span=%s %s %q", hex.EncodeToString(s.TraceId), hex.EncodeToString(s.ParentSpanId), hex.EncodeToString(s.SpanId), s.Kind, s.Name)
					for _, a := range append(slices.Clone(resource.Resource.Attributes), s.Attributes...) {
						line += " " + a.Key + "=" + strings.Join(strings.Fields(a.Value.String()), "")
					}
					lines = append(lines, line)
					if strings.HasSuffix(s.Kind.String(), "SERVER") {
						servers++
					}
				}
			}
		case <-deadline:
			ts.Fatalf("the collector has spans of %d requests, want %s:\n%s", servers, args[1], strings.Join(lines, "\n"))
		}
	}
	fmt.Fprintln(ts.Stdout(), strings.Join(lines, "\n"))
}
