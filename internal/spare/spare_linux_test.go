package spare

import (
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func nicenessOf(t *testing.T) int {
	t.Helper()
	inverse, err := syscall.Getpriority(syscall.PRIO_PROCESS, syscall.Gettid())
	if err != nil {
		t.Fatal(err)
	}
	return 20 - inverse
}

// TestRun: work has a lower priority than who waits for it, and nobody after it has.
func TestRun(t *testing.T) {
	before := nicenessOf(t)
	for range 3 {
		within := before
		Run(func() { within = nicenessOf(t) })
		if want := min(before+niceness, 19); within != want {
			t.Errorf("work has niceness %d, want %d", within, want)
		}
	}
	threads := make(chan int)
	const many = 20 // more than there are processors, so that some run on threads that were there
	for range many {
		go func() { threads <- nicenessOf(t) }()
	}
	for range many {
		if got := <-threads; got != before {
			t.Errorf("another goroutine has niceness %d, want %d", got, before)
		}
	}
}

// TestPanic: what goes wrong in work does so for who waits, with the place where it was.
func TestPanic(t *testing.T) {
	defer func() {
		cause, _ := recover().(string)
		if !strings.Contains(cause, "lost") || !strings.Contains(cause, "spare_linux_test.go") {
			t.Errorf("the panic is %q", cause)
		}
	}()
	Run(func() { panic("lost") })
	t.Error("no panic")
}

// TestPrompt: the thread has short turns, and its priority is what it was.
func TestPrompt(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil || before.Runtime == 0 {
		t.Skipf("the system knows no length of turns: %v", err)
	}
	Prompt()
	after, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if after.Runtime != turn || after.Policy != before.Policy || after.Nice != before.Nice {
		t.Errorf("got %+v, before %+v", after, before)
	}
}
