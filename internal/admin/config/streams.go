package config

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	"pharos/internal/cluster/state"
)

// Stream is a port whose connections, or datagrams, are carried to the members of pools as
// they are (layer 4): nothing of what is in them is read, but the server name of TLS where
// that decides.
//
// Of a pool everything counts that is about members: check, passive, policy, weights, tiers,
// capacities, affinity by clientAddress or clientPrefix, origin.proxyProtocol and origin.tls. Where a pool hashes a part of
// HTTP requests, the client's address is hashed.
type Stream struct {
	// Name is what logs, metrics and explanations call the stream. Each has its own.
	Name string `json:"name" format:"identifier" required:"true" example:"postgres"`
	// Listen are the addresses at which clients are let in. What is added or removed is so
	// at once; connections that are there stay.
	Listen []netip.AddrPort `json:"listen" max:"64" example:"0.0.0.0:5432"`
	// Protocol is what is carried: connections of tcp, or the datagrams of udp by the address
	// and port that they come from.
	Protocol string `json:"protocol" enum:"tcp,udp" default:"tcp" example:"udp"`
	// Pool is where clients are carried to that no route is about. Without one they are
	// refused.
	Pool string `json:"pool,omitzero" format:"identifier" default:"" example:"db"`
	// Routes lead to other pools. The first one counts of which all holds.
	Routes []StreamRoute `json:"routes,omitzero" max:"10000"`
	// Clients say who is let in.
	Clients StreamClients `json:"clients,omitzero"`
	// ProxyProtocol are the networks of proxies that begin each connection with a PROXY
	// header, of version 1 or 2, in which they say for whom it is. From these nothing
	// without one is let in; from others a header is carried on as anything else. For tcp alone.
	ProxyProtocol []netip.Prefix `json:"proxyProtocol,omitzero" max:"1000" example:"192.0.2.0/24"`
	// TLS has the stream end TLS here, with the certificates under tls, and carry what is in
	// it. Without it TLS is carried whole, to members that have certificates of their own.
	TLS StreamTLS `json:"tls,omitzero"`
	// Timeouts bound waits.
	Timeouts StreamTimeouts `json:"timeouts"`
	// Limits bound what the stream takes on.
	Limits StreamLimits `json:"limits"`
	// OnDown is what becomes of the connections to a member that is found to be down: keep
	// leaves them to those who have them, close cuts them, so that clients come again and
	// are carried elsewhere.
	OnDown string `json:"onDown" enum:"keep,close" default:"keep" example:"close"`
	// Replies is how many datagrams a member sends for each one of a client; when it has, the
	// session is over and its socket is free. 1 for DNS. 0: sessions end by timeouts.session alone. For udp alone.
	Replies int `json:"replies,omitzero" default:"0" min:"0" max:"1000" example:"1"`
}

// StreamRoute leads some of the clients of a stream to a pool.
type StreamRoute struct {
	// ServerNames are the names that a client asks for by TLS (SNI); "*.example.com" is every
	// name below one. All clients, with TLS or without, if there are none. For tcp alone.
	ServerNames []string `json:"serverNames,omitzero" format:"host" max:"1000" example:"[db.example.com]"`
	// Clients are the networks of clients. All, if there are none.
	Clients []netip.Prefix `json:"clients,omitzero" max:"1000" example:"[192.0.2.0/24]"`
	// Pool is where they are carried to.
	Pool string `json:"pool" format:"identifier" required:"true" example:"db"`
}

// StreamClients are the networks of clients. The longest network that a client is in
// decides. With proxyProtocol it is the client that the header names.
type StreamClients struct {
	// Allow are those that are let in. Everybody who is not denied, if there are none.
	Allow []netip.Prefix `json:"allow,omitzero" max:"10000" example:"[192.0.2.0/24]"`
	// Deny are those that are not.
	Deny []netip.Prefix `json:"deny,omitzero" max:"10000" example:"[192.0.2.66/32]"`
}

// StreamTLS is how a stream ends TLS.
type StreamTLS struct {
	// Terminate has it do so. The certificate is chosen by the name that a client asks for.
	Terminate bool `json:"terminate,omitzero" example:"true"`
	// Protocols are those of the application (ALPN) that are agreed on, the preferred first.
	// None: whatever the client offers is not answered.
	Protocols []string `json:"protocols,omitzero" max:"16" example:"[imap]"`
	// ClientCA is a PEM file with the authorities that sign the certificates of clients.
	// Without a certificate of theirs nobody gets in. It is read again when it changes.
	ClientCA string `json:"clientCA,omitzero" format:"file" example:"tls/clients.crt"`
}

