package hugepages

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region returns memory that is new to the process.
func region(t *testing.T, size int) []byte {
	t.Helper()
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(memory) })
	return memory
}

// inHugePages returns how many KiB of the mappings that memory is in are in huge pages.
func inHugePages(t *testing.T, memory []byte) (kib int) {
	t.Helper()
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	begin := uintptr(unsafe.Pointer(&memory[0]))
	end, within := begin+uintptr(len(memory)), false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			within = from < end && begin < to
		}
		if rest, ok := strings.CutPrefix(lines.Text(), "AnonHugePages:"); ok && within {
			var n int
			if _, err := fmt.Sscan(rest, &n); err != nil {
				t.Fatal(err)
			}
			kib += n
		}
	}
	return kib
}

// TestExpect: memory that is expected to be large is in huge pages from its first octet on,
// so that nobody has to collapse it, and stays there.
func TestExpect(t *testing.T) {
	if !onAdvice() {
		t.Skip("this system has huge pages for everybody or for nobody")
	}
	memory := region(t, 4*least)
	filled := Expect(memory)
	for i := 0; i < len(memory); i += 4096 {
		memory[i] = 1
	}
	filled()
	if got := inHugePages(t, memory); got == 0 {
		t.Errorf("of %d KiB nothing is in huge pages", len(memory)>>10)
	}
}

// TestEndsWhenSlow: the first page that the system is slow at is the last that it is asked for.
func TestEndsWhenSlow(t *testing.T) {
	memory := region(t, 8*hugePage)
	for _, tt := range []struct{ slowAt, want int }{{1, 1}, {3, 3}, {100, len(aligned(memory)) / hugePage}} {
		asked := 0
		each(memory, func(page []byte) bool {
			asked++
			if at := uintptr(unsafe.Pointer(&page[0])); at%hugePage != 0 || len(page) != hugePage {
				t.Fatalf("a page of %d octets at %#x", len(page), at)
			}
			return asked != tt.slowAt
		})
		if asked != tt.want {
			t.Errorf("slow at page %d: asked for %d, want %d", tt.slowAt, asked, tt.want)
		}
	}
	for _, small := range [][]byte{nil, memory[:1], aligned(memory)[1 : hugePage+1]} {
		if got := aligned(small); len(got) != 0 {
			t.Errorf("%d octets have %d of huge pages", len(small), len(got))
		}
	}
}
