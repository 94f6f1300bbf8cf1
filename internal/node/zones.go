package node

import (
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// servedZone is a zone of the configuration as it is served, or why it is not. There may
// be a million of them.
type servedZone struct {
	Name   dnsname.Name
	View   string // empty outside of views
	Kind   string
	File   string     // of kind file
	Zone   *zone.Zone // nil if it could never be loaded
	loaded int64      // ns since 1970

	// What Zone was made of; see versions.go.
	stamps []diskfile.Stamp // the files it was read from
	source journal.Version
	gated  gating

	journal *journal.Journal // what led to Zone, for IXFR
	*remarks
}

// remarks are what most zones have nothing of.
type remarks struct {
	Steered  string   // the steered names compiled into the zone, joined
	Err      error    // of the last attempt; the old Zone goes on being served
	Warnings []string // of the version that is served

	sourceErr      error // of the last attempt to read the files
	sourceWarnings []string
	steered        steered.Marked // the last steering, so that it is not done again
	findings       []gate.Finding
	refusedBeside  *zone.Zone // what was served when the gate refused another version
}

// noRemarks are those of all zones that have none. Nobody writes to them.
var noRemarks remarks

// slim ends the making of s, which nobody changes from then on. Until then the remarks
// are the maker's, who has one for all zones.
func (s *servedZone) slim() {
	r := *s.remarks
	if s.remarks = &noRemarks; r.isAny() {
		s.remarks = &r
	}
}

func (r *remarks) isAny() bool {
	return r.Err != nil || r.sourceErr != nil || r.refusedBeside != nil || r.steered != (steered.Marked{}) || len(r.Steered)+len(r.Warnings)+len(r.sourceWarnings)+len(r.findings) > 0
}

// again returns a copy of s to be made anew.
func (s *servedZone) again(r *remarks) *servedZone {
	next := *s
	*r, next.remarks = *s.remarks, r
	return &next
}

// Loaded returns when the version of the source came.
func (s *servedZone) Loaded() time.Time { return time.Unix(0, s.loaded) }

// isSecondary reports whether the zone comes from other servers.
func (z *servedZone) isSecondary() bool { return z.Kind == "secondary" }

// fromFile returns the zone of c as its master file, or the image of that, has it.
func fromFile(c *config.Zone, read masterfile.Source, r *remarks) *servedZone {
	s := &servedZone{Name: c.Name, Kind: c.Kind, File: c.File, loaded: clock.Now().UnixNano(), stamps: read.Stamps, remarks: r}
	*r = remarks{sourceWarnings: read.Warnings}
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