// StreamTimeouts bound waits of a stream.
type StreamTimeouts struct {
	// Connect is how long one member may take to take a connection. Then another is asked.
	Connect Duration `json:"connect" default:"3s" min:"10ms" max:"5m" example:"1s"`
	// Hello is how long a client may take to say which server name it wants, where routes
	// or the policy go by it. Who has said nothing by then, because the server speaks
	// first, is carried as one without a name; who is in the middle of it is refused.
	Hello Duration `json:"hello" default:"3s" min:"10ms" max:"1m" example:"1s"`
	// Idle is for how long a connection may carry nothing, either way.
	Idle Duration `json:"idle" default:"1h" min:"1s" max:"168h" example:"10m"`
	// HalfClosed is the same once one side has said that it sends nothing more.
	HalfClosed Duration `json:"halfClosed" default:"1m" min:"1s" max:"168h" example:"10s"`
	// Session is the same for the datagrams of one client.
	Session Duration `json:"session" default:"30s" min:"1s" max:"24h" example:"2m"`
}

// StreamLimits bound what a stream takes on.
type StreamLimits struct {
	// Connections is how many connections, or clients with udp, there are at most. A
	// connection takes two file descriptors and some 15 KiB, a client with udp one. At the limit new
	// connections are refused; with udp the client gives way that was silent longest, those
	// first that have never sent anything after an answer.
	Connections int `json:"connections" default:"10000" min:"1" max:"10000000" example:"100000"`
	// PerClient is how many of them one IPv4 address or one IPv6 /64 may have; with udp, where anybody
	// can write any address, an IPv4 /24 or an IPv6 /56. 0: any number.
	PerClient int `json:"perClient" default:"0" min:"0" max:"10000000" example:"100"`
	// Tries is how many members are asked to take a connection before it is refused.
	Tries int `json:"tries" default:"3" min:"1" max:"16" example:"2"`
}

// checkStreams checks that streams have what their protocol needs, and pools that exist.
func (c *Config) checkStreams(to *checker) {
	first := map[string]int{}
	for i := range c.Streams {
		s, at := &c.Streams[i], fmt.Sprintf("streams[%d]", i)
		if j, twice := first[s.Name]; twice && s.Name != "" {
			to.fail(at+".name", fmt.Sprintf("stream %q is already streams[%d]", s.Name, j), "give each its own name")
		} else {
			first[s.Name] = i
		}
		if len(s.Listen) == 0 {
			to.fail(at+".listen", "there is no address to let clients in at", `add listen: ["0.0.0.0:PORT"]`)
		}
		if s.Pool == "" && len(s.Routes) == 0 {
			to.fail(at+".pool", "the stream leads nowhere", "add the pool that it leads to, or routes")
		}
		c.checkStreamPool(to, at+".pool", s.Pool, s.Protocol)
		c.checkPrefixes(to, at+".clients.allow", s.Clients.Allow)
		c.checkPrefixes(to, at+".clients.deny", s.Clients.Deny)
		c.checkPrefixes(to, at+".proxyProtocol", s.ProxyProtocol)
		for k, r := range s.Routes {
			c.checkStreamPool(to, fmt.Sprintf("%s.routes[%d].pool", at, k), r.Pool, s.Protocol)
			c.checkPrefixes(to, fmt.Sprintf("%s.routes[%d].clients", at, k), r.Clients)
			if len(r.ServerNames) > 0 && s.Protocol == "udp" {
				to.fail(fmt.Sprintf("%s.routes[%d].serverNames", at, k), "datagrams are not read, so no server name is known", "leave it out, or make the protocol tcp")
			}
		}
		s.checkProtocol(to, at)
	}
	c.checkStreamPorts(to)
	c.checkMemberPorts(to)
}

// checkProtocol checks that nothing is said that has no meaning for the protocol.
func (s *Stream) checkProtocol(to *checker, at string) {
	if s.Protocol == "tcp" {
		if s.Replies > 0 {
			to.fail(at+".replies", "a connection has no single replies", "leave it out, or make the protocol udp")
		}
		if !s.TLS.Terminate && (len(s.TLS.Protocols) > 0 || s.TLS.ClientCA != "") {
			to.fail(at+".tls", "TLS does not end here", "add terminate: true, or leave it out")
		}
		return
	}
	if len(s.ProxyProtocol) > 0 {
		to.fail(at+".proxyProtocol", "a PROXY header is read from connections only", "leave it out, or make the protocol tcp")
	}
	if s.TLS.Terminate {
		to.fail(at+".tls", "TLS is spoken on connections only", "leave it out, or make the protocol tcp")
	}
	if s.OnDown == "close" {
		to.fail(at+".onDown", "datagrams are carried elsewhere by themselves when a member is down", "leave it out")
	}
}

