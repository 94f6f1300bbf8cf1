package masterfile

import (
	"errors"

	"pharos/internal/authority/zone"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// Source is the zone of a master file, and what there was to say about it.
type Source struct {
	Zone     *zone.Zone
	Warnings []string
	Stamps   []diskfile.Stamp // of the file, and of those that it includes
}

// Load reads the zone with the given origin from a master file within limits. After an error the
// Source has no Zone, but the stamps of what was read.
func Load(origin dnsname.Name, file string, l Limits) (Source, error) {
	s := Source{Stamps: []diskfile.Stamp{diskfile.StampOf(file)}}
	z, problems, err := Read(origin, file, l, func(path string) { s.Stamps = append(s.Stamps, diskfile.StampOf(path)) })
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
