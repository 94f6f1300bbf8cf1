package state

import (
	"iter"
	"net/netip"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
)

// Resources are the things that steer traffic. The configuration file has them
// under these keys, and the store keeps the same ones when they are applied at
// run time. A resource has one home: what the file names cannot be applied, and
// if the file later names what the store already holds, the file wins and a
// problem is shown.
type Resources struct {
	// Pools are groups of servers that can stand in for each other.
	Pools []Pool `json:"pools" max:"10000"`
	// Filters are lists of filters that requests go through between a route and its pool.
	Filters []FilterSet `json:"filters,omitempty" max:"1000"`
	// Steer are names that are answered with the addresses of a pool's healthy members.
	Steer []Steer `json:"steer" max:"100000"`
	// Routes say what becomes of an HTTP request at the gateway. The most exact host wins,
	// then the most exact path.
	Routes []Route `json:"routes" max:"100000"`

	// Overrides are what operators have said of members at run time. The file has none.
	Overrides []Override `json:"-"`
	// Applied are the routes that were applied at run time, by name, beside those of the file,
	// which are up to 100,000 values that are not copied for each change.
	Applied []*Route `json:"-"`
}

// EveryRoute yields the routes of the file in their order, and then those that were applied.
func (r *Resources) EveryRoute() iter.Seq2[int, *Route] {
	return func(yield func(int, *Route) bool) {
		for i := range r.Routes {
			if !yield(i, &r.Routes[i]) {
				return
			}
		}
		for i, t := range r.Applied {
			if !yield(len(r.Routes)+i, t) {
				return
			}
		}
	}
}

// CountRoutes returns how many there are of both.
func (r *Resources) CountRoutes() int { return len(r.Routes) + len(r.Applied) }

// All returns every resource by itself, what others refer to first.
func (r *Resources) All() []Resource {
	all := make([]Resource, 0, len(r.Pools)+len(r.Filters)+len(r.Steer)+r.CountRoutes())
	for i := range r.Pools {
		all = append(all, &r.Pools[i])
	}
	for i := range r.Filters {
		all = append(all, &r.Filters[i])
	}
	for i := range r.Steer {
		all = append(all, &r.Steer[i])
	}
	for _, t := range r.EveryRoute() {
		all = append(all, t)
	}
	return all
}

