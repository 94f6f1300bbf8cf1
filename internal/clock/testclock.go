//go:build testclock

package clock

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Variable names the file with the offset: a signed number of seconds, 8 octets in the
// machine's order. It is mapped into memory and read each time.
const Variable = "PHAROS_CLOCK_OFFSET_FILE"

// look is how often timers look whether the offset has changed.
const look = 10 * time.Millisecond

// seconds is where the offset is; nil: there is none.
var seconds = mapOffset(os.Getenv(Variable))

func mapOffset(path string) *atomic.Int64 {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		var octets []byte
		if octets, err = syscall.Mmap(int(f.Fd()), 0, 8, syscall.PROT_READ, syscall.MAP_SHARED); err == nil {
			if stat, _ := f.Stat(); stat != nil && stat.Size() >= 8 {
				return (*atomic.Int64)(unsafe.Pointer(&octets[0])) // aligned: a mapping begins at a page
			}
			err = fmt.Errorf("%s is shorter than 8 octets", path)
		}
	}
	fmt.Fprintf(os.Stderr, "pharos: %s: %v\n", Variable, err)
	os.Exit(2)
	return nil
}

func offset() time.Duration {
	if seconds == nil {
		return 0
	}
	return time.Duration(seconds.Load()) * time.Second
}

// Now returns the system's time with the offset.
func Now() time.Time { return time.Now().Add(offset()) }

// Since returns how long ago t was, which Now has returned.
func Since(t time.Time) time.Duration { return Now().Sub(t) }

// Until returns how long it is until t.
func Until(t time.Time) time.Duration { return t.Sub(Now()) }

// Timer is a time.Timer that is due by Now.
type Timer struct {
	C <-chan time.Time

	timer *time.Timer
	mu    sync.Mutex
	due   time.Time // zero: it is stopped or over
}

// timers are those that wait, looked through when the offset changes.
var timers = struct {
	sync.Mutex
	once    sync.Once
	waiting map[*Timer]bool
}{waiting: map[*Timer]bool{}}

// AfterFunc calls f on a goroutine of its own when d is over.
func AfterFunc(d time.Duration, f func()) *Timer {
	t := new(Timer)
	return t.start(d, func() *time.Timer {
		return time.AfterFunc(d, func() { t.over(); f() })
	})
}

// NewTimer returns a Timer that sends the time on its channel when d is over.
func NewTimer(d time.Duration) *Timer {
	t, c := new(Timer), make(chan time.Time, 1)
	t.C = c
	return t.start(d, func() *time.Timer {
		return time.AfterFunc(d, func() {
			t.over()
			select {
			case c <- Now():
			default:
			}
		})
	})
}

func (t *Timer) start(d time.Duration, begin func() *time.Timer) *Timer {
	timers.once.Do(func() { go watch(offset()) }) // as long as the process
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = Now().Add(d)
	t.timer = begin()
	t.wait(true)
	return t
}

func (t *Timer) wait(waits bool) {
	timers.Lock()
	defer timers.Unlock()
	if waits {
		timers.waiting[t] = true
	} else {
		delete(timers.waiting, t)
	}
}

func (t *Timer) over() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = time.Time{}
	t.wait(false)
}

// Stop keeps the timer from going off, and reports whether it has.
func (t *Timer) Stop() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.due = time.Time{}
	t.wait(false)
	return t.timer.Stop()
}

// Reset lets the timer go off after d.
func (t *Timer) Reset(d time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.C != nil {
		select {
		case <-t.C: // as package time does it: what was sent before is not received any more
		default:
		}
	}
	t.due = Now().Add(d)
	t.wait(true)
	return t.timer.Reset(d)
}

// watch sets all timers anew when the offset is no longer what it was.
func watch(before time.Duration) {
	for range time.Tick(look) {
		now := offset()
		if now == before {
			continue
		}
		before = now
		timers.Lock()
		var all []*Timer
		for t := range timers.waiting {
			all = append(all, t)
		}
		timers.Unlock()
		for _, t := range all {
			t.mu.Lock()
			if !t.due.IsZero() {
				t.timer.Reset(max(0, Until(t.due)))
			}
			t.mu.Unlock()
		}
	}
}
