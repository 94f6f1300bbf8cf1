// Package otlp exports what requests leave behind in traces to a collector, by OTLP over
// HTTP or gRPC.
//
// It owns the queue between the gateway and the collector, the batches, and how a request
// is told as spans (spans.go). How they travel, and trying again, is OpenTelemetry's own
// client. It does not own which requests are exported (package tracecontext).
//
//	requests --Export--> queue (bounded) --> batch: 512, or a second --> collector
//	                       full: dropped, counted
//
// Entry points: New, Exporter.Export, Exporter.Close.
//
// Concurrency: Export may be called from anywhere, and never waits. One goroutine sends;
// Close ends it.
//
// Sources: OpenTelemetry Protocol 1.x; OpenTelemetry semantic conventions for HTTP spans.
package otlp

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"

	"pharos/internal/proxy/tracecontext"
)

// Limits that are not configurable, and why.
const (
	// queued is how many requests may wait for the collector: some megabytes. At it
	// requests are dropped, and counted.
	queued = 4096
	// batch is how many requests are sent at once: OpenTelemetry's own default.
	batch = 512
	// pause is how long a request waits at most for others to be sent with it.
	pause = time.Second
	// uploadWithin is how long a collector may take for a batch, tries included.
	uploadWithin = 10 * time.Second
	// closeWithin is how long Close waits for what is left.
	closeWithin = 2 * time.Second
)

// Config is where spans go, and from whom.
type Config struct {
	Endpoint string   // see Parse
	Fields   []string // sent with each batch, "name: value"
	Service  string   // service.name
	Version  string   // service.version
	Instance string   // service.instance.id
	Log      *slog.Logger
}

// Endpoint is an address of a collector.
type Endpoint struct {
	GRPC, Insecure bool
	Host, Path     string
}

// Parse reads http://host:4318, https://host/v1/traces, grpc://host:4317 or grpcs://host:4317.
func Parse(text string) (e Endpoint, err error) {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || u.RawQuery != "" || u.User != nil {
		return e, noEndpoint(text)
	}
	e = Endpoint{Host: u.Host, Path: u.Path, Insecure: u.Scheme == "http" || u.Scheme == "grpc", GRPC: strings.HasPrefix(u.Scheme, "grpc")}
	switch u.Scheme {
	case "http", "https":
		if e.Path == "" || e.Path == "/" {
			e.Path = "/v1/traces"
		}
		return e, nil
	case "grpc", "grpcs":
		if (e.Path == "" || e.Path == "/") && u.Port() != "" {
			e.Path = ""
			return e, nil
		}
	}
	return Endpoint{}, noEndpoint(text)
}

func noEndpoint(text string) error {
	return fmt.Errorf("%q is no address of a collector; want http://127.0.0.1:4318, https://HOST/PATH, grpc://127.0.0.1:4317 or grpcs://HOST:PORT", text)
}

// ParseFields reads "name: value" lines.
func ParseFields(lines []string) (map[string]string, error) {
	fields := make(map[string]string, len(lines))
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(line, "\r\n\x00") {
			return nil, fmt.Errorf("%q is no field; want \"name: value\"", line)
		}
		fields[name] = strings.TrimSpace(value)
	}
	return fields, nil
}

// Exporter sends spans. Make it with New. A nil Exporter sends none.
type Exporter struct {
	// Constant after New.
	client   otlptrace.Client
	resource resource
	log      *slog.Logger
	queue    chan *tracecontext.Request // never closed: Export may come at any time
	closing  chan struct{}              // closed by Close, once
	once     sync.Once
	done     chan struct{} // closed by run

	sent, dropped, failed atomic.Uint64 // requests
}

// New returns an Exporter that is sending.
func New(c Config) (*Exporter, error) {
	endpoint, err := Parse(c.Endpoint)
	if err != nil {
		return nil, err
	}
	fields, err := ParseFields(c.Fields)
	if err != nil {
		return nil, err
	}
	e := &Exporter{
		client: endpoint.client(fields), resource: newResource(c), log: c.Log,
		queue: make(chan *tracecontext.Request, queued), closing: make(chan struct{}), done: make(chan struct{}),
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if err := e.client.Start(context.Background()); err != nil { // it connects when it sends
		return nil, fmt.Errorf("the exporter of traces to %s: %w", c.Endpoint, err)
	}
	go e.run() // ended by Close
	return e, nil
}

func (e Endpoint) client(fields map[string]string) otlptrace.Client {
	if e.GRPC {
		o := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(e.Host), otlptracegrpc.WithHeaders(fields), otlptracegrpc.WithTimeout(uploadWithin)}
		if e.Insecure {
			o = append(o, otlptracegrpc.WithInsecure())
		}
		return otlptracegrpc.NewClient(o...)
	}
	o := []otlptracehttp.Option{
		otlptracehttp.WithEndpoint(e.Host), otlptracehttp.WithURLPath(e.Path), otlptracehttp.WithHeaders(fields), otlptracehttp.WithTimeout(uploadWithin),
		otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
	}
	if e.Insecure {
		o = append(o, otlptracehttp.WithInsecure())
	}
	return otlptracehttp.NewClient(o...)
}

// Export has r sent. It never waits.
func (e *Exporter) Export(r *tracecontext.Request) {
	select {
	case e.queue <- r:
	default:
		e.dropped.Add(1)
	}
}

// Counts is what became of requests that were to be exported.
type Counts struct{ Sent, Dropped, Failed uint64 }

// Counts returns what became of them.
func (e *Exporter) Counts() Counts {
	if e == nil {
		return Counts{}
	}
	return Counts{e.sent.Load(), e.dropped.Load(), e.failed.Load()}
}

// Close sends what is left, and ends. It waits closeWithin at most.
func (e *Exporter) Close() {
	if e == nil {
		return
	}
	e.once.Do(func() { close(e.closing) })
	<-e.done
}

// run sends batches until Close.
func (e *Exporter) run() {
	defer close(e.done)
	tick := time.NewTicker(pause)
	defer tick.Stop()
	requests := make([]*tracecontext.Request, 0, batch)
	broken := false // the last batch was lost; said once
	send := func(within time.Duration) {
		if len(requests) == 0 {
			return
		}
		err := e.upload(requests, within)
		switch {
		case err == nil:
			e.sent.Add(uint64(len(requests)))
			if broken {
				e.log.Info("traces are exported again")
			}
		default:
			e.failed.Add(uint64(len(requests)))
			if !broken {
				e.log.Warn("traces could not be exported; those of the meantime are lost", "error", err)
			}
		}
		broken = err != nil
		clear(requests)
		requests = requests[:0]
	}
	for {
		select {
		case r := <-e.queue:
			if requests = append(requests, r); len(requests) == batch {
				send(uploadWithin)
			}
		case <-tick.C:
			send(uploadWithin)
		case <-e.closing:
			for {
				select {
				case r := <-e.queue:
					requests = append(requests, r)
					continue
				default:
				}
				send(closeWithin)
				ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
				defer cancel()
				e.client.Stop(ctx) // what it says of its connection is of no use any more
				return
			}
		}
	}
}

func (e *Exporter) upload(requests []*tracecontext.Request, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if within == uploadWithin { // Close does not wait for as long
		go func() { // ends with the upload, or with Close
			select {
			case <-e.closing:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return e.client.UploadTraces(ctx, []*tracev1.ResourceSpans{e.resource.spans(requests)})
}
