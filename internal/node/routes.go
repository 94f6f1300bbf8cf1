package node

import (
	"net/netip"
	"reflect"
	"slices"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/problems"
	"pharos/internal/admin/resolverdesk"
	"pharos/internal/admin/settings"
	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/upgrade"
	"pharos/internal/serve/dnsserver"
)

// followRoutes has the resolvers take the routes of next, where those are others.
func (n *Node) followRoutes(prev, next *Snapshot) {
	if prev == nil {
		return
	}
	follow := func(prev, next *config.Config, resolver *outbound.Driver) {
		if resolver == nil || reflect.DeepEqual(prev.Resolver.Routes, next.Resolver.Routes) {
			return
		}
		n.reroute(next, resolver)
		n.log.Info("routes of the resolver changed; what was learnt through them is forgotten")
	}
	follow(prev.Config, next.Config, n.resolver)
	for _, v := range next.views {
		if before := prev.viewOf(v.viewName()); before != nil && v.view.own != nil {
			follow(before.Config, v.Config, v.view.own.resolver)
		}
	}
}

// reroute has a resolver take the routes of cfg, with what is known of their servers.
func (n *Node) reroute(cfg *config.Config, resolver *outbound.Driver) {
	var c outbound.Config
	settings.AddRoutes(&c, settings.Upgraded(cfg.Resolver.Routes, n.upgrades.Known))
	beliefs{root: n.rootCopy(cfg.Resolver)}.addTo(&c)
	resolver.Reroute(c.Routes, c.Peers, c.Private)
}

// followUpgrades has the plain servers asked how they can be asked encrypted. All views
// have the routes of the configuration.
func (n *Node) followUpgrades(s *Snapshot) {
	sources := settings.Discover(s.Config.Resolver.Routes)
	n.upgrades.Set(sources)
	n.problems.KeepIf(problems.RouteInClear, func(about string) bool {
		return slices.ContainsFunc(sources, func(s upgrade.Source) bool { return s.Server.String() == about })
	})
}

// onUpgrade has the resolvers ask a server in another way.
func (n *Node) onUpgrade(st upgrade.State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.current.Load()
	if !slices.Contains(settings.Discover(s.Config.Resolver.Routes), st.Source) {
		return // it was taken out just now
	}
	n.problem(problems.RouteInClear, st.Source.Server.String(), st.Problem)
	n.reroute(s.Config, n.resolver)
	for _, v := range s.views {
		if v.view.own != nil && v.view.own.resolver != nil {
			n.reroute(v.Config, v.view.own.resolver)
		}
	}
}

// upstreams returns what is known of servers that are asked so.
func (n *Node) upstreams() []api.Upstream { return resolverdesk.Upstreams(n.upgrades.States()) }

// nearOf returns for whom a question is: the client, or whom a trusted one names; the
// zero Addr if nobody is to be told (RFC 7871 §7.1.2).
func (s *Snapshot) nearOf(d *dnsserver.Deferred) netip.Addr {
	if len(s.Config.Resolver.ClientSubnet.Zones) == 0 {
		return netip.Addr{}
	}
	return s.placeOf(d)
}

// placeOf is nearOf, whether or not anybody is told.
func (s *Snapshot) placeOf(d *dnsserver.Deferred) netip.Addr {
	client := d.Client().Addr()
	option := d.Query().EDNS.Subnet
	if option == nil {
		return client
	}
	subnet, ok := dnswire.ParseSubnet(option)
	switch {
	case !ok || !subnet.IsSet():
		return netip.Addr{}
	case s.subnets.Allows(client):
		return subnet.Prefix.Addr()
	}
	return client
}

// addScope tells a trusted client for which of its clients a late answer is good.
func (n *Node) addScope(d *dnsserver.Deferred, scope int, out *dnswire.Builder) {
	if option := d.Query().EDNS.Subnet; option != nil && n.current.Load().subnets.Allows(d.Client().Addr()) {
		out.AddSubnet(option, scope)
	}
}
