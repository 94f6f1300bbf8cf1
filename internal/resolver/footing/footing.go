// Package footing reads what a resolver begins with out of files of the operator's: the
// root's hints, and trust anchors.
//
// A file that cannot be read, or says nothing of use, takes nothing away: what was read
// before goes on counting, over restarts too where a copy is kept. Whoever resolves by
// other means need not be down for it.
//
// It owns the files' content and state; what is done with the records, and how they are
// parsed, is for others to say.
//
// Entry points: File.Follow, Records, Problem, HasChanged.
//
// Concurrency: the methods of a File may be called from any goroutine.
package footing

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"pharos/internal/diskfile"
	"pharos/internal/dns/rdata"
)

// most is how large a file may be, 1 MiB: IANA's hints and anchors have 4 kB.
const most = 1 << 20

// File is one file that is followed. The zero File with Parse is one without path.
type File struct {
	// Constant. Parse makes records of a file's text.
	Parse func(path string, text []byte) ([]rdata.Record, error)
	// Copy is where the text is kept that was good last; nothing: nowhere.
	Copy string

	mu      sync.Mutex // guards all below
	path    string
	stamp   diskfile.Stamp
	text    []byte // that records were made of
	records []rdata.Record
	problem error
}

// Follow reads the file at path if it is another file, or another version, than was read
// last, and reports whether others count now. Without a path nothing does.
func (f *File) Follow(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if path == "" {
		had := len(f.records) > 0
		f.path, f.text, f.records, f.problem = "", nil, nil, nil
		return had
	}
	if path == f.path && !f.stamp.Changed() {
		return false
	}
	f.path, f.stamp = path, diskfile.StampOf(path)
	text, records, err := f.read(path)
	if f.problem = err; err == nil {
		f.keep(text)
	} else if len(f.records) == 0 && f.Copy != "" { // a start: what counted before it
		if text, records, err = f.read(f.Copy); err != nil {
			return false
		}
	}
	if err != nil || bytes.Equal(text, f.text) {
		return false
	}
	f.text, f.records = text, records
	return true
}

// read returns what a file says.
func (f *File) read(path string) ([]byte, []rdata.Record, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, nil, fmt.Errorf("%s: want a regular file of at most %d octets", path, most)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	records, err := f.Parse(path, text)
	return text, records, err
}

// keep makes a copy of a good text. Where there can be none, a restart with a damaged file
// will have nothing to begin with: that is no worse than without this package.
func (f *File) keep(text []byte) {
	if f.Copy == "" {
		return
	}
	if kept, err := os.ReadFile(f.Copy); err == nil && bytes.Equal(kept, text) {
		return
	}
	if err := diskfile.Replace(f.Copy, text); err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.problem = fmt.Errorf("%w; the file counts, but a restart with it damaged would have nothing to begin with", err)
	}
}

// Records returns what counts; nothing if no version could be read.
func (f *File) Records() []rdata.Record {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.records
}

// Problem returns what is the matter with the file; nil if nothing is.
func (f *File) Problem() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.problem
}

// HasChanged reports whether there is another version of the file than was read.
func (f *File) HasChanged() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.path != "" && f.stamp.Changed()
}
