package masterfile

import (
	"errors"
	"os"
	"time"

	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
)

// Stamp tells whether a file has changed.
type Stamp struct {
	Path string
	Size int64
	Time time.Time // zero: there was no such file
}

// StampOf returns the stamp that a file has now.
func StampOf(path string) Stamp {
	s := Stamp{Path: path}
	if st, err := os.Stat(path); err == nil {
		s.Size, s.Time = st.Size(), st.ModTime()
	}
	return s
}

// Changed reports whether one of the files has another stamp now. Without any stamp
// nothing is known, which counts as changed.
func Changed(stamps []Stamp) bool {
	for _, s := range stamps {
		if s != StampOf(s.Path) {
			return true
		}
	}
	return len(stamps) == 0
}

// Source is the zone of a master file, and what there was to say about it.
type Source struct {
	Zone     *zone.Zone
	Warnings []string
	Stamps   []Stamp // of the file, and of those that it includes
}

// Load reads the zone with the given origin from a master file. After an error the
// Source has no Zone, but the stamps of what was read.
func Load(origin dnsname.Name, file string) (Source, error) {
	s := Source{Stamps: []Stamp{StampOf(file)}}
	z, problems, err := Read(origin, file, func(path string) { s.Stamps = append(s.Stamps, StampOf(path)) })
	for _, p := range problems {
		if p.Severity == zone.Fatal {
			err = errors.Join(err, errors.New(p.String()))
		} else {
			s.Warnings = append(s.Warnings, p.String())
		}
	}
	if err != nil {
		return s, err
	}
	if z == nil {
		return s, errors.New("no zone can be made of it")
	}
	s.Zone = z
	return s, nil
}
