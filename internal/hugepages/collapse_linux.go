package hugepages

import (
	"bytes"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// hugePage is what one entry of a processor's table of pages covers at best.
const hugePage = 2 << 20

// slow is how long the system may take for one huge page, which is 0.5 ms of work. Before
// that it has every processor finish what it was about to do with pages, by a worker of its
// own: one that is kept from its processor, as by a program of higher priority, is waited
// for. Measured beside such a program: seconds for a page. The table of the process's
// memory is locked meanwhile, so that whatever needs more memory waits as well.
const slow = 20 * time.Millisecond

// collapse asks the system to put memory that is in use into huge pages. It goes page by
// page, for during a call a kernel that is not preemptible lets nobody else run; and it ends
// with the first that is slow, as the next would be. A system that does not have huge pages
// leaves the memory as it is.
func collapse(memory []byte) {
	each(memory, func(page []byte) bool {
		began := time.Now()
		_ = unix.Madvise(page, unix.MADV_COLLAPSE)
		return time.Since(began) < slow
	})
}

// each calls do with the huge pages that memory could have, until it returns false.
func each(memory []byte, do func(page []byte) bool) {
	inside := aligned(memory)
	for len(inside) > 0 && do(inside[:hugePage]) {
		inside = inside[hugePage:]
	}
}

// aligned returns the part of memory that huge pages can cover.
func aligned(memory []byte) []byte {
	if len(memory) == 0 {
		return nil
	}
	skip := -uintptr(unsafe.Pointer(&memory[0])) & (hugePage - 1)
	if uintptr(len(memory)) < skip+hugePage {
		return nil
	}
	memory = memory[skip:]
	return memory[:len(memory)&^(hugePage-1)]
}

// onAdvice reports whether the system has huge pages for those who ask. Where everybody
// has them, or nobody, there is nothing to ask for.
var onAdvice = sync.OnceValue(func() bool {
	modes, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	return err == nil && bytes.Contains(modes, []byte("[madvise]"))
})

// expect is Expect.
func expect(memory []byte) (filled func()) {
	inside := aligned(memory)
	if len(inside) == 0 || !onAdvice() || unix.Madvise(inside, unix.MADV_HUGEPAGE) != nil {
		return func() {}
	}
	return func() { _ = unix.Madvise(inside, unix.MADV_NOHUGEPAGE) }
}
