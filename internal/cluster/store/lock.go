package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dirLock is this process's hold on a folder. The kernel drops it when the
// process ends, however it ends.
type dirLock struct{ file *os.File }

// lockDir makes the folder if need be and takes hold of it. etcd has a lock of
// its own but waits for it without end.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, explainDir(dir, err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, explainDir(dir, err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, explainDir(dir, err)
		}
		holder := "another process"
		if pid, _ := io.ReadAll(io.LimitReader(file, 32)); len(pid) > 0 {
			holder = "process " + strings.TrimSpace(string(pid))
		}
		return nil, fmt.Errorf("store %s: in use by %s; stop it, or give each node a data folder of its own", dir, holder)
	}
	// Who holds the lock is for the message above only; the lock is the lock.
	if err := file.Truncate(0); err == nil {
		file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &dirLock{file}, nil
}

func (l *dirLock) release() error { return l.file.Close() }
