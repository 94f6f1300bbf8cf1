package otlp

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"pharos/internal/proxy/tracecontext"
)

// arrived is what a collector has got: the spans of a batch, and the field that was asked for.
type arrived struct {
	resource []*commonv1.KeyValue
	spans    []*tracev1.Span
	key      string
}

func take(request *collectorv1.ExportTraceServiceRequest, key string) arrived {
	a := arrived{key: key}
	for _, r := range request.ResourceSpans {
		a.resource = r.Resource.Attributes
		for _, s := range r.ScopeSpans {
			a.spans = append(a.spans, s.Spans...)
		}
	}
	return a
}

// overHTTP starts a collector for OTLP over HTTP, which decodes what it gets.
func overHTTP(t *testing.T, got chan arrived) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(r.Body); err != nil {
				t.Error(err)
			}
		}
		octets, err := io.ReadAll(body)
		request := new(collectorv1.ExportTraceServiceRequest)
		if err == nil {
			err = proto.Unmarshal(octets, request)
		}
		if err != nil || r.Method != "POST" || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		got <- take(request, r.Header.Get("X-Key"))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	got chan arrived
}

func (c *collector) Export(ctx context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	given, _ := metadata.FromIncomingContext(ctx)
	c.got <- take(r, strings.Join(given.Get("x-key"), ","))
	return new(collectorv1.ExportTraceServiceResponse), nil
}

func overGRPC(t *testing.T, got chan arrived) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, &collector{got: got})
	go server.Serve(l) // ended by Stop
	t.Cleanup(server.Stop)
	return "grpc://" + l.Addr().String()
}

var began = time.Date(2026, 11, 22, 15, 4, 5, 6, time.UTC)

func request(status int) *tracecontext.Request {
	return &tracecontext.Request{
		Context: tracecontext.Context{Trace: tracecontext.TraceID{1, 2}, Span: tracecontext.SpanID{3}, Flags: 1}, Parent: tracecontext.SpanID{4}, State: "a=b",
		Began: began, Took: 90 * time.Millisecond, Method: "GET", Scheme: "http", Host: "shop", Path: "/a", Query: "?b=c", Version: "1.1", Agent: "curl",
		Client: netip.MustParseAddr("192.0.2.7"), ID: "0190", Route: "shop/", Pool: "web", Status: status, Received: 1, Sent: 2,
		Tries: []tracecontext.Try{
			{Span: tracecontext.SpanID{5}, Pool: "web", Member: "a", Address: netip.MustParseAddrPort("192.0.2.1:80"), Took: 10 * time.Millisecond, Reason: "refused"},
			{Span: tracecontext.SpanID{6}, Pool: "web", Member: "b", Address: netip.MustParseAddrPort("[2001:db8::1]:81"), After: 10 * time.Millisecond,
				Took: 80 * time.Millisecond, Connect: 5 * time.Millisecond, FirstByte: 70 * time.Millisecond, Status: status},
		},
	}
}

// textOf returns the attributes of a span in words.
func textOf(all []*commonv1.KeyValue) (text []string) {
	for _, a := range all {
		text = append(text, a.Key+" "+strings.Join(strings.Fields(a.Value.String()), ""))
	}
	slices.Sort(text)
	return text
}

func has(t *testing.T, what string, all []*commonv1.KeyValue, want ...string) {
	t.Helper()
	text := textOf(all)
	for _, w := range want {
		if !slices.Contains(text, w) {
			t.Errorf("%s: no %q in %q", what, w, text)
		}
	}
}

