// Package masterfile reads zones from master files on disk.
//
// It owns which files may be opened, and what is said when they cannot be. It does
// not own their syntax (package zonefile) nor what makes records a zone (package
// zone).
//
// Entry points: Read makes a zone of a file, Load notes also which files it was made
// of; Records yields what is in it; Images keeps large zones ready, and Images.LoadAll loads
// many at once.
//
// Concurrency: everything but Images is a function of its arguments and of the disk.
package masterfile

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// MaxMistakes is how many mistakes of one file are reported: a screen.
const MaxMistakes = 20

// Limits bound what is read of one zone. The zero Limits are those of package zonefile.
type Limits struct {
	Records int   // 0: any number
	Octets  int64 // of text, unpacked; 0: zonefile.MaxOctets
}

// Read reads the zone with the given origin from a master file, plain or
// compressed with gzip. included is called with the path of each file that it
// includes; nil: with none. The error has everything that could not be read, up to
// MaxMistakes.
func Read(origin dnsname.Name, file string, l Limits, included func(path string)) (*zone.Zone, []zone.Problem, error) {
	build := zone.NewBuilder(origin)
	if err := Records(origin, file, l, included, build.Add); err != nil {
		return nil, nil, err
	}
	z, problems := build.Finish()
	return z, problems, nil
}

// Records calls add with each record of a master file; see Read. The record is good
// until add returns. What a file includes must lie in its folder or below: os.Root
// sees to it that no path and no symbolic link leads out.
func Records(origin dnsname.Name, file string, limits Limits, included func(path string), add func(rdata.Record)) error {
	var l Loader
	defer l.Close()
	return l.Records(origin, file, limits, included, add)
}

// explainOpen says what could not be opened, where that is, and the remedy.
func explainOpen(what, path string, err error) error {
	if abs, absErr := filepath.Abs(path); absErr == nil {
		path = abs
	}
	remedy := ""
	switch {
	case errors.Is(err, fs.ErrNotExist):
		remedy = "; put it there, or correct zones[].file, which begins at the folder of the configuration file"
	case errors.Is(err, fs.ErrPermission):
		remedy = "; give the user that runs pharos the right to read it"
	}
	if open := (*fs.PathError)(nil); errors.As(err, &open) {
		err = open.Err // the path is named once
	}
	return fmt.Errorf("%s %s: %w%s", what, path, err, remedy)
}

// openPlain opens a file below root, unpacking it if its name ends in .gz.
func openPlain(root *os.Root, path string) (io.ReadCloser, error) {
	f, err := root.Open(path)
	if err != nil || !strings.HasSuffix(path, ".gz") {
		return f, err
	}
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{unpacked, f}, nil
}