// Pool is a group of servers that can stand in for each other, with one way to
// check them and one policy to pick among them.
type Pool struct {
	// Name is what steer and routes call the pool. Each pool has its own.
	Name string `json:"name" format:"identifier" required:"true" example:"web"`
	// Policy picks the member for a request. roundRobin takes them in turn,
	// weightedRoundRobin in turn in proportion to their weights, random by chance in
	// proportion to their weights. leastConnections takes the one with the fewest
	// requests in flight for its weight, leastResponseTime the one whose latest
	// response times and requests in flight promise the earliest answer,
	// leastBandwidth the one that sends and receives least now for its weight;
	// twoChoices takes the better of two that are drawn by chance. hash takes the
	// same one for the same key. first takes the first one that has capacity left, in
	// the order of tiers and of members.
	Policy string `json:"policy" enum:"roundRobin,weightedRoundRobin,leastConnections,leastResponseTime,leastBandwidth,hash,twoChoices,random,first" default:"roundRobin" example:"weightedRoundRobin"`
	// Hash is what the policy hash goes by.
	Hash Hash `json:"hash,omitzero"`
	// SlowStart is the time over which a member that has become healthy gets its whole
	// share: a tenth at first, then more in 20 steps. 0: the whole share at once.
	SlowStart document.Duration `json:"slowStart,omitzero" default:"0s" min:"0s" max:"1h" example:"30s"`
	// LocalFirst prefers members near this node (place) while they have capacity:
	// those of its zone, then of its region, country, continent, and then the others.
	// With region, zones make no difference, and so on. Tier goes before nearness.
	LocalFirst string `json:"localFirst,omitzero" enum:"continent,country,region,zone" default:"" example:"zone"`
	// Affinity brings a client of the gateway back to the member that served it before.
	Affinity Affinity `json:"affinity,omitzero"`
	// Check is how each member's health is found out.
	Check Check `json:"check"`
	// Agent is asked beside the check: what the member says of itself, its weight, its
	// load, that it drains or that it is down, counts over what the check finds. That it
	// cannot be asked says nothing of the member. type none: there is none.
	Agent PoolAgent `json:"agent,omitzero"`
	// Passive is what is learned of members from the requests that they carry.
	Passive Passive `json:"passive,omitzero"`
	// Breaker bounds what the pool is asked, and has nobody ask it for a while when most of it fails.
	Breaker PoolBreaker `json:"breaker,omitzero"`
	// DependsOn are pools that the members are reached through, such as a gateway or a
	// switch. While all members of one of them are down, a failed check says nothing:
	// members are unknown then, not down.
	DependsOn []string `json:"dependsOn,omitzero" format:"identifier" max:"8" example:"[rack1-switch]"`
	// Origin is how the gateway speaks to the members.
	Origin PoolOrigin `json:"origin,omitzero"`
	// Members are the servers, unless they are discovered. When none is healthy all are used, since a
	// wrong health check must not take a service down.
	Members []Member `json:"members" max:"4096" example:"[{name: a, address: \"192.0.2.10:8080\"}]"`
	// Discover are lists of servers that others keep; those on them are members, too.
	Discover []Discovery `json:"discover,omitzero" max:"8" example:"[{type: srv, name: _http._tcp.example.com}]"`
	// Scale has the pool get more members when they have much to do, and fewer when they do not.
	Scale Scaling `json:"scale,omitzero"`
}

// Paths returns the names of files that p has, to be made absolute. Programs are named
// by their absolute paths.
func (p *Pool) Paths() []*string {
	paths := []*string{&p.Check.TLS.CA, &p.Scale.Process.Folder, &p.Scale.Webhook.CA, &p.Scale.Webhook.SecretFile}
	paths = append(paths, p.Origin.paths()...)
	for i := range p.Discover {
		paths = append(paths, &p.Discover[i].File, &p.Discover[i].CA)
	}
	return paths
}

// Member is one server of a pool.
type Member struct {
	// Name is what logs, metrics and explanations call the member. Each member
	// of a pool has its own.
	Name string `json:"name" format:"identifier" required:"true" example:"a"`
	// Address is where the server listens.
	Address netip.AddrPort `json:"address" required:"true" example:"192.0.2.10:8080"`
	// Weight is the member's share of what the policy gives out, in proportion to
	// the weights of the others. roundRobin and first do not look at it.
	Weight int `json:"weight" default:"1" min:"1" max:"65536" example:"5"`
	// Drain takes the member out of use without cutting what it is serving.
	Drain bool `json:"drain" default:"false" example:"true"`
	// Tier is the rank of the member for failover: those of tier 1 are used when
	// nobody of tier 0 is healthy or has capacity left, and so on.
	Tier int `json:"tier,omitzero" default:"0" min:"0" max:"15" example:"1"`
	// Capacity is how many requests or connections the member can have at once. One
	// that has so many is passed over while another has capacity left. 0: no bound.
	Capacity int `json:"capacity,omitzero" default:"0" min:"0" max:"16777216" example:"500"`
	// Bandwidth is how much the member can send and receive. One that does so is
	// passed over while another has capacity left. 0: no bound.
	Bandwidth document.Rate `json:"bandwidth,omitzero" default:"0" min:"0" max:"1000Tbps" example:"1Gbps"`
	// Place is where the member stands.
	Place Place `json:"place,omitzero"`
	// Host is the member's own name, which steered names of the answers cname, srv and
	// mx give instead of its address.
	Host dnsname.Name `json:"host,omitzero" example:"ams1.example.net"`
}
