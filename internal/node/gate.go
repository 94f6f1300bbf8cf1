package node

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/masterfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// AcceptZone serves the version of a zone that the gate has refused, once.
func (n *Node) AcceptZone(_ context.Context, name string, serial uint32) (api.Applied, error) {
	in, a, err := n.findZone(name)
	if err != nil {
		return api.Applied{}, err
	}
	apex, k := a.served.Name, n.keepingOf(in)
	k.accept(apex, rdata.Serial(serial), true)
	k.changed(apex)
	k.accept(apex, 0, false)
	s, now := k.apex(apex)
	if now == nil || now.served.Err != nil || now.served.Zone == nil || now.served.Zone.Serial() != rdata.Serial(serial) {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf("zone %s has no version with serial %d that waits to be accepted; \"pharos status\" shows what was refused and why", a.served.ID(), serial)}
	}
	return api.Applied{Revision: s.Revision, Changed: []string{fmt.Sprintf("zone %s: serial %d is served", a.served.ID(), serial)}}, nil
}

// accept lets one version of a zone pass the gate, or no longer.
func (k *keeping) accept(name dnsname.Name, serial rdata.Serial, may bool) {
	k.n.mu.Lock()
	defer k.n.mu.Unlock()
	delete(k.accepted, name)
	if k.accepted == nil {
		k.accepted = map[dnsname.Name]rdata.Serial{}
	}
	if may {
		k.accepted[name] = serial
	}
}

// Rules returns what the gate holds the first version of a zone to, by a configuration
// file, and how much of the zone's own file is read; those of a zone that says nothing of
// it where no configuration is named.
func Rules(file string, name dnsname.Name) (gate.Rules, masterfile.Limits, error) {
	cfg, err := config.Parse("", []byte(fmt.Sprintf("zones: [{name: %q, file: zone}]", name)))
	if file != "" {
		cfg, err = config.Load(file)
	}
	if err != nil {
		return gate.Rules{}, masterfile.Limits{}, err
	}
	at := slices.IndexFunc(cfg.Zones, func(z config.Zone) bool { return z.Name == name })
	if at < 0 {
		return gate.Rules{}, masterfile.Limits{}, fmt.Errorf("%s has no zone %s outside of views; name one with --origin", file, name)
	}
	return settings.Gate(&cfg.Zones[at]), settings.Reading(&cfg.Zones[at]), nil
}
