package l4proxy

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

// TestCrew: everything is done at once, whoever is busy; those who have nothing to do are used again, are no more than
// mostIdle, and end with stop.
func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		c := newCrew(stop)
		for _, n := range []int{3 * mostIdle, 5} {
			var busy, done sync.WaitGroup
			leave := make(chan struct{})
			for range n {
				busy.Add(1)
				done.Add(1)
				c.do(func() {
					defer done.Done()
					busy.Done()
					<-leave
				})
			}
			busy.Wait() // or they would wait for each other
			if got := c.idle.Load(); n == 5 && got != mostIdle-5 {
				t.Errorf("%d are idle when 5 are busy again, want %d", got, mostIdle-5)
			}
			close(leave)
			done.Wait()
			synctest.Wait()
			if got := c.idle.Load(); got != mostIdle {
				t.Errorf("%d are idle after %d, want %d", got, n, mostIdle)
			}
		}
		close(stop)
		synctest.Wait() // the bubble ends when all have
	})
}

// BenchmarkCrew is something that takes more stack than a goroutine begins with, by goroutines of their own and by
// a crew.
func BenchmarkCrew(b *testing.B) {
	c := newCrew(make(chan struct{}))
	for name, do := range map[string]func(func()){"go": func(job func()) { go job() }, "crew": c.do} {
		b.Run(name, func(b *testing.B) {
			var all sync.WaitGroup
			for range b.N {
				all.Add(1)
				do(func() { defer all.Done(); deep(12) })
				runtime.Gosched()
			}
			all.Wait()
		})
	}
}

//go:noinline
func deep(n int) (sum int) {
	var room [400]byte
	room[n] = 1
	if n > 0 {
		sum = deep(n - 1)
	}
	return sum + int(room[n])
}
