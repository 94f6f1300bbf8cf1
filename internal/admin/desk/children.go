package desk

import (
	"context"
	"errors"

	"pharos/internal/admin/api"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// findParent returns the zone that an operator means, if its DS records follow its children.
func (d *Desk) findParent(name string) (Zone, error) {
	z, err := d.config.Zone(name)
	if err == nil && z.Children == nil {
		err = refuse("zone %s is not of kind store, or is in a view: its DS records do not follow its children", z.ID)
	}
	return z, err
}

// Children returns how the children of a zone were when they were last asked.
func (d *Desk) Children(_ context.Context, name string) (api.ZoneChildren, error) {
	z, err := d.findParent(name)
	if err != nil {
		return api.ZoneChildren{}, err
	}
	out := api.ZoneChildren{Name: z.ID, Children: []api.ZoneChild{}}
	for _, c := range z.Children.State(z.Name) {
		child := api.ZoneChild{Name: c.Name.String(), State: string(c.Outcome), Why: c.Why, Asked: c.Asked, Changed: c.Changed, DS: []string{}}
		if z.Version != nil {
			if n := z.Version.Lookup(c.Name).Exact; n != 0 {
				set, _ := z.Version.RRset(n, rdata.TypeDS)
				for at, i := 0, 0; i < set.Count; i++ {
					var data []byte
					data, _, at = set.Record(at)
					child.DS = append(child.DS, string(rdata.AppendText(nil, rdata.TypeDS, data)))
				}
			}
		}
		out.Children = append(out.Children, child)
	}
	return out, nil
}

// AskChildren asks the children of a zone now, or the one that is named.
func (d *Desk) AskChildren(ctx context.Context, name, child string) (api.ZoneChildren, error) {
	z, err := d.findParent(name)
	if err != nil {
		return api.ZoneChildren{}, err
	}
	var one dnsname.Name
	if child != "" {
		if one, err = dnsname.Parse(child); err != nil {
			return api.ZoneChildren{}, misunderstood("%q is no name: %w", child, err)
		}
	}
	switch err := z.Children.Look(ctx, z.Name, one); {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return api.ZoneChildren{}, err
	case err != nil:
		return api.ZoneChildren{}, refuse("%w", err)
	}
	return d.Children(ctx, name)
}
