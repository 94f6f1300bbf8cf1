//go:build linux

package main

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"pharos/bench/dnsload"
	"pharos/bench/peer"
	"pharos/bench/procstat"
)

// This file tells the times at which the machine stood still from those at which the server
// did. Beside the server, on its processor and with its priority, a thread sleeps for a beat
// again and again. When it comes late, somebody had the processor: if the server's processes
// did not run for half of that time, it was not the server's doing, be it another program's
// or, of a virtual machine, the host's. What the server does in the kernel counts as its own
// time, and a server that only waits (for a lock, for a disk) lets the metronome run.

const (
	beat     = 500 * time.Microsecond
	lateBeat = time.Millisecond       // from which on a beat counts as late
	lookEach = 100 * time.Millisecond // how often the server's processes are looked up: a child counts from then on
)

// metronome is what the thread has found.
type metronome struct {
	stood []pause
	late  []time.Duration // of every beat
}

// pause is a time at which the machine stood still for the server.
type pause struct{ from, to time.Time }

// run beats until ctx ends. spent returns the processor time of the server.
func (m *metronome) run(ctx context.Context, sleep func(), spent func() time.Duration) {
	for ctx.Err() == nil {
		from, before := time.Now(), spent()
		sleep()
		to := time.Now()
		late := max(0, to.Sub(from)-beat)
		if m.late = append(m.late, late); late > lateBeat && spent()-before < late/2 {
			m.stood = append(m.stood, pause{from, to})
		}
	}
}

// worst returns how late all but one in a thousand beats were.
func (m *metronome) worst() time.Duration {
	if len(m.late) == 0 {
		return 0
	}
	slices.Sort(m.late)
	return m.late[len(m.late)*999/1000]
}

// spans returns the pauses by the clock of a load.
func (m *metronome) spans(began time.Time) (all []dnsload.Span) {
	for _, p := range m.stood {
		all = append(all, dnsload.Span{From: int64(p.from.Sub(began)), To: int64(p.to.Sub(began))})
	}
	return all
}

// beside has a metronome run on the server's processor while do does.
func beside(s *peer.Server, do func() error) (*metronome, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var processes atomic.Pointer[[]int]
	look := func() {
		if all, err := procstat.Root.Members(s.PID()); err == nil {
			processes.Store(&all)
		}
	}
	look()
	running.Go(func() { // ends with ctx
		tick := time.NewTicker(lookEach)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				look()
			}
		}
	})
	m := &metronome{late: make([]time.Duration, 0, 1<<16)}
	var unable error
	running.Go(func() { // ends with ctx
		runtime.LockOSThread() // and never unlocked: the thread, which is on that processor, ends
		if unable = peer.PinThread(serverCPU); unable != nil {
			return
		}
		m.run(ctx, func() { _ = unix.Nanosleep(&unix.Timespec{Nsec: int64(beat)}, nil) }, func() (sum time.Duration) {
			if all := processes.Load(); all != nil {
				for _, pid := range *all {
					sum += clockOf(pid)
				}
			}
			return sum
		})
	})
	err := do()
	cancel()
	running.Wait()
	if err == nil {
		err = unable
	}
	return m, err
}

// clockOf returns the processor time of a process, nothing if it has ended.
func clockOf(pid int) time.Duration {
	const schedClock = 2 // CPUCLOCK_SCHED: in ns, of all threads
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedClock, &t); err != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
