// Package linesink writes the lines of a log without whoever has one ever waiting for the disk.
//
// It owns what waits to be written, its bound, and what becomes of lines when the disk is too
// slow. What the lines say, and where they go to, is for others.
//
// Entry points: New, Sink.Run, Add, Close.
//
// Concurrency: all methods may be called from any goroutine; Run is for one, and ends with
// Close.
package linesink

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// Sink takes lines without ever waiting for the disk: lines gather in
// one buffer while the other is being written.
type Sink struct {
	w       io.Writer
	most    int
	dropped atomic.Uint64
	wake    chan struct{} // holds one; closed by Close

	mu       sync.Mutex // held while a line is copied, or the buffers are swapped
	lines    []byte
	spare    []byte
	isClosed bool
}

// batch is of how many octets the writer is woken up. They are still in the processor's cache then,
// and nothing else on it waits for long while the system copies them.
const batch = 64 << 10

// New returns a Sink that writes to w, and keeps at most so many octets that are not written yet.
func New(w io.Writer, most int) *Sink {
	return &Sink{w: w, most: most, wake: make(chan struct{}, 1)}
}

// Add takes one line; it is dropped and counted when the writer is too far
// behind.
func (l *Sink) Add(line []byte) {
	l.mu.Lock()
	before := len(l.lines)
	fits := before+len(line) <= l.most && !l.isClosed
	if fits {
		l.lines = append(l.lines, line...)
	}
	enough := min(batch, l.most/2)
	full := before < enough && len(l.lines) >= enough
	l.mu.Unlock()
	if !fits {
		l.dropped.Add(1)
	}
	if full {
		l.FlushSoon()
	}
}

// FlushSoon wakes the writer up.
func (l *Sink) FlushSoon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed || len(l.lines) == 0 {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Close makes Run write what there is and end.
func (l *Sink) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.isClosed {
		l.isClosed = true
		close(l.wake)
	}
}

var newline = []byte("\n")

// Run writes until Close. An error of the writer costs the lines at hand only:
// those that it did not take count as dropped.
func (l *Sink) Run() {
	for {
		_, open := <-l.wake
		l.mu.Lock()
		lines := l.lines
		l.lines, l.spare = l.spare[:0], lines
		l.mu.Unlock()
		if len(lines) > 0 {
			if n, err := l.w.Write(lines); err != nil {
				l.dropped.Add(uint64(max(bytes.Count(lines[min(max(n, 0), len(lines)):], newline), 1)))
			}
		}
		if !open {
			return
		}
	}
}

// Dropped returns how many lines were lost.
func (l *Sink) Dropped() uint64 { return l.dropped.Load() }
