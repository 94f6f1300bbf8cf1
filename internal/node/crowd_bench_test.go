package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pharos/internal/clock"
	"pharos/internal/cluster/state"
)

// crowd is the configuration of a node with many routes to many members, none of which is there.
func crowd(routes, members int) string {
	const inPool = 100
	var b strings.Builder
	b.WriteString("data: data\nlog: {level: error}\nlisten: {dns: [], http: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\npools:\n")
	for i := range members {
		if i%inPool == 0 {
			fmt.Fprintf(&b, "  - name: pool%d\n    check: {type: none}\n    members:\n", i/inPool)
		}
		fmt.Fprintf(&b, "      - {name: m%d, address: \"127.%d.%d.%d:9\"}\n", i, 1+i>>16, i>>8&255, i&255)
	}
	b.WriteString("filters: [{name: limited, steps: [{security: {preset: usual}}]}]\nroutes:\n")
	for i := range routes {
		fmt.Fprintf(&b, "  - {host: host%d.example, path: /path%d, pool: pool%d}\n", i/10, i%10, i%(members/inPool))
	}
	return b.String()
}

// BenchmarkChangeAmongMany is one durable change at a time of a node with 100,000 routes and 100,000 members,
// from the call to when the gateway goes by it.
func BenchmarkChangeAmongMany(b *testing.B) {
	file := filepath.Join(b.TempDir(), "pharos.yaml")
	if err := os.WriteFile(file, []byte(crowd(100_000, 100_000)), 0o600); err != nil {
		b.Fatal(err)
	}
	n, err := New(Options{Config: file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }()
	defer func() { cancel(); <-done }()
	for n.store.Load() == nil {
		runtime.Gosched()
	}
	<-n.store.Load().Ready()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	i := 0
	apply := func(b *testing.B, text string) {
		if _, err := n.Apply(b.Context(), []byte(text)); err != nil {
			b.Fatal(err)
		}
	}
	for _, bench := range []struct {
		name   string
		change func(b *testing.B)
	}{
		{"route", func(b *testing.B) {
			apply(b, fmt.Sprintf("routes: [{host: new%d.example, path: /x, pool: pool0}]", i))
		}},
		{"route put and deleted", func(b *testing.B) {
			apply(b, "routes: [{host: gone.example, path: /x, pool: pool0}]")
			if _, err := n.Delete(b.Context(), "route", "gone.example/x"); err != nil {
				b.Fatal(err)
			}
		}},
		{"pool", func(b *testing.B) {
			apply(b, fmt.Sprintf("pools: [{name: new, check: {type: none}, members: [{name: a, address: \"127.0.0.%d:9\"}]}]", 1+i%250))
		}},
		{"filter", func(b *testing.B) {
			apply(b, fmt.Sprintf("filters: [{name: new, steps: [{responseFields: {set: [{name: X-New, value: \"%d\"}]}}]}]", 1+i%250))
		}},
		{"member weighed", func(b *testing.B) {
			if _, err := n.commitOverrides(b.Context(), []state.Override{{Pool: "pool1", Member: "m101", Weight: 2 + i%250, Said: clock.Now()}}); err != nil {
				b.Fatal(err)
			}
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
			for b.Loop() {
				bench.change(b)
				i++
			}
		})
	}
}