// TestExport: a collector that knows nothing of us decodes what was meant, over HTTP and gRPC.
func TestExport(t *testing.T) {
	for name, start := range map[string]func(*testing.T, chan arrived) string{"http": overHTTP, "grpc": overGRPC} {
		t.Run(name, func(t *testing.T) {
			got := make(chan arrived, 10)
			e, err := New(Config{Endpoint: start(t, got), Fields: []string{"X-Key: secret"}, Service: "edge", Version: "1", Instance: "n1"})
			if err != nil {
				t.Fatal(err)
			}
			e.Export(request(200))
			e.Export(request(503))
			e.Close() // sends what is left
			a := <-got
			if len(a.spans) != 6 || a.key != "secret" {
				t.Fatalf("%d spans, want 6; key %q", len(a.spans), a.key)
			}
			has(t, "resource", a.resource, `service.name string_value:"edge"`, `service.version string_value:"1"`, `service.instance.id string_value:"n1"`)
			server, first, second := a.spans[0], a.spans[1], a.spans[2]
			if server.Name != "GET shop/" || server.Kind != tracev1.Span_SPAN_KIND_SERVER || server.TraceId[1] != 2 || server.ParentSpanId[0] != 4 || server.TraceState != "a=b" ||
				server.StartTimeUnixNano != uint64(began.UnixNano()) || server.EndTimeUnixNano-server.StartTimeUnixNano != 90e6 || server.Status.GetCode() != tracev1.Status_STATUS_CODE_UNSET {
				t.Errorf("server: %v", server)
			}
			has(t, "server", server.Attributes, `http.request.method string_value:"GET"`, `url.path string_value:"/a"`, `url.query string_value:"b=c"`, `http.response.status_code int_value:200`,
				`client.address string_value:"192.0.2.7"`, `http.route string_value:"shop/"`, `pharos.request.id string_value:"0190"`)
			if first.Kind != tracev1.Span_SPAN_KIND_CLIENT || string(first.ParentSpanId) != string(server.SpanId) || string(first.TraceId) != string(server.TraceId) ||
				first.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR || first.StartTimeUnixNano != server.StartTimeUnixNano || first.EndTimeUnixNano-first.StartTimeUnixNano != 10e6 {
				t.Errorf("first try: %v", first)
			}
			has(t, "first try", first.Attributes, `pharos.member string_value:"a"`, `server.port int_value:80`, `error.type string_value:"refused"`)
			if second.StartTimeUnixNano != first.EndTimeUnixNano || second.EndTimeUnixNano != server.EndTimeUnixNano || second.Status.GetCode() != tracev1.Status_STATUS_CODE_UNSET {
				t.Errorf("second try: %v", second)
			}
			has(t, "second try", second.Attributes, `http.request.resend_count int_value:1`, `server.address string_value:"2001:db8::1"`, `pharos.connect.seconds double_value:0.005`)
			if failed := a.spans[3]; failed.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR {
				t.Errorf("a request that failed: %v", failed)
			}
			if c := e.Counts(); c != (Counts{Sent: 2}) {
				t.Errorf("%+v", c)
			}
		})
	}
}

// TestBatches: requests go out without Close, too.
func TestBatches(t *testing.T) {
	got := make(chan arrived, 10)
	e, err := New(Config{Endpoint: overHTTP(t, got), Service: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for range batch {
		e.Export(request(200))
	}
	if a := <-got; len(a.spans) == 0 || len(a.spans) > 3*batch {
		t.Errorf("%d spans at once", len(a.spans))
	}
}

// TestNoCollector: what nobody takes costs nobody time, and is counted.
func TestNoCollector(t *testing.T) {
	block := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-block:
		case <-r.Context().Done():
		}
	}))
	defer server.Close()
	defer close(block)
	e, err := New(Config{Endpoint: server.URL, Service: "edge"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2*queued + 2*batch {
		e.Export(request(200))
	}
	if e.Counts().Dropped == 0 {
		t.Error("nothing was dropped, though the collector takes nothing")
	}
	before := time.Now()
	e.Close()
	if took := time.Since(before); took > time.Minute { // two waits of 2 s, on a busy machine
		t.Errorf("Close took %v", took)
	}
	if c := e.Counts(); c.Sent != 0 || c.Failed == 0 {
		t.Errorf("%+v", c)
	}
	var none *Exporter
	none.Close()
	if none.Counts() != (Counts{}) {
		t.Error("no exporter has counts")
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]Endpoint{
		"http://127.0.0.1:4318":      {Insecure: true, Host: "127.0.0.1:4318", Path: "/v1/traces"},
		"https://otel.example/x":     {Host: "otel.example", Path: "/x"},
		"grpc://[2001:db8::1]:4317":  {GRPC: true, Insecure: true, Host: "[2001:db8::1]:4317"},
		"grpcs://otel.example:4317/": {GRPC: true, Host: "otel.example:4317"},
		"":                           {}, "127.0.0.1:4318": {}, "udp://h:1": {}, "grpc://h": {}, "grpc://h:1/x": {}, "http://u:p@h": {}, "http://h?x": {}, "http://": {},
	} {
		got, err := Parse(text)
		if got != want || (err == nil) != (want != Endpoint{}) {
			t.Errorf("%q: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, bad := range []string{"x", ": y", "a: b\nc: d"} {
		if _, err := ParseFields([]string{bad}); err == nil {
			t.Errorf("%q is taken for a field", bad)
		}
	}
}

// TestMethods: clients cannot make up names of spans without end.
func TestMethods(t *testing.T) {
	r := request(200)
	r.Method = "BREW"
	if s := serverSpan(r); s.Name != "HTTP shop/" {
		t.Errorf("got %q", s.Name)
	} else {
		has(t, "span", s.Attributes, `http.request.method string_value:"_OTHER"`, `http.request.method_original string_value:"BREW"`)
	}
}
