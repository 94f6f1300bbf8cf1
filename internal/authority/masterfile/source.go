package masterfile

import (
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

// Load reads the zone with the given origin from a master file within limits. After an
// error the Source has no Zone, but the stamps of what was read.
func Load(origin dnsname.Name, file string, limits Limits) (Source, error) {
	var l Loader
	defer l.Close()
	return l.Load(origin, file, limits)
}
