package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folderLock is this process's hold on a folder. The kernel drops it when the
// process ends, however it ends.
type folderLock struct{ file *os.File }

// lockFolder makes the folder if need be and takes hold of it: two processes that
// append to one log would each lose what the other has acknowledged.
func lockFolder(folder string) (*folderLock, error) {
	if err := os.MkdirAll(filepath.Join(folder, "zones"), 0o700); err != nil {
		return nil, fmt.Errorf("ledger of zones: %w; see that the folder named under data can be written", err)
	}
	f, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger of zones: %w; see that the folder named under data can be written", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("ledger of zones %s: in use by another process; stop it, or give each node a data folder of its own", folder)
		}
		return nil, fmt.Errorf("ledger of zones %s: %w", folder, err)
	}
	return &folderLock{f}, nil
}

func (l *folderLock) release() error { return l.file.Close() }
