package children

import (
	"context"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
)

// This file is what a child says by NOTIFY(CDS): that it should be looked at (RFC 9859 §3). It
// says nothing else, so nobody has to prove who he is; but nobody can have a child looked at,
// and its servers asked, more often than is named here.

const (
	// notifiedPause is how long after a child was looked at NOTIFY has it looked at again: as
	// long as it takes until secondaries have what is new. Who says it earlier is not forgotten.
	notifiedPause = time.Minute
	// mostNotified is how many children wait to be looked at, of all zones: what is asked of all of
	// them takes some minutes. Those beyond are looked at at their next turn.
	mostNotified = 1000
)

// Notified is told that a child has something new to say, and reports whether there is a zone
// that it is a delegation of and that follows its children.
func (d *Driver) Notified(child dnsname.Name) bool {
	parent, ok := d.parentOf(child)
	if !ok {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.counts.Notified++
	if _, has := d.notified[child]; has || len(d.notified) >= mostNotified {
		return true
	}
	due := clock.Now()
	if c := d.familyOf(parent.Name).children[child]; c != nil {
		if after := c.Asked.Add(notifiedPause); after.After(due) {
			due = after
		}
	}
	d.notified[child.Clone()] = due
	return true
}

// parentOf returns the zone, of those that follow their children, that a name is a delegation of.
func (d *Driver) parentOf(child dnsname.Name) (parent Zone, ok bool) {
	for _, z := range d.config.Zones() {
		if z.Version == nil || z.Name == child || !child.IsSubdomainOf(z.Name) {
			continue
		}
		if n := z.Version.Lookup(child).Exact; n != 0 && z.Version.IsCut(n) {
			return z, true
		}
	}
	return parent, false
}

// lookNotified looks at the children that have said so and whose time has come.
func (d *Driver) lookNotified(ctx context.Context) {
	now := clock.Now()
	var due []dnsname.Name
	d.mu.Lock()
	for child, at := range d.notified {
		if !now.Before(at) {
			due = append(due, child)
			delete(d.notified, child)
		}
	}
	d.mu.Unlock()
	byZone := map[dnsname.Name][]dnsname.Name{}
	zones := map[dnsname.Name]Zone{}
	for _, child := range due {
		if z, ok := d.parentOf(child); ok {
			zones[z.Name], byZone[z.Name] = z, append(byZone[z.Name], child)
		}
	}
	for name, list := range byZone {
		d.round(ctx, zones[name], list)
	}
}
