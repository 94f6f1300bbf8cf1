package node

import (
	"net/netip"
	"reflect"

	"pharos/internal/admin/config"
	"pharos/internal/admin/settings"
	"pharos/internal/admin/telemetry"
	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/serve/dnsserver"
)

// followRoutes has the resolvers take the routes of next, where those are others.
func (n *Node) followRoutes(prev, next *Snapshot) {
	if prev == nil {
		return
	}
	follow := func(prev, next *config.Config, resolver *outbound.Driver) {
		before, now := prev.Resolver.Routes, next.Resolver.Routes
		if resolver == nil || reflect.DeepEqual(before, now) {
			return
		}
		var c outbound.Config
		settings.AddRoutes(&c, now)
		beliefs{root: n.rootCopy(next.Resolver)}.addTo(&c)
		resolver.Reroute(c.Routes, c.Peers, c.Private)
		n.log.Info("routes of the resolver changed; what was learnt through them is forgotten")
	}
	follow(prev.Config, next.Config, n.resolver)
	for _, v := range next.views {
		if before := prev.viewOf(v.viewName()); before != nil && v.view.own != nil {
			follow(before.Config, v.Config, v.view.own.resolver)
		}
	}
}

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

// sampleLinks emits what became of connections to other servers.
func (n *Node) sampleLinks(emit func(telemetry.Sample)) {
	for over, transport := range []string{"tcp", "dot", "doh", "doq"} {
		c, _ := n.resolver.Links(iterate.Transport(over))
		const help = "Connections of the resolver to other servers, by transport: opened, those among them that continued a TLS session, those that failed; and questions on one that there was."
		emit(counter("resolver_connections_total", help, c.Opened, "transport", transport, "event", "opened"))
		emit(counter("resolver_connections_total", help, c.Resumed, "transport", transport, "event", "resumed"))
		emit(counter("resolver_connections_total", help, c.Broken, "transport", transport, "event", "broken"))
		emit(counter("resolver_connections_total", help, c.Reused, "transport", transport, "event", "reused"))
	}
}
