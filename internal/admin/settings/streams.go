package settings

import (
	"net"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/clock"
	"pharos/internal/cluster/state"
	"pharos/internal/proxy/doorway"
	"pharos/internal/proxy/holding"
	"pharos/internal/proxy/l4proxy"
	"pharos/internal/proxy/l4route"
	"pharos/internal/proxy/routespec"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/ratelimit"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
)

// Streams are the streams of a configuration as they are carried. Its doors are kept from one
// version to the next, as they count handshakes.
type Streams struct {
	Certificates *tlscert.Store
	Started      time.Time

	shakes *ratelimit.Handshakes
}

// Of returns the streams of cfg, which lead to pools, and wait in a room where there is one.
func (s *Streams) Of(cfg *config.Config, pools *pool.Registry, room func(pool string) *holding.Room) []l4proxy.Stream {
	remembers := poolspec.Affinities(cfg.Pools, nil)
	target := func(numbers map[string]int, out *l4proxy.Stream, name string) int {
		if name == "" {
			return l4route.Nowhere
		}
		if _, has := numbers[name]; !has {
			numbers[name] = len(out.Pools)
			i := slices.IndexFunc(cfg.Pools, func(p state.Pool) bool { return p.Name == name })
			out.Pools = append(out.Pools, routespec.Target(&cfg.Pools[i], pools.Pool(name), remembers[name], out.UDP))
			out.Pools[numbers[name]].Room = room(name)
		}
		return numbers[name]
	}
	all := make([]l4proxy.Stream, len(cfg.Streams))
	for i := range all {
		c, out, numbers := &cfg.Streams[i], &all[i], map[string]int{}
		*out = l4proxy.Stream{
			Name: c.Name, UDP: c.Protocol == "udp", Listen: c.Listen, Allows: allowed(&c.Clients), OnDown: c.OnDown == "close", Replies: c.Replies, Admit: s.admit(cfg, c),
			Limits: l4proxy.Limits{
				Connect: c.Timeouts.Connect.Std(), Hello: c.Timeouts.Hello.Std(), Idle: c.Timeouts.Idle.Std(), HalfClosed: c.Timeouts.HalfClosed.Std(), Session: c.Timeouts.Session.Std(),
				Connections: c.Limits.Connections, PerClient: c.Limits.PerClient, Tries: c.Limits.Tries,
			},
		}
		var rules []l4route.Rule
		for _, r := range c.Routes {
			rules = append(rules, l4route.Rule{Names: r.ServerNames, Clients: r.Clients, Pool: target(numbers, out, r.Pool)})
		}
		out.Routes = l4route.NewTable(rules, target(numbers, out, c.Pool))
	}
	return all
}

// allowed returns who is let in; nil: everybody.
func allowed(c *config.StreamClients) func(netip.Addr) bool {
	if len(c.Allow)+len(c.Deny) == 0 {
		return nil
	}
	var rules []admission.Rule
	if len(c.Allow) == 0 {
		rules = append(rules, admission.Rule{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Action: admission.Allow}, admission.Rule{Prefix: netip.MustParsePrefix("::/0"), Action: admission.Allow})
	}
	for _, p := range c.Allow {
		rules = append(rules, admission.Rule{Prefix: p, Action: admission.Allow})
	}
	for _, p := range c.Deny {
		rules = append(rules, admission.Rule{Prefix: p, Action: admission.Deny})
	}
	list, err := admission.Compile(rules)
	if err != nil {
		panic("BUG: " + err.Error()) // the configuration has checked it
	}
	return list.Allows
}

// admit returns what lets connections in; nil: they are as they come.
func (s *Streams) admit(cfg *config.Config, c *config.Stream) l4proxy.Admit {
	if len(c.ProxyProtocol) == 0 && !c.TLS.Terminate {
		return nil
	}
	var d doorway.Config
	if len(c.ProxyProtocol) > 0 {
		list, err := admission.AllowOnly(c.ProxyProtocol)
		if err != nil {
			panic("BUG: " + err.Error()) // the configuration has checked it
		}
		d.Proxies = list.Allows
	}
	if c.TLS.Terminate {
		if s.shakes == nil {
			s.shakes = ratelimit.NewHandshakes(cfg.Gateway.TLS.Handshakes, cfg.Gateway.TLS.HandshakesPerNetwork, s.Started)
		}
		shakes := s.shakes
		d.Handshake = func(client netip.Addr) bool { return shakes.Allow(clock.Now(), client, true) }
		d.TLS = &doorway.TLS{
			Least: LeastTLS(cfg.TLS), Certificate: s.Certificates.Get, Covers: s.Certificates.Covers, Authorities: s.Certificates.Authorities, Protocols: c.TLS.Protocols,
		}
		if c.TLS.ClientCA != "" {
			d.TLS.Clients = []doorway.ClientRule{{Required: true, CA: c.TLS.ClientCA}}
		}
	}
	door := doorway.New(d)
	return func(conn net.Conn, from netip.Addr) (l4proxy.Arrival, error) {
		if door.IsOpen(from) {
			return l4proxy.Arrival{Conn: conn}, nil
		}
		a, err := door.Admit(conn, from, func() bool { return true })
		out := l4proxy.Arrival{Conn: a.Conn, Client: a.Client}
		if a.TLS != nil {
			out.TLS, out.ServerName = true, a.TLS.ServerName
		}
		return out, err
	}
}
