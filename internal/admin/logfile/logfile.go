// Package logfile is files that lines are added to, and that may be moved away under
// way by what rotates logs.
//
// Entry points: Open, File.Follow.
//
// Concurrency: all methods may be called from anywhere.
package logfile

import (
	"os"
	"sync"
)

// File is a file that lines are added to, and that may be moved away by what
// rotates logs: it is then made again.
type File struct {
	path string // constant

	mu     sync.Mutex // guards all below; held while a line is written
	file   *os.File
	failed bool // the last try to make it again; said once
}

// Open opens the file at path, or makes it.
func Open(path string) (*File, error) {
	f, err := openAppend(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path, file: f}, nil
}

// Path returns where the file is.
func (l *File) Path() string { return l.path }

func openAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o640)
}

func (l *File) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Write(p)
}

func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// Follow makes the file again if it is no longer at its path. It returns the
// first error of a series; until it succeeds, lines go to the file that was moved.
func (l *File) Follow() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	there, err := os.Stat(l.path)
	if err == nil {
		if open, err := l.file.Stat(); err == nil && os.SameFile(there, open) {
			return nil
		}
	}
	f, err := openAppend(l.path)
	if err != nil {
		if l.failed {
			return nil
		}
		l.failed = true
		return err
	}
	l.failed = false
	l.file.Close()
	l.file = f
	return nil
}
