package parentnotify

import (
	"context"
	"encoding/binary"
	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// target is where a DSYNC record has NOTIFY sent to.
type target struct {
	host dnsname.Name
	port uint16
}

// schemeNotify is the scheme of DSYNC records that have a NOTIFY sent (RFC 9859 §2.2).
const schemeNotify = 1

// dsyncLabel stands between the part of a child's name that is below its parent and the parent
// (RFC 9859 §3.1).
const dsyncLabel = "\x06_dsync"

// find returns where the parent of child wants NOTIFY(CDS) sent (RFC 9859 §4.1): the record of the
// child, as if its parent were one label above; if the zone is further up, as the negative answer
// tells, that for this zone; then the one of the whole parent.
func (d *Driver) find(ctx context.Context, child dnsname.Name) ([]target, error) {
	parent := child.Parent()
	for guess := 0; guess < 2; guess++ {
		targets, zone, err := d.ask(ctx, child, parent)
		if err != nil || len(targets) > 0 {
			return targets, err
		}
		// The zone of a negative answer may also be one below _dsync, which says nothing new.
		if zone.IsZero() || zone == parent || !parent.IsSubdomainOf(zone) {
			break
		}
		parent = zone
	}
	targets, _, err := d.ask(ctx, parent, parent)
	if err == nil && len(targets) == 0 {
		err = errNone
	}
	return targets, err
}

// ask asks for the DSYNC records that a parent has for child; child is parent: for all. If there
// are none, zone is the one that says so.
func (d *Driver) ask(ctx context.Context, child, parent dnsname.Name) (targets []target, zone dnsname.Name, err error) {
	name, ok := dsyncName(child, parent)
	if !ok {
		return nil, zone, errNone // too long for a name
	}
	found, err := d.config.Resolve(ctx, name, rdata.TypeDSYNC)
	if err != nil {
		return nil, zone, fmt.Errorf("%s DSYNC: %w", name, err)
	}
	for _, data := range found.Data {
		if t, ok := parseDSYNC(data); ok {
			targets = append(targets, t)
		}
	}
	return targets, found.Zone, nil
}

// dsyncName puts _dsync between what of child is below parent and parent.
func dsyncName(child, parent dnsname.Name) (dnsname.Name, bool) {
	wire := []byte(child.Wire()[:child.Len()-parent.Len()])
	wire = append(append(wire, dsyncLabel...), parent.Wire()...)
	n, _, err := dnsname.FromWire(wire)
	return n, err == nil
}

// parseDSYNC returns the target of a record for NOTIFY of CDS (RFC 9859 §2.1); ok is false for
// others.
func parseDSYNC(data []byte) (t target, ok bool) {
	if len(data) < 6 || rdata.Type(binary.BigEndian.Uint16(data)) != rdata.TypeCDS || data[2] != schemeNotify {
		return t, false
	}
	t.port = binary.BigEndian.Uint16(data[3:])
	host, n, err := dnsname.FromWire(data[5:])
	t.host = host
	// Port 0, and the root as the target, mean that nothing is to be sent.
	return t, err == nil && n == len(data)-5 && t.port != 0 && !host.IsRoot()
}
