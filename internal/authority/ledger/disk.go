package ledger

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"pharos/internal/diskfile"
)

// disk is what a ledger needs of a file system. Tests have one that fails.
type disk interface {
	Open(path string, flag int) (file, error)
	Rename(from, to string) error
	Link(from, to string) error
	Remove(path string) error
	SyncFolder(path string) error
	List(folder string) ([]string, error)
}

// file is an open file. Sync makes its octets and its length durable.
type file interface {
	io.Reader
	io.WriterAt
	Truncate(size int64) error
	Size() (int64, error)
	Sync() error
	Close() error
}

// osDisk is the operating system's file system.
type osDisk struct{}

type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncOctets(f.File) }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (osDisk) Open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }
func (osDisk) Link(from, to string) error   { return os.Link(from, to) }
func (osDisk) Remove(path string) error     { return os.Remove(path) }
func (osDisk) SyncFolder(path string) error { return diskfile.SyncFolder(path) }

func (osDisk) List(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// readFile returns all of a file.
func readFile(d disk, path string) ([]byte, error) {
	f, err := d.Open(path, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := io.ReadFull(f, b)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		err = nil // it has become shorter
	}
	return b[:n], err
}

// writeWhole makes a file of what fill writes: beside, synced, and then renamed.
func writeWhole(d disk, path string, fill func(f file) error) error {
	temp := path + ".tmp"
	f, err := d.Open(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = d.Rename(temp, path)
	}
	if err != nil {
		d.Remove(temp)
	}
	return err
}

// path returns a file of a zone.
func (l *Ledger) path(e *entry, suffix string) string {
	return filepath.Join(l.zonesFolder(), e.name.FileName()+suffix)
}

func (l *Ledger) zonesFolder() string { return filepath.Join(l.config.Folder, "zones") }
