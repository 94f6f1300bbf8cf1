package node

import (
	"strings"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// servedZone is a zone of the configuration as it is served, or why it is not.
type servedZone struct {
	Name     dnsname.Name
	View     string // empty outside of views
	Kind     string
	File     string     // of kind file
	Zone     *zone.Zone // nil if it could never be loaded
	Loaded   time.Time
	Steered  string   // the steered names compiled into it, joined
	Err      error    // of the last attempt; the old Zone goes on being served
	Warnings []string // of the version that is served

	// What Zone was made of; see versions.go.
	stamps         []diskfile.Stamp // the files it was read from
	source         journal.Version
	sourceErr      error // of the last attempt to read the files
	sourceWarnings []string
	steered        steering // the last steering, so that it is not done again
	gated          gating   // likewise

	journal *journal.Journal // what led to Zone, for IXFR
}

// isSecondary reports whether the zone comes from other servers.
func (z *servedZone) isSecondary() bool { return z.Kind == "secondary" }

// fromFile returns the zone of c as its master file, or the image of that, has it.
func fromFile(c *config.Zone, read masterfile.Source) *servedZone {
	s := &servedZone{Name: c.Name, Kind: c.Kind, File: c.File, Loaded: clock.Now(), stamps: read.Stamps, sourceWarnings: read.Warnings}
	s.source.Zone = read.Zone
	return s
}

// keepJournal gives s the differences that lead to it from old, for IXFR, within
// limit octets. A serial that does not go forward has none: see zones[].gate.serial.
func (s *servedZone) keepJournal(old *servedZone, limit int) {
	if s.journal != nil || old == nil || old.Zone == nil || s.Zone == nil {
		return
	}
	_, _, size := s.Zone.Stats()
	from, to := old.Zone.Serial(), s.Zone.Serial()
	switch {
	case s.Zone == old.Zone:
		s.journal = old.journal
	case from.Less(to):
		d, _ := journal.Between(old.Zone, s.Zone, min(limit, size))
		s.journal = old.journal.With(d, limit)
	case from == to && journal.Same(old.Zone, s.Zone):
		s.journal = old.journal
	}
}

func joinNames(names []marking) string {
	var b strings.Builder
	for _, n := range names {
		b.WriteString(n.name.Wire())
		b.WriteByte(byte(n.how))
	}
	return b.String()
}
