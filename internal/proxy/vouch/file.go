package vouch

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"sync"

	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/pages"
)

// fileOf returns how to get at the content of a file.
func (d *Desk) fileOf(file string) (func() *pages.File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.files[file]
	if s == nil {
		r := &fileReader{name: file, log: d.log}
		s = &source[pages.File]{from: file, each: fileEach, log: d.log, read: r.read}
	}
	if err := s.readNow(); err != nil {
		return nil, err
	}
	d.files[file] = s
	return s.get, nil
}

// fileReader reads a file, and what lies beside it in codings.
type fileReader struct {
	// Constant.
	name string
	log  *slog.Logger

	// Guarded by mu.
	mu     sync.Mutex
	file   *pages.File                // as it was read last
	beside map[compress.Coding][]byte // all that was beside it
}

// read returns the file that there was if nothing has changed: its forms were made once.
func (r *fileReader) read(context.Context) (*pages.File, error) {
	text, err := readFile(r.name)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	beside := r.besides()
	if r.file != nil && bytes.Equal(r.file.Content, text) && maps.EqualFunc(beside, r.beside, bytes.Equal) {
		return r.file, nil
	}
	r.file, r.beside = pages.NewFile(text), beside
	for c, packed := range beside {
		if err := r.file.Accept(c, packed); err != nil {
			r.log.Warn("a compressed file beside another is left out", "file", r.name+pages.Endings[c], "error", err)
		}
	}
	return r.file, nil
}

// besides returns the files beside the file that may hold it in a coding.
func (r *fileReader) besides() map[compress.Coding][]byte {
	all := map[compress.Coding][]byte{}
	for c, ending := range pages.Endings {
		packed, err := readFile(r.name + ending)
		switch {
		case err == nil:
			all[c] = packed
		case !errors.Is(err, fs.ErrNotExist) && r.file == nil: // told once
			r.log.Warn("a compressed file beside another cannot be read", "file", r.name+ending, "error", err)
		}
	}
	return all
}
