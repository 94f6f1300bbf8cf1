// Package telemetry shows the program's counters to Prometheus.
//
// The data plane counts in plain padded counters of its own and knows nothing of
// Prometheus; at a scrape each source is asked once for its samples. So a metric
// costs nothing between scrapes, and no hot path touches a label.
//
// Entry points: Handler, Sample.
//
// Concurrency: a Handler may serve several scrapes at once; sources must allow
// that.
package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Kind is the kind of a metric.
type Kind uint8

// The kinds of metrics.
const (
	Counter   Kind = iota // only ever grows
	Gauge                 // goes up and down
	Histogram             // see Sample.Buckets
)

// Sample is one value of one metric.
type Sample struct {
	Name   string // without the prefix pharos_
	Help   string // one sentence; the same for all samples of a Name
	Kind   Kind
	Labels []string // name, value, name, value, ...; the same names for all samples of a Name
	Value  float64  // Counter, Gauge

	Buckets map[float64]uint64 // Histogram: upper bound -> observations at or below it
	Count   uint64             // Histogram: all observations
	Sum     float64            // Histogram: their sum
}

// Source gives its samples, one call each, whenever it is asked.
type Source func(emit func(Sample))

// Handler serves the samples of the sources and the Go runtime's own in the
// Prometheus text formats.
func Handler(sources ...Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(collector(sources))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
}

// collector asks sources at each scrape. It describes nothing beforehand, which
// the registry takes as "check each scrape instead".
type collector []Source

// Describe is part of prometheus.Collector.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect is part of prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	for _, source := range c {
		source(func(s Sample) { out <- s.metric() })
	}
}

func (s Sample) metric() prometheus.Metric {
	var names, values []string
	for i := 0; i+1 < len(s.Labels); i += 2 {
		names, values = append(names, s.Labels[i]), append(values, s.Labels[i+1])
	}
	desc := prometheus.NewDesc("pharos_"+s.Name, s.Help, names, nil)
	var m prometheus.Metric
	var err error
	switch s.Kind {
	case Histogram:
		m, err = prometheus.NewConstHistogram(desc, s.Count, s.Sum, s.Buckets, values...)
	case Gauge:
		m, err = prometheus.NewConstMetric(desc, prometheus.GaugeValue, s.Value, values...)
	default:
		m, err = prometheus.NewConstMetric(desc, prometheus.CounterValue, s.Value, values...)
	}
	if err != nil {
		return prometheus.NewInvalidMetric(desc, err)
	}
	return m
}
