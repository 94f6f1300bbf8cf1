package telemetry

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestScrape(t *testing.T) {
	total := 0.0
	h := Handler(func(emit func(Sample)) {
		total++
		emit(Sample{Name: "dns_queries_total", Help: "Queries.", Kind: Counter, Labels: []string{"transport", "udp"}, Value: total})
		emit(Sample{Name: "dns_queries_total", Help: "Queries.", Kind: Counter, Labels: []string{"transport", "tcp"}, Value: 5})
		emit(Sample{Name: "took_seconds", Help: "Time.", Kind: Histogram, Buckets: map[float64]uint64{0.1: 2, 1: 3}, Count: 4, Sum: 9})
	})
	for _, want := range []string{`pharos_dns_queries_total{transport="udp"} 1`, `pharos_dns_queries_total{transport="udp"} 2`} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		body := w.Body.String()
		for _, line := range []string{want, `pharos_dns_queries_total{transport="tcp"} 5`, `pharos_took_seconds_bucket{le="1"} 3`, `pharos_took_seconds_count 4`, "go_goroutines"} {
			if !strings.Contains(body, line) {
				t.Errorf("no line %q in\n%s", line, body)
			}
		}
	}
}
