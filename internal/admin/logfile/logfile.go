// Package logfile is files that lines are added to, and that may be moved away under
// way by what rotates logs; or that rotate themselves.
//
//	access.log  ->  access.log.1  ->  access.log.2  ->  ...  ->  gone
//
// Entry points: Open, OpenNamed, File.Follow, File.Rotate.
//
// Concurrency: all methods may be called from anywhere.
package logfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"pharos/internal/clock"
)

// File is a file that lines are added to, and that may be moved away by what
// rotates logs: it is then made again.
type File struct {
	path string // constant

	mu       sync.Mutex // guards all below; held while a line is written
	file     *os.File
	size     int64     // of it, in octets; kept with a Rotation
	last     time.Time // when it was written to last; kept with a Rotation
	rotation Rotation
	trouble  error // of the last rotation; for Follow to tell
	failed   bool  // the last try to make it again; said once
}

// Rotation has a File begin anew, before the lines that would break a bound. The zero
// value has it never do so.
type Rotation struct {
	// Size is how large the file may become, in octets; 0: any. Lines that are written at
	// once stay together, and are the only ones in a file if they are larger.
	Size int64
	// Age is the period of time that a file is about, such as a day, in UTC; 0: any.
	Age time.Duration
	// Keep is how many files of before are kept beside it.
	Keep int
}

func (r Rotation) isSet() bool { return r.Size > 0 || r.Age > 0 }

// Open opens the file at path, or makes it.
func Open(path string) (*File, error) {
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, file: f}, nil
}

// OpenNamed opens a log by its name in the configuration: off, stdout or a file. file is
// nil unless it is one; lines is nil if there is none.
func OpenNamed(name string, stdout io.Writer) (lines io.Writer, file *File, err error) {
	switch name {
	case "off":
		return nil, nil, nil
	case "stdout":
		if stdout == nil {
			stdout = os.Stdout
		}
		return stdout, nil, nil
	}
	if file, err = Open(name); err != nil {
		return nil, nil, err
	}
	return file, file, nil
}

// Path returns where the file is.
func (l *File) Path() string { return l.path }

func openAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
}

func (l *File) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.rotation.isSet() {
		return l.file.Write(p)
	}
	now := clock.Now()
	if l.isOver(now, int64(len(p))) {
		l.trouble = l.rotate() // the lines are not lost by it
	}
	n, err := l.file.Write(p)
	l.size, l.last = l.size+int64(n), now
	return n, err
}

// Rotate has the file begin anew by r from now on.
func (l *File) Rotate(r Rotation) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rotation = r
	return l.measure()
}

// measure notes what the file has already; mu is held.
func (l *File) measure() error {
	there, err := l.file.Stat()
	if err == nil {
		l.size, l.last = there.Size(), there.ModTime()
	}
	return err
}

// isOver reports whether so many octets more go to another file.
func (l *File) isOver(now time.Time, more int64) bool {
	if l.size == 0 {
		return false
	}
	age := l.rotation.Age
	return l.rotation.Size > 0 && l.size+more > l.rotation.Size ||
		age > 0 && !now.UTC().Truncate(age).Equal(l.last.UTC().Truncate(age))
}

// rotate renames the file, and those of before, and makes it again.
func (l *File) rotate() error {
	name := func(n int) string {
		if n == 0 {
			return l.path
		}
		return fmt.Sprintf("%s.%d", l.path, n)
	}
	if l.rotation.Keep == 0 {
		if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for n := l.rotation.Keep - 1; n >= 0; n-- { // what is named Keep already is replaced
		if err := os.Rename(name(n), name(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return l.reopen()
}

// reopen makes the file again; mu is held. Until it succeeds the one before stays open.
func (l *File) reopen() error {
	f, err := openAppend(l.path)
	if err != nil {
		return err
	}
	l.file.Close()
	l.file = f
	return l.measure()
}

func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// Follow makes the file again if it is no longer at its path, and tells of a
// rotation that failed. It returns the first error of a series; until it succeeds, lines go to the file that was moved.
func (l *File) Follow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.trouble; err != nil {
		l.trouble = nil
		return fmt.Errorf("not rotated: %w", err)
	}
	there, err := os.Stat(l.path)
	if err == nil {
		if open, err := l.file.Stat(); err == nil && os.SameFile(there, open) {
			return nil
		}
	}
	if err := l.reopen(); err != nil {
		if l.failed {
			return nil
		}
		l.failed = true
		return err
	}
	l.failed = false
	return nil
}
