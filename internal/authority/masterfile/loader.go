package masterfile

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// Loader loads one zone after the other. It keeps the folder of the last one open: of a
// million files in one folder, opening that would take as long as reading them. The zero
// Loader is ready; it belongs to one goroutine.
type Loader struct {
	folder string
	root   *os.Root
	stamps []diskfile.Stamp // of the last zone

	text   []byte         // of the file with textOf, if that was read twice in a row and is small
	textOf diskfile.Stamp // the zero Stamp: of none

	known *diskfile.Stamp // the first of those that were last compared with what there is
	isOld bool            // and whether that has changed
}

// changed reports whether files have changed. Of a million zones that are read from one
// file, it looks once.
func (l *Loader) changed(stamps []diskfile.Stamp) bool {
	if l.known != &stamps[0] {
		l.known, l.isOld = &stamps[0], diskfile.Changed(stamps)
	}
	return l.isOld
}

// Close closes the folder.
func (l *Loader) Close() {
	if l.root != nil {
		l.root.Close()
		l.root = nil
	}
}

// Load is the function Load.
func (l *Loader) Load(origin dnsname.Name, file string, limits Limits) (Source, error) {
	s := Source{Stamps: []diskfile.Stamp{diskfile.StampOf(file)}}
	build := zone.NewBuilder(origin)
	err := l.records(origin, file, s.Stamps[0], limits, func(path string) { s.Stamps = append(s.Stamps, diskfile.StampOf(path)) }, build.Add)
	if slices.Equal(s.Stamps, l.stamps) {
		s.Stamps = l.stamps // a million zones may be read from one file
	}
	l.stamps = s.Stamps
	if err != nil {
		return s, err
	}
	z, problems := build.Finish()
	for _, p := range problems {
		if p.Severity == zone.Fatal {
			err = errors.Join(err, errors.New(p.String()))
		} else {
			s.Warnings = append(s.Warnings, p.String())
		}
	}
	if err == nil && z == nil {
		err = errors.New("no zone can be made of it")
	}
	if err == nil {
		s.Zone = z
	}
	return s, err
}

// Records is the function Records.
func (l *Loader) Records(origin dnsname.Name, file string, limits Limits, included func(path string), add func(rdata.Record)) error {
	return l.records(origin, file, diskfile.Stamp{}, limits, included, add)
}

// records is Records for a file with a stamp, which may be zero.
func (l *Loader) records(origin dnsname.Name, file string, stamp diskfile.Stamp, limits Limits, included func(path string), add func(rdata.Record)) error {
	folder, name := filepath.Split(file)
	if folder == "" {
		folder = "."
	}
	if err := l.enter(folder); err != nil {
		return err
	}
	f, err := l.open(name, stamp)
	if err != nil {
		return explainOpen("zone file", filepath.Join(folder, name), err)
	}
	defer f.Close()
	var mistakes []error
	options := zonefile.Options{
		Origin: origin, File: filepath.Join(folder, name), MaxRecords: limits.Records, MaxOctets: limits.Octets, Transient: true,
		Open: func(path string) (io.ReadCloser, error) {
			if included != nil {
				included(filepath.Join(folder, path))
			}
			return openPlain(l.root, path)
		},
	}
	for record, err := range zonefile.Read(f, options) {
		if err != nil {
			if mistakes = append(mistakes, err); len(mistakes) >= MaxMistakes {
				break
			}
			continue
		}
		add(record)
	}
	return errors.Join(mistakes...)
}

// sharedText is up to how many octets the text of a file that several zones are read from
// is kept for the next of them: opening a small file takes longer than reading it.
const sharedText = 64 << 10

// open opens a file of the folder, or what is kept of it.
func (l *Loader) open(name string, stamp diskfile.Stamp) (io.ReadCloser, error) {
	if stamp != (diskfile.Stamp{}) && stamp == l.textOf {
		return io.NopCloser(bytes.NewReader(l.text)), nil
	}
	f, err := openPlain(l.root, name)
	again := len(l.stamps) > 0 && l.stamps[0] == stamp
	if err != nil || !again || stamp.Size > sharedText || strings.HasSuffix(name, ".gz") {
		return f, err
	}
	text, err := io.ReadAll(io.LimitReader(f, sharedText+1))
	f.Close()
	if err != nil {
		return nil, err
	}
	if len(text) != int(stamp.Size) { // it is being written
		return openPlain(l.root, name)
	}
	l.text, l.textOf = text, stamp
	return io.NopCloser(bytes.NewReader(text)), nil
}

// enter opens a folder, if it is not open.
func (l *Loader) enter(folder string) error {
	if l.root != nil && l.folder == folder {
		return nil
	}
	l.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return explainOpen("folder of the zone file", folder, err)
	}
	l.folder, l.root = folder, root
	return nil
}
