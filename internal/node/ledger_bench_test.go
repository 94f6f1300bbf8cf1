package node

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkChangeVisible is one durable change at a time to a zone of a million
// records, from the call to when it is answered by.
func BenchmarkChangeVisible(b *testing.B) {
	path := b.TempDir()
	var text strings.Builder
	text.WriteString(exampleZone)
	for i := range 1_000_000 {
		fmt.Fprintf(&text, "host%d A 10.%d.%d.%d\n", i, i>>16, i>>8&255, i&255)
	}
	if err := os.WriteFile(filepath.Join(path, "example.com.zone"), []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "pharos.yaml"), []byte("data: data\nstore: {enabled: false}\nlisten: {dns: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\"}\nresolver: {allow: []}\n"+
		"zones: [{name: example.com, kind: store, file: example.com.zone, transfer: [{network: 127.0.0.0/8}]}]\n"), 0o600); err != nil {
		b.Fatal(err)
	}
	n, err := New(Options{Config: filepath.Join(path, "pharos.yaml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx, nil) }()
	defer func() { cancel(); <-done }()
	i := 0
	for b.Loop() {
		if _, err := addTXT(n, fmt.Sprintf("new%d.example.com.", i), "here"); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
