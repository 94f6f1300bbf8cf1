package resolverdesk

import (
	"pharos/internal/admin/api"
	"pharos/internal/resolver/upgrade"
)

// Upstreams returns what is known of servers as operators see it.
func Upstreams(states []upgrade.State) []api.Upstream {
	all := []api.Upstream{}
	for _, s := range states {
		u := api.Upstream{Server: s.Source.Server.String(), Strict: s.Source.Strict, Checked: s.Checked, Next: s.Next, Problem: s.Problem}
		if s.Found != (upgrade.Found{}) {
			u.At, u.Transport, u.Verified = s.Found.At.String(), s.Found.Over.String(), s.Found.Name != ""
		}
		all = append(all, u)
	}
	return all
}
