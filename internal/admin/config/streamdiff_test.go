package config

import (
	"fmt"
	"testing"
)

// TestStreamDifferences: streams that are new, others and gone are named, by this order.
func TestStreamDifferences(t *testing.T) {
	before := &Config{Streams: []Stream{{Name: "turn", Pool: "a"}, {Name: "same", Pool: "a"}, {Name: "moved", Pool: "a"}}}
	now := &Config{Streams: []Stream{{Name: "other", Pool: "a"}, {Name: "same", Pool: "a"}, {Name: "moved", Pool: "b"}}}
	want := `[stream "other" added stream "moved" replaced stream "turn" removed]`
	if got := fmt.Sprint(StreamDifferences(before, now)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
