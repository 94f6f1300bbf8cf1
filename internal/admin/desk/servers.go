package desk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"pharos/internal/admin/api"
	"pharos/internal/authority/xfr"
)

// Notify tells the secondaries of a zone which serial it has, now.
func (d *Desk) Notify(_ context.Context, name string) (api.Applied, error) {
	z, err := d.config.Zone(name)
	switch {
	case err != nil:
		return api.Applied{}, err
	case len(z.Secondaries) == 0:
		return api.Applied{}, refuse("zone %s names nobody to tell; add servers under its key notify", z.ID)
	case z.Version == nil:
		return api.Applied{}, refuse("zone %s has no version to tell of", z.ID)
	}
	z.Announce()
	out := d.applied()
	for _, p := range z.Secondaries {
		out.Changed = append(out.Changed, fmt.Sprintf("%s is told of serial %d", p.Address, z.Version.Serial()))
	}
	return out, nil
}

// Refresh has the primaries of a secondary zone asked now. With force, the whole zone
// is transferred whatever its serial.
func (d *Desk) Refresh(_ context.Context, name string, force bool) (api.Applied, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return api.Applied{}, err
	}
	if !z.Refresh(force) {
		return api.Applied{}, refuse("zone %s is no secondary zone; \"pharos reload\" reads its file again", z.ID)
	}
	return d.applied(fmt.Sprintf("zone %s: its primaries are asked; \"pharos zones\" shows what comes of it", z.ID)), nil
}

// Check asks the other servers of a zone for their serials.
func (d *Desk) Check(ctx context.Context, name string) (api.ZoneCheck, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return api.ZoneCheck{}, err
	}
	out := api.ZoneCheck{Name: z.ID}
	if z.Version != nil {
		out.Serial = uint32(z.Version.Serial())
	}
	servers := append(z.Primaries[:len(z.Primaries):len(z.Primaries)], z.Secondaries...)
	out.Servers = make([]api.ServerCheck, len(servers))
	var asking sync.WaitGroup
	for i, p := range servers {
		at := &out.Servers[i]
		at.Role, at.Address = "primary", p.Address.String()
		if i >= len(z.Primaries) {
			at.Role = "secondary"
		}
		asking.Go(func() { // ends with the answer, or by the time limits of a query
			serial, err := xfr.Serial(ctx, p, z.Name)
			if at.Serial = uint32(serial); err != nil {
				at.Problem = err.Error()
			}
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return api.ZoneCheck{}, errors.New("the call was given up")
	}
	return out, nil
}
