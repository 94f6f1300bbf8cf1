package ledger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncOctets makes what was written durable: the octets and the file's length, but
// not its times.
func syncOctets(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
