package settings

import (
	"cmp"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/resolver/upgrade"
)

// Discover returns the servers that are asked how they can be asked encrypted.
func Discover(routes []config.ResolverRoute) (all []upgrade.Source) {
	for _, r := range routes {
		all = append(all, sourcesOf(r)...)
	}
	return all
}

func sourcesOf(r config.ResolverRoute) (all []upgrade.Source) {
	if r.Discover == "" || r.Discover == "off" {
		return nil
	}
	for _, s := range r.Servers {
		all = append(all, upgrade.Source{Server: s, Strict: r.Discover == "strict", CA: r.DiscoverCA})
	}
	return all
}

// Upgraded returns routes with what is known of their servers: encrypted ones in place of
// plain ones as soon as one is known, as a route has either. A strict route without any
// leads nowhere.
func Upgraded(routes []config.ResolverRoute, known func(upgrade.Source) (upgrade.Found, bool)) []config.ResolverRoute {
	out := slices.Clone(routes)
	for i := range out {
		r := &out[i]
		var found []config.EncryptedServer
		for _, s := range sourcesOf(*r) {
			if f, ok := known(s); ok {
				found = append(found, encryptedServer(s, f))
			}
		}
		if len(found) > 0 || r.Discover == "strict" {
			r.Servers, r.Encrypted = nil, found
		}
	}
	return out
}

func encryptedServer(s upgrade.Source, f upgrade.Found) config.EncryptedServer {
	e := config.EncryptedServer{Address: f.At, Path: f.Path, TLS: config.PeerTLS{Name: f.Name, Pin: f.Pin}}
	if f.Name != "" {
		e.TLS.CA = s.CA
	}
	for name, over := range Transports {
		if over == f.Over {
			e.Transport = name
		}
	}
	e.Path = cmp.Or(e.Path, "/dns-query") // of DoH alone
	return e
}
