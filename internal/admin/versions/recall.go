package versions

import (
	"fmt"

	"pharos/internal/admin/config"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/serials"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/rdata"
)

// This file holds the first version of a zone after a start against what is remembered
// of the last before it. There is nothing else to serve then, so nothing is refused: it
// is said. A zone of kind store is more: its serial is raised above what its secondaries
// have, for nobody else could.

// recall adds to the findings about the first version what is remembered, if serials of
// the zone matter at all.
func (w *Way) recall(c *config.Zone, s *Zone, v journal.Version, rules gate.Rules) {
	if w.Serials == nil || rules.Serial == gate.Off || rules.Accepted {
		return
	}
	k, exact, ok := w.Serials.Last(c.Name)
	if !ok {
		return
	}
	origin, serial := v.Zone.Origin(), v.Zone.Serial()
	add := func(format string, args ...any) {
		s.findings = append(s.findings, gate.Finding{Rule: "serial", Name: origin, Type: rdata.TypeSOA, Text: fmt.Sprintf(format, args...)})
	}
	if k.Reason != "" && k.Refused == serial {
		add("serial %d was refused before the restart, and is served now because nothing else is there: %s", serial, k.Reason)
	}
	if !serial.Less(k.Serial) {
		return
	}
	switch {
	case v.Zone != s.source.Zone: // a signed version, with a serial of its own
		add("serial %d was served before the restart, and what was signed last had not come to disk: version %d is served until the zone is signed anew, under a serial above both", k.Serial, serial)
		return
	case c.Kind != "store":
		add("serial %d was served before the restart, and %d is behind it (RFC 1982): secondaries do not see the change; raise it above %d", k.Serial, serial, k.Serial)
		return
	}
	add("serial %d was served before the restart, and versions up to it are lost; the serial is raised, so that secondaries follow", k.Serial)
	to := k.Serial + 1
	if !exact {
		to += serials.Margin
	}
	go w.Raise(c.Name, to) // ends with raiseTimeout at the latest
}

// wasAccepted reports whether an operator has accepted, before the restart, what is now
// the first version.
func (w *Way) wasAccepted(c *config.Zone, v journal.Version) bool {
	if w.Serials == nil {
		return false
	}
	k, _, ok := w.Serials.Last(c.Name)
	return ok && k.Accepted != 0 && k.Serial == v.Zone.Serial() && k.Accepted == sumOf(v.Zone)
}

// sumOf returns a sum of the records of a version, which is not 0.
func sumOf(z *zone.Zone) uint32 { return max(1, uint32(journal.SumOf(z))) }

// note remembers what became of a version.
func (w *Way) note(c *config.Zone, v journal.Version, rules gate.Rules, err error) {
	switch {
	case w.Serials == nil:
	case rules.Accepted:
		w.Serials.Accept(c.Name, v.Zone.Serial(), sumOf(v.Zone))
	case rules.Serial == gate.Off:
	case err != nil:
		w.Serials.Refuse(c.Name, v.Zone.Serial(), err.Error())
	default:
		w.Serials.Note(c.Name, v.Zone.Serial())
	}
}

// keepOnDisk has the journal of s kept for the next start, and, of the first version
// after a start, brings back what the last process has kept. The ledger keeps its own.
func (w *Way) keepOnDisk(s, old *Zone) {
	isLedgers := s.Journal != nil && s.Journal == s.source.Journal && s.Kind == "store"
	if w.Journals == nil || s.Zone == nil || isLedgers {
		return
	}
	if s.Journal == nil && (old == nil || old.Zone == nil) {
		s.Journal = w.Journals.Load(s.Zone)
		return
	}
	w.Journals.Save(s.Zone, s.Journal)
}
