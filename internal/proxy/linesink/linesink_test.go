package linesink

import (
	"bytes"
	"errors"
	"testing"
)

// TestAdd: lines come out in their order, those beyond the bound and after the end are
// counted.
func TestAdd(t *testing.T) {
	var out bytes.Buffer
	s := New(&out, 8)
	for _, line := range []string{"one\n", "two\n", "three\n"} {
		s.Add([]byte(line))
	}
	s.Close()
	s.Close()
	s.Run()
	s.Add([]byte("four\n"))
	if got, want := out.String(), "one\ntwo\n"; got != want || s.Dropped() != 2 {
		t.Errorf("wrote %q and lost %d, want %q and 2", got, s.Dropped(), want)
	}
}

// TestBatches: a writer that keeps up gets lines as soon as there is a batch, and is woken up once
// for it.
func TestBatches(t *testing.T) {
	s := New(new(bytes.Buffer), 4*batch)
	line := append(bytes.Repeat([]byte{'x'}, batch/4), '\n')
	for n := 1; n <= 8; n++ {
		if s.Add(line); (len(s.wake) == 1) != (n == 4) {
			t.Errorf("after line %d: woken up %d times", n, len(s.wake))
		}
		if n == 4 {
			<-s.wake
		}
	}
}

// half takes half of what is to be written.
type half struct{}

func (half) Write(b []byte) (int, error) { return len(b) / 2, errors.New("the disk is full") }

// TestFailed: lines that the writer did not take are counted as lost.
func TestFailed(t *testing.T) {
	s := New(half{}, 100)
	s.Add([]byte("one\ntwo\n"))
	s.Close()
	if s.Run(); s.Dropped() != 1 {
		t.Errorf("%d lost, want 1", s.Dropped())
	}
}
