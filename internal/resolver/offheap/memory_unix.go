//go:build unix

package offheap

import (
	"os"

	"golang.org/x/sys/unix"
)

func newSlab(octets int) ([]byte, error) {
	if octets > slabOctets {
		return nil, unix.ENOMEM
	}
	return unix.Mmap(-1, 0, slabOctets, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
}

func unmap(slab []byte) { _ = unix.Munmap(slab) }

// discard lets the system have the whole pages of b; reading them gives zeros then.
func discard(b []byte) {
	if len(b)%os.Getpagesize() == 0 {
		_ = unix.Madvise(b, unix.MADV_DONTNEED) // fails for memory that does not begin with a page: it stays
	}
}
