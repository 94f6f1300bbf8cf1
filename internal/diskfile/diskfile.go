// Package diskfile puts a file in the place of another, whole or not at all: after
// a crash or a loss of power there is the old content or the new.
//
// It owns the order of writes that makes that so: written beside, synced, renamed,
// and the folder synced. It does not own what is in a file, nor checksums: a disk
// may still give back something else than was written.
//
// Entry points: Replace, ReplaceWith, SyncFolder; LoadJSON, SaveJSON for what is
// small; StampOf, Changed for whether files have changed.
//
// Concurrency: all functions may be called at once; those who write one file take
// turns. Two processes must not write the same file.
package diskfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Suffix is what the name of a file that is being written ends in. A crash may
// leave one behind, which the next write of the same file takes over.
const Suffix = ".tmp"

// turns are taken by the name of the file.
var (
	turns [64]sync.Mutex
	seed  = maphash.MakeSeed()
)

// Replace makes content the content of the file at path, readable by nobody else. The
// folder must exist.
func Replace(path string, content []byte) error {
	return ReplaceWith(path, func(f *os.File) error {
		_, err := f.Write(content)
		return err
	})
}

// ReplaceWith puts the file that write writes at path, readable by nobody else unless
// write says so, and returns when it is on disk. With an error of write, or any other,
// the file is what it was.
func ReplaceWith(path string, write func(*os.File) error) error {
	turn := &turns[maphash.String(seed, path)%uint64(len(turns))]
	turn.Lock()
	defer turn.Unlock()
	f, err := os.OpenFile(path+Suffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return SyncFolder(filepath.Dir(path)) // or the rename may be lost with the power
}

// SyncFolder makes durable which files a folder has.
func SyncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}

// LoadJSON reads what SaveJSON has written into the value that v points to. Without
// the file, v stays as it is; with an error, it may be anything.
func LoadJSON(path string, v any) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// SaveJSON makes v, as JSON, the content of the file at path, and makes its folder if
// that is not there. v must be one that JSON has a form for.
func SaveJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return Replace(path, text)
}
