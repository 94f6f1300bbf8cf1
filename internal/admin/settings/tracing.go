package settings

import (
	"fmt"
	"log/slog"

	"pharos/internal/admin/config"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/otlp"
	"pharos/internal/proxy/tracecontext"
)

// Tracing returns how requests take part in traces, and who exports them, which is to be
// closed; both nil if they do not.
func Tracing(t config.Tracing, instance, version string, log *slog.Logger) (*httpproxy.Tracing, *otlp.Exporter, error) {
	if t.Endpoint == "" {
		return nil, nil, nil
	}
	e, err := otlp.New(otlp.Config{Endpoint: t.Endpoint, Fields: t.Fields, Service: t.Service, Version: version, Instance: instance, Log: log})
	if err != nil {
		return nil, nil, fmt.Errorf("gateway.tracing: %w", err)
	}
	return &httpproxy.Tracing{Every: t.Every, FromAll: t.From == "all", FromNobody: t.From == "nobody", Parent: t.Parent, Export: e.Export}, e, nil
}

// Past returns which requests are kept; nil: none.
func Past(p config.Past) *httpproxy.Past {
	ring := tracecontext.NewRing(int(p.Memory))
	if ring == nil {
		return nil
	}
	return &httpproxy.Past{Ring: ring, Every: p.Every}
}
