package config

import "pharos/internal/proxy/otlp"

// Tracing has requests take part in traces (W3C trace context), and exports spans of them.
// Without an endpoint the fields traceparent and tracestate pass as any others do.
type Tracing struct {
	// Endpoint is an OpenTelemetry collector: http://127.0.0.1:4318 or https://HOST/PATH for
	// OTLP over HTTP, grpc://127.0.0.1:4317 or grpcs://HOST:PORT over gRPC. It may come
	// and go; what it cannot take is dropped and counted.
	Endpoint string `json:"endpoint" default:"" example:"http://127.0.0.1:4318"`
	// Fields are sent with each batch, such as a key.
	Fields []string `json:"fields" default:"" max:"20" example:"X-Key: abc"`
	// Service is the name of this gateway in traces.
	Service string `json:"service" default:"pharos" example:"edge"`
	// Every has one of so many new traces sampled, by the number of the trace; 0: none.
	Every int `json:"every" default:"100" min:"0" max:"1000000000" example:"1"`
	// From is whose traces are continued: those of gateway.trustedProxies, of all, or of
	// nobody. The requests of others begin new ones.
	From string `json:"from" enum:"trusted,all,nobody" default:"trusted" example:"all"`
	// Parent has a trace that is continued be sampled if its field says so. Without, it is
	// sampled by Every. With From all, clients decide how much is exported.
	Parent bool `json:"parent" default:"true" example:"false"`
}

// Past is which requests are kept in memory, for "pharos explain ID"; and, as much again,
// which connections of streams.
type Past struct {
	// Memory is how much they may take, for a day at most. A half is for requests that
	// failed, were refused, waited or were tried more than once, which are kept up to 1,000
	// in a second, and for connections that were refused, waited, met a member that was not
	// there, or were cut off. 0: none is kept.
	Memory Size `json:"memory" default:"8MiB" min:"0" max:"4GiB" example:"64MiB"`
	// Every has one of so many of the others kept; 0: none.
	Every int `json:"every" default:"1000" min:"0" max:"1000000000" example:"1"`
}

func (c *Config) checkTracing(to *checker) {
	t := &c.Gateway.Tracing
	if t.Endpoint == "" {
		return
	}
	if _, err := otlp.Parse(t.Endpoint); err != nil {
		to.fail("gateway.tracing.endpoint", err.Error(), "correct it")
	}
	if _, err := otlp.ParseFields(t.Fields); err != nil {
		to.fail("gateway.tracing.fields", err.Error(), "correct it")
	}
}