// checkStreamPool checks that a pool is there, in this file, and can be reached by a protocol.
func (c *Config) checkStreamPool(to *checker, at, name, protocol string) {
	if name == "" {
		return
	}
	i := slices.IndexFunc(c.Pools, func(p state.Pool) bool { return p.Name == name })
	if i < 0 {
		to.fail(at, fmt.Sprintf("the file has no pool %q", name), "add it under pools; one that is applied at run time cannot be used by a stream, as it could be deleted")
		return
	}
	if protocol != "udp" {
		return
	}
	if o := &c.Pools[i].Origin; o.TLS.On() || o.ProxyProtocol == "v1" {
		to.fail(at, fmt.Sprintf("pool %q has an origin that only connections can have", name), "give it no origin.tls, and v2 as origin.proxyProtocol or none")
	}
}

// claim is a listener of an address.
type claim struct {
	at   string
	addr netip.AddrPort
	udp  bool
}

// claims returns all listeners; those of streams begin at streams.
func (c *Config) claims() (all []claim, streams int) {
	add := func(path string, udp bool, list []netip.AddrPort) {
		for i, a := range list {
			all = append(all, claim{fmt.Sprintf("%s[%d]", path, i), a, udp})
		}
	}
	l := &c.Listen
	add("listen.dns", false, l.DNS)
	add("listen.dns", true, l.DNS)
	add("listen.dot", false, l.DoT)
	add("listen.doh", false, l.DoH)
	add("listen.http", false, l.HTTP)
	add("listen.https", false, l.HTTPS)
	add("listen.doh3", true, l.DoH3)
	add("listen.doq", true, l.DoQ)
	streams = len(all)
	for i := range c.Streams {
		add(fmt.Sprintf("streams[%d].listen", i), c.Streams[i].Protocol == "udp", c.Streams[i].Listen)
	}
	return all, streams
}

// checkMemberPorts finds listeners at ports that a pool gives to its members.
func (c *Config) checkMemberPorts(to *checker) {
	all, _ := c.claims()
	for i := range c.Pools {
		s := &c.Pools[i].Scale
		first, last, err := s.Process.PortRange()
		if s.Driver != "process" || err != nil {
			continue
		}
		for _, a := range all {
			here := a.addr.Addr().Unmap()
			if port := a.addr.Port(); !a.udp && first <= port && port <= last && (here == s.Process.Address.Unmap() || overlap(here, s.Process.Address.Unmap())) {
				to.fail(a.at, fmt.Sprintf("%s is among the ports %s that pool %q gives to its members at %s", a.addr, s.Process.Ports, c.Pools[i].Name, s.Process.Address), "choose another port, or change scale.process.ports")
			}
		}
	}
}

// checkStreamPorts finds streams that want all addresses of a port of which another listener
// has one, or the other way round. checkListen finds those that want the same one.
func (c *Config) checkStreamPorts(to *checker) {
	claims, others := c.claims()
	byPort := map[uint16][]int{}
	for i, a := range claims {
		byPort[a.addr.Port()] = append(byPort[a.addr.Port()], i)
	}
	for i := others; i < len(claims); i++ {
		a := claims[i]
		for _, k := range byPort[a.addr.Port()] {
			b := claims[k]
			if k < i && a.addr.Port() != 0 && a.udp == b.udp && a.addr != b.addr && overlap(a.addr.Addr(), b.addr.Addr()) {
				to.fail(a.at, fmt.Sprintf("%s and %s, of %s, are one port of one address", a.addr, b.addr, b.at), "choose another port, or write out the addresses of each")
				break
			}
		}
	}
}

// overlap reports whether two different addresses are the same for some client.
func overlap(a, b netip.Addr) bool {
	return a.Is4() == b.Is4() && (a.IsUnspecified() || b.IsUnspecified())
}

// HasTLS reports whether there is a listener, or a stream, that needs a certificate.
func (c *Config) HasTLS() bool {
	return c.Listen.HasTLS() || slices.ContainsFunc(c.Streams, func(s Stream) bool { return s.TLS.Terminate })
}

// streamPaths returns the names of files that streams have.
func (c *Config) streamPaths() (paths []*string) {
	for i := range c.Streams {
		paths = append(paths, &c.Streams[i].TLS.ClientCA)
	}
	return paths
}

// StreamDifferences says which streams are added, removed or otherwise between two
// configurations.
func StreamDifferences(before, now *Config) (all []string) {
	old := map[string]*Stream{}
	for i := range before.Streams {
		old[before.Streams[i].Name] = &before.Streams[i]
	}
	for i := range now.Streams {
		s := &now.Streams[i]
		switch was := old[s.Name]; {
		case was == nil:
			all = append(all, fmt.Sprintf("stream %q added", s.Name))
		case !reflect.DeepEqual(was, s):
			all = append(all, fmt.Sprintf("stream %q replaced", s.Name))
		}
		delete(old, s.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(old)) {
		all = append(all, fmt.Sprintf("stream %q removed", name))
	}
	return all
}
