package node

import (
	"context"
	"fmt"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/serials"
	"pharos/internal/authority/transfer"
	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file holds the first version of a zone after a start against what is remembered
// of the last before it. There is nothing else to serve then, so nothing is refused: it
// is said. A zone of kind store is more: its serial is raised above what its secondaries
// have, for nobody else could.

// recall adds to the findings about the first version what is remembered, if serials of
// the zone matter at all.
func (from before) recall(c *config.Zone, s *servedZone, v journal.Version, rules gate.Rules) {
	if from.serials == nil || rules.Serial == gate.Off || rules.Accepted {
		return
	}
	k, exact, ok := from.serials.Last(c.Name)
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
	go from.raise(c.Name, to) // ends with raiseTimeout at the latest
}

// wasAccepted reports whether an operator has accepted, before the restart, what is now
// the first version.
func (from before) wasAccepted(c *config.Zone, v journal.Version) bool {
	if from.serials == nil {
		return false
	}
	k, _, ok := from.serials.Last(c.Name)
	return ok && k.Accepted != 0 && k.Serial == v.Zone.Serial() && k.Accepted == sumOf(v.Zone)
}

// sumOf returns a sum of the records of a version, which is not 0.
func sumOf(z *zone.Zone) uint32 { return max(1, uint32(journal.SumOf(z))) }

// note remembers what became of a version.
func (from before) note(c *config.Zone, v journal.Version, rules gate.Rules, err error) {
	switch {
	case from.serials == nil:
	case rules.Accepted:
		from.serials.Accept(c.Name, v.Zone.Serial(), sumOf(v.Zone))
	case rules.Serial == gate.Off:
	case err != nil:
		from.serials.Refuse(c.Name, v.Zone.Serial(), err.Error())
	default:
		from.serials.Note(c.Name, v.Zone.Serial())
	}
}

// raiseTimeout bounds the change that raises a serial: longer than any disk that works.
const raiseTimeout = 20 * time.Second

// raise changes the serial of a zone of kind store, if it is less.
func (k *keeping) raise(name dnsname.Name, to rdata.Serial) {
	ctx, cancel := context.WithTimeout(context.Background(), raiseTimeout)
	defer cancel()
	_, err := k.changeInLedger(ctx, name, "this node, after versions were lost", func(now *zone.Zone) (update.Change, error) {
		if !now.Serial().Less(to) {
			return update.Change{}, nil
		}
		soa := transfer.SOA(now)
		data := append([]byte(nil), soa.Data...)
		at := len(data) - 20
		data[at], data[at+1], data[at+2], data[at+3] = byte(to>>24), byte(to>>16), byte(to>>8), byte(to)
		soa.Data = data
		return update.Change{Added: []rdata.Record{soa}}, nil
	})
	if err != nil {
		k.n.log.Error("the serial of a zone whose versions were lost cannot be raised; its secondaries stay behind until it is above", "zone", idOf(k.view, name), "serial", uint32(to), "error", err)
	}
}
