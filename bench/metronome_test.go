//go:build linux

package main

import (
	"context"
	"os"
	"testing"
	"time"
)

// TestMetronome: a late beat is the machine's, unless the server ran for half of that time.
func TestMetronome(t *testing.T) {
	for _, tt := range []struct {
		what string
		late time.Duration
		part float64 // of it that the server ran
		want int
	}{
		{"in time", 0, 0, 0},
		{"the server did not run", 20 * time.Millisecond, 0.1, 1},
		{"the server ran, if only in the kernel", 20 * time.Millisecond, 0.8, 0},
	} {
		ctx, cancel := context.WithCancel(context.Background())
		var m metronome
		ran := time.Duration(0)
		m.run(ctx, func() {
			began := time.Now()
			for time.Since(began) < beat+tt.late {
			}
			ran += time.Duration(tt.part * float64(time.Since(began)))
			cancel()
		}, func() time.Duration { return ran })
		if tt.late == 0 && len(m.late) == 1 && m.late[0] > lateBeat {
			continue // this machine stood still just now
		}
		if got := len(m.stood); got != tt.want || len(m.late) != 1 {
			t.Errorf("%s: %d pauses of %d beats, want %d of 1", tt.what, got, len(m.late), tt.want)
		}
		if began := m.spans(time.Now().Add(-time.Hour)); tt.want == 1 && (began[0].From < int64(59*time.Minute) || began[0].To-began[0].From < int64(tt.late)) {
			t.Errorf("%s: %v since an hour ago", tt.what, began)
		}
	}
	if clockOf(os.Getpid()) <= 0 {
		t.Error("this process has never run")
	}
}
