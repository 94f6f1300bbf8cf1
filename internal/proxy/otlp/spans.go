package otlp

import (
	"time"

	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	resourcev1 "go.opentelemetry.io/proto/otlp/resource/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"pharos/internal/proxy/tracecontext"
)

// resource is who exports.
type resource struct {
	of    *resourcev1.Resource
	scope *commonv1.InstrumentationScope
}

func newResource(c Config) resource {
	var a attributes
	a.text("service.name", c.Service)
	a.text("service.version", c.Version)
	a.text("service.instance.id", c.Instance)
	return resource{&resourcev1.Resource{Attributes: a}, &commonv1.InstrumentationScope{Name: "pharos", Version: c.Version}}
}

// spans tells requests as spans: one of the server for each, and below it one of a client
// for each member that was asked.
func (r resource) spans(requests []*tracecontext.Request) *tracev1.ResourceSpans {
	var spans []*tracev1.Span
	for _, request := range requests {
		spans = append(spans, serverSpan(request))
		for i := range request.Tries {
			spans = append(spans, clientSpan(request, i))
		}
	}
	return &tracev1.ResourceSpans{Resource: r.of, ScopeSpans: []*tracev1.ScopeSpans{{Scope: r.scope, Spans: spans}}}
}

// attributes are of a span. What is empty is not among them.
type attributes []*commonv1.KeyValue

func (a *attributes) text(key, value string) {
	if value != "" {
		*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: value}}})
	}
}

func (a *attributes) number(key string, value int64) {
	*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_IntValue{IntValue: value}}})
}

func (a *attributes) seconds(key string, d time.Duration) {
	if d > 0 {
		*a = append(*a, &commonv1.KeyValue{Key: key, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_DoubleValue{DoubleValue: d.Seconds()}}})
	}
}

// method adds the method. One that nobody knows is "_OTHER", so that clients cannot make up
// values without end; name is for the name of the span.
func (a *attributes) method(method string) (name string) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH":
		a.text("http.request.method", method)
		return method
	}
	a.text("http.request.method", "_OTHER")
	a.text("http.request.method_original", method)
	return "HTTP"
}

func serverSpan(r *tracecontext.Request) *tracev1.Span {
	var a attributes
	name := a.method(r.Method)
	a.text("url.scheme", r.Scheme)
	a.text("url.path", r.Path)
	if len(r.Query) > 1 {
		a.text("url.query", r.Query[1:])
	}
	a.text("server.address", r.Host)
	a.text("network.protocol.version", r.Version)
	if r.Client.IsValid() {
		a.text("client.address", r.Client.String())
	}
	a.text("user_agent.original", r.Agent)
	a.text("http.route", r.Route)
	if r.Route != "" {
		name += " " + r.Route
	}
	a.number("http.response.status_code", int64(r.Status))
	a.number("http.request.body.size", r.Received)
	a.number("http.response.body.size", r.Sent)
	a.text("pharos.request.id", r.ID)
	a.text("pharos.pool", r.Pool)
	a.text("pharos.reason", r.Reason)
	a.seconds("pharos.queue.seconds", r.Queue)
	span := &tracev1.Span{
		TraceId: r.Trace[:], SpanId: r.Span[:], TraceState: r.State, Name: name, Kind: tracev1.Span_SPAN_KIND_SERVER,
		StartTimeUnixNano: uint64(r.Began.UnixNano()), EndTimeUnixNano: uint64(r.Began.Add(r.Took).UnixNano()), Attributes: a,
		Flags: uint32(r.Flags),
	}
	if !r.Parent.IsZero() {
		span.ParentSpanId = r.Parent[:]
	}
	// Of a server only 5xx and responses that broke off are errors: what a client did wrong
	// is not (semantic conventions, "Status").
	if r.Status >= 500 || r.Status == 0 || r.Reason != "" && r.Status < 400 {
		span.Status = &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: r.Reason}
	}
	return span
}

func clientSpan(r *tracecontext.Request, i int) *tracev1.Span {
	t := &r.Tries[i]
	var a attributes
	name := a.method(r.Method)
	a.text("server.address", t.Address.Addr().String())
	a.number("server.port", int64(t.Address.Port()))
	if t.Status > 0 {
		a.number("http.response.status_code", int64(t.Status))
	}
	if i > 0 {
		a.number("http.request.resend_count", int64(i))
	}
	a.text("pharos.pool", t.Pool)
	a.text("pharos.member", t.Member)
	a.seconds("pharos.connect.seconds", t.Connect)
	a.seconds("pharos.first_byte.seconds", t.FirstByte)
	a.text("error.type", t.Reason)
	began := r.Began.Add(t.After)
	span := &tracev1.Span{
		TraceId: r.Trace[:], SpanId: t.Span[:], ParentSpanId: r.Span[:], TraceState: r.State, Name: name, Kind: tracev1.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: uint64(began.UnixNano()), EndTimeUnixNano: uint64(began.Add(t.Took).UnixNano()), Attributes: a,
		Flags: uint32(r.Flags),
	}
	// Of a client 4xx are errors, too.
	if t.Reason != "" || t.Status >= 400 {
		span.Status = &tracev1.Status{Code: tracev1.Status_STATUS_CODE_ERROR, Message: t.Reason}
	}
	return span
}
