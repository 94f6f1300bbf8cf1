package versions

import (
	"strings"
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

// Zone is a zone of the configuration as it is served, or why it is not. There may
// be a million of them.
type Zone struct {
	Name   dnsname.Name
	View   string // empty outside of views
	Kind   string
	File   string     // of kind file
	Zone   *zone.Zone // nil if it could never be loaded
	loaded int64      // ns since 1970

	// What Zone was made of; see way.go.
	Stamps []diskfile.Stamp // the files it was read from
	source journal.Version
	gated  gating

	Journal *journal.Journal // what led to Zone, for IXFR
	*Remarks
}

// Remarks are what most zones have nothing of.
type Remarks struct {
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
var noRemarks Remarks

// slim ends the making of s, which nobody changes from then on. Until then the remarks
// are the maker's, who has one for all zones.
func (s *Zone) slim() {
	r := *s.Remarks
	if s.Remarks = &noRemarks; r.isAny() {
		s.Remarks = &r
	}
}

func (r *Remarks) isAny() bool {
	return r.Err != nil || r.sourceErr != nil || r.refusedBeside != nil || r.steered != (steered.Marked{}) || len(r.Steered)+len(r.Warnings)+len(r.sourceWarnings)+len(r.findings) > 0
}

// again returns a copy of s to be made anew.
func (s *Zone) again(r *Remarks) *Zone {
	next := *s
	*r, next.Remarks = *s.Remarks, r
	return &next
}

// Loaded returns when the version of the source came.
func (s *Zone) Loaded() time.Time { return time.Unix(0, s.loaded) }

// IsSecondary reports whether the zone comes from other servers.
func (z *Zone) IsSecondary() bool { return z.Kind == "secondary" }

// fromFile returns the zone of c as its master file, or the image of that, has it.
func fromFile(c *config.Zone, read masterfile.Source, r *Remarks) *Zone {
	s := &Zone{Name: c.Name, Kind: c.Kind, File: c.File, loaded: clock.Now().UnixNano(), Stamps: read.Stamps, Remarks: r}
	*r = Remarks{sourceWarnings: read.Warnings}
	s.source.Zone = read.Zone
	return s
}

// keepJournal gives s the differences that lead to it from old, for IXFR, within
// limit octets. A serial that does not go forward has none: see zones[].gate.serial.
func (s *Zone) keepJournal(old *Zone, limit int) {
	if s.Journal != nil || old == nil || old.Zone == nil || s.Zone == nil {
		return
	}
	_, _, size := s.Zone.Stats()
	from, to := old.Zone.Serial(), s.Zone.Serial()
	switch {
	case s.Zone == old.Zone:
		s.Journal = old.Journal
	case from.Less(to):
		d, _ := journal.Between(old.Zone, s.Zone, min(limit, size))
		s.Journal = old.Journal.With(d, limit)
	case from == to && journal.Same(old.Zone, s.Zone):
		s.Journal = old.Journal
	}
}

// Records returns how many records a zone has.
func (z *Zone) Records() (records int) {
	if z.Zone != nil {
		_, records, _ = z.Zone.Stats()
	}
	return records
}

// BrokenBy returns 1 for a zone without anything to serve; nil is no zone.
func BrokenBy(z *Zone) int {
	if z != nil && z.Zone == nil {
		return 1
	}
	return 0
}

// ID returns how a zone is called to people: by its name, in a view zone@view.
func ID(view string, name dnsname.Name) string {
	if view == "" {
		return name.String()
	}
	return name.String() + "@" + view
}

// ID returns how the zone is called to people.
func (z *Zone) ID() string { return ID(z.View, z.Name) }

// ParseID is the reverse of id, and takes the final dot or leaves it.
func ParseID(id string) (view string, name dnsname.Name, err error) {
	text, view, _ := strings.Cut(id, "@")
	name, err = dnsname.Parse(text)
	return view, name, err
}
