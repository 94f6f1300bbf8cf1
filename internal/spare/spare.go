// Package spare has long work done with what time the processors have to spare, so that
// those who answer find one at once. It owns the priority of threads; what is long enough
// to be worth a thread of its own is for whoever does it.
//
// What answers sleeps until it is asked, and a kernel that shares a processor between it and
// work of the same priority lets the work go on for some milliseconds first. Measured, one
// processor and a thread that wakes up every 150 us: beside a busy thread of niceness 0 it was
// 5 to 7 ms late once in a hundred times, beside one of niceness 10 no more than beside none,
// with a garbage collection every 10 ms as well.
//
// Entry points: Run, LowerAll; Prompt for those who answer.
//
// Concurrency: functions without shared state.
package spare

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// niceness is added to that of the thread that works. It is not more, as a collection waits
// for that thread to stop, wherever it is: with 10 it has at least a tenth of a processor that
// other programs take all of, with 19 a sixtieth.
const niceness = 10

// Run does work on a thread of its own, at low priority, and returns when it is done. A panic
// of work is the caller's.
func Run(work func()) {
	done := make(chan any)
	go func() { // ends with work
		runtime.LockOSThread() // and never unlocked: the thread ends, as its priority cannot be had back
		lowerOwn(niceness)
		defer func() {
			cause := recover()
			if cause != nil {
				cause = fmt.Sprintf("%v\n%s", cause, debug.Stack())
			}
			done <- cause
		}()
		work()
	}()
	if cause := <-done; cause != nil {
		panic(cause)
	}
}

// Prompt has the thread that calls it, which is locked, get its processor sooner when it wakes up
// beside threads of the same priority, as those that collect garbage are: it asks for short turns,
// which Linux from 6.12 on gives at once, as they are soon over. No permission is needed, and
// nobody gets less in all. Measured, forty turns on a busy machine beside a thread that does not
// rest: 2.3 and 3.9 ms late once in a thousand times (quarter and half of the turns), without it
// 4.0 and 5.0.
func Prompt() { prompt() }

// LowerAll adds to the niceness of all threads of the process, and so of those that they start.
func LowerAll(by int) { lowerAll(by) }
