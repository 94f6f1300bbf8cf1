package catalogs

import (
	"pharos/internal/authority/catalog"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
)

// kept is what is on disk, so that a restart keeps members whose catalog cannot be
// read now, and serials.
type kept struct {
	Members []keptMember           `json:"members"`
	Made    map[dnsname.Name]*made `json:"made"`
}

type keptMember struct {
	Zone    dnsname.Name `json:"zone"`
	Catalog dnsname.Name `json:"catalog"`
	Label   []byte       `json:"label"` // may have any octets
	Groups  []string     `json:"groups,omitempty"`
	Owner   dnsname.Name `json:"owner,omitzero"`
}

// load takes over what an earlier run knew.
func (k *Keeper) load() {
	var before kept
	if err := diskfile.LoadJSON(k.config.File, &before); err != nil {
		k.config.Log.Warn("the members of catalogs are not known before the catalogs are", "error", err)
		return
	}
	owned := map[dnsname.Name]catalog.Owned{}
	for _, m := range before.Members {
		owned[m.Zone] = catalog.Owned{Member: catalog.Member{Zone: m.Zone, Label: string(m.Label), Groups: m.Groups, Owner: m.Owner}, Catalog: m.Catalog}
	}
	k.members = newMembers(owned)
	for name, m := range before.Made {
		if m != nil {
			k.made[name] = *m
		}
	}
}

// save keeps the members and the serials over a restart.
func (k *Keeper) save() {
	now := kept{Made: map[dnsname.Name]*made{}}
	for _, o := range k.members.All {
		now.Members = append(now.Members, keptMember{o.Zone, o.Catalog, []byte(o.Label), o.Groups, o.Owner})
	}
	for name, m := range k.made {
		now.Made[name] = &m
	}
	if err := diskfile.SaveJSON(k.config.File, now); err != nil {
		k.config.Log.Warn("the members of catalogs are not kept on disk; after a restart they are known when the catalogs are", "error", err)
	}
	k.unsaved = false
}
