//go:build linux

package parking

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// bell returns a descriptor that can be read once ring was called, until hear.
func bell(t *testing.T) (fd int, ring, hear func()) {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
	return fd, func() {
			if _, err := unix.Write(fd, one); err != nil {
				t.Error(err)
			}
		}, func() {
			if _, err := unix.Read(fd, make([]byte, 8)); err != nil {
				t.Error(err)
			}
		}
}

func newPlace(t *testing.T, fd int) *Place {
	t.Helper()
	p, err := New(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestWait: what was there before is found as well as what comes while it waits, again
// and again.
func TestWait(t *testing.T) {
	fd, ring, hear := bell(t)
	p := newPlace(t, fd)
	waits := make(chan bool)
	go func() { // ended by the last ring
		for range 200 {
			waits <- true
			for { // Wait may return early
				p.Wait(-1)
				if can, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0); err == nil && can == 1 {
					break
				}
			}
			hear()
		}
		close(waits)
	}()
	for range waits {
		ring()
	}
}

// TestWaitEnds: Wait ends with its time, though nothing came, and a time that is over
// does not end the next one at once.
func TestWaitEnds(t *testing.T) {
	fd, ring, hear := bell(t)
	p := newPlace(t, fd)
	for _, d := range []time.Duration{20 * time.Millisecond, 5 * time.Millisecond, time.Millisecond} {
		begin := time.Now()
		for time.Since(begin) < d {
			p.Wait(d)
		}
	}
	turns, begin := 0, time.Now()
	for time.Since(begin) < 50*time.Millisecond {
		p.Wait(50*time.Millisecond - time.Since(begin))
		turns++
	}
	if turns > 3 {
		t.Errorf("got %d turns of one wait, want one or two", turns)
	}
	ring()
	p.Wait(time.Hour) // an alarm is ahead of it
	hear()
	done := make(chan bool)
	go func() { // ended by ring
		p.Wait(-1)
		close(done)
	}()
	ring()
	<-done
}

// TestNoAllocs: nothing is left to the garbage collector.
func TestNoAllocs(t *testing.T) {
	fd, ring, _ := bell(t)
	p := newPlace(t, fd)
	ring()
	if n := testing.AllocsPerRun(100, func() { p.Wait(-1) }); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}
