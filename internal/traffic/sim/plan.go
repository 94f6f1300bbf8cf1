package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
)

// Plan is what is played: pools and a steered name as a node has them, and what stands
// around them.
type Plan struct {
	// Title is the name of the plan, for the table and the plot.
	Title string `json:"title" default:"" example:"the shop, with three servers"`
	// Length is how long a time is played.
	Length document.Duration `json:"length" default:"24h" min:"1m" max:"31d" example:"24h"`
	// Seed is what chance begins with: the same one plays the same day.
	Seed int `json:"seed" default:"1" min:"0" example:"7"`
	// Pool is the pool that is played. Default: the first one.
	Pool string `json:"pool" format:"identifier" default:"" example:"web"`
	// Pools are pools as a configuration file has them.
	Pools []state.Pool `json:"pools" max:"100"`
	// Steer are steered names as a configuration file has them: the first one of the pool counts.
	Steer []state.Steer `json:"steer" max:"1000"`
	// Place is where the node stands that carries requests.
	Place state.Place `json:"place,omitzero"`
	// Gateway are the limits of the gateway.
	Gateway Gateway `json:"gateway"`
	// Keys is how many different things are asked for, for pools that go by what is asked;
	// few of them are asked for often.
	Keys int `json:"keys" default:"10000" min:"2" max:"10000000" example:"500"`
	// Servers say how servers work. One with the name of a member goes before "*".
	Servers []Server `json:"servers" max:"1000"`
	// Clients are who asks.
	Clients []Clients `json:"clients" max:"100"`
	// Events are what happens to servers.
	Events []Event `json:"events" max:"1000"`
	// Compare are the ways that are played side by side. Default: plainDNS, dns and gateway.
	Compare []Variant `json:"compare" max:"16"`
	// Baseline has the names and addresses alone played, too, without any health: what
	// plain DNS round robin does.
	Baseline bool `json:"baseline" default:"true" example:"false"`
}

// Gateway are the limits of the gateway that matter here, as a configuration file has them.
type Gateway struct {
	// Connect is how long a connection to a server may take.
	Connect document.Duration `json:"connect" default:"1s" min:"10ms" max:"1m" example:"500ms"`
	// Response is how long a server may be silent.
	Response document.Duration `json:"response" default:"30s" min:"100ms" max:"1h" example:"10s"`
	// Retries is how many other members a request is tried on.
	Retries int `json:"retries" default:"2" min:"0" max:"7" example:"1"`
}

// Server is how a server works.
type Server struct {
	// Member is whose server it is: the name of a member, POOL/MEMBER for that of another
	// pool, or "*" for all others.
	Member string `json:"member" default:"*" example:"a"`
	// Workers is how many requests are worked on at once.
	Workers int `json:"workers" default:"16" min:"1" max:"100000" example:"8"`
	// Queue is how many more may wait; beyond it requests are answered with an error at once.
	Queue int `json:"queue" default:"256" min:"0" max:"1000000" example:"100"`
	// Takes is how long an answer takes with nobody else there, on average: half of it
	// is fixed, half by chance.
	Takes document.Duration `json:"takes" default:"20ms" min:"10us" max:"10m" example:"35ms"`
	// Curve is how long it takes when more requests are worked on at once; between
	// the points it is a line.
	Curve []CurvePoint `json:"curve" max:"32" example:"[{requests: 8, takes: 60ms}]"`
	// Length is the size of an answer.
	Length document.Size `json:"length" default:"10KiB" min:"0" max:"1GiB" example:"200KiB"`
}

// CurvePoint is a point of the curve of a server.
type CurvePoint struct {
	// Requests is how many are worked on at once.
	Requests int `json:"requests" required:"true" min:"1" max:"100000" example:"8"`
	// Takes is how long an answer takes then, on average.
	Takes document.Duration `json:"takes" required:"true" min:"10us" max:"10m" example:"60ms"`
}

// Clients are clients in one place, behind some resolvers.
type Clients struct {
	// Name is what the clients are called.
	Name string `json:"name" format:"identifier" default:"clients" example:"europe"`
	// Network is where the addresses of the clients are from, and of their resolvers unless these are at
	// another place. Default: one of 198.18.0.0/16.
	Network netip.Prefix `json:"network" example:"203.0.113.0/24"`
	// Place is where the clients and their resolvers are.
	Place state.Place `json:"place,omitzero"`
	// Rate is how many requests they send in a second, on average over a day.
	Rate int `json:"rate" default:"20" min:"1" max:"100000" example:"50"`
	// Day is how the rate goes over a day, in percent of Rate: between the points it is a
	// line, from the last one on to the first one of the next day. Default: the same at all times.
	Day []DayPoint `json:"day" max:"96" example:"[{at: 4h, percent: 20}, {at: 20h, percent: 180}]"`
	// Clients is how many there are.
	Clients int `json:"clients" default:"1000" min:"1" max:"1000000" example:"5000"`
	// Resolvers is how many resolvers they share.
	Resolvers int `json:"resolvers" default:"10" min:"1" max:"10000" example:"40"`
	// ResolverPlace is where the resolvers are, if that is not where the clients are: a public resolver abroad.
	ResolverPlace state.Place `json:"resolverPlace,omitzero"`
	// ResolverNetwork is where the addresses of resolvers at another place are from. Default: one of 198.19.0.0/16.
	ResolverNetwork netip.Prefix `json:"resolverNetwork" example:"198.51.100.0/24"`
	// ECS has the resolvers say of which network a client is, /24 or /56 (EDNS Client Subnet), and keep
	// answers for each network for which they hold.
	ECS bool `json:"ecs" default:"false" example:"true"`
	// MinTTL is how long these resolvers keep an answer at least, whatever its TTL says.
	MinTTL document.Duration `json:"minTTL" default:"0s" min:"0s" max:"7d" example:"5m"`
	// Pinned is the part of the clients, in percent, that keep an answer for PinFor by
	// themselves: programs that look a name up once.
	Pinned int `json:"pinned" default:"0" min:"0" max:"100" example:"10"`
	// PinFor is how long they do.
	PinFor document.Duration `json:"pinFor" default:"1h" min:"1s" max:"31d" example:"8h"`
	// Tries is how many addresses of an answer a client tries.
	Tries int `json:"tries" default:"1" min:"1" max:"8" example:"2"`
	// Connect is how long a client waits for a connection before it tries the next address.
	Connect document.Duration `json:"connect" default:"3s" min:"10ms" max:"10m" example:"1s"`
	// Patience is how long a client waits for an answer in all.
	Patience document.Duration `json:"patience" default:"10s" min:"10ms" max:"10m" example:"5s"`
	// Writes is the part of requests, in percent, that must not be sent twice.
	Writes int `json:"writes" default:"10" min:"0" max:"100" example:"25"`
}

// DayPoint is a point of the curve of a day.
type DayPoint struct {
	// At is the time of the day.
	At document.Duration `json:"at" required:"true" min:"0s" max:"24h" example:"4h"`
	// Percent is how much of Rate there is at that time.
	Percent int `json:"percent" required:"true" min:"0" max:"10000" example:"20"`
}

// Event is something that happens to a server.
type Event struct {
	// Member is to whose server: as in servers.
	Member string `json:"member" required:"true" example:"a"`
	// Does is what: crash has it refuse connections, vanish has it fall silent as
	// when its power fails; slow has it take By times as long; errors has it answer
	// Share percent of requests with an error; drain is what an operator does before
	// he works on it.
	Does string `json:"does" enum:"crash,vanish,slow,errors,drain" required:"true" example:"crash"`
	// At is when.
	At document.Duration `json:"at" default:"0s" min:"0s" max:"31d" example:"10h"`
	// For is how long; with Every on average.
	For document.Duration `json:"for" default:"10m" min:"1s" max:"31d" example:"30m"`
	// Every has it happen again and again, by chance, on average so long after the last one.
	Every document.Duration `json:"every" default:"0s" min:"0s" max:"365d" example:"72h"`
	// By is how many times as long slow takes.
	By int `json:"by" default:"10" min:"2" max:"10000" example:"10"`
	// Share is the part of the requests that errors goes for, in percent.
	Share int `json:"share" default:"50" min:"1" max:"100" example:"20"`
	// Probes has checks see the errors as well. Checks of type tcp never do.
	Probes bool `json:"probes" default:"false" example:"true"`
}

// Ways by which requests come to servers.
const (
	PlainDNS  = "plainDNS"
	DNS       = "dns"
	ByGateway = "gateway"
)

// Variant is one way of doing it. What is left out is as in the pool and the steered name.
type Variant struct {
	// Name is what the table calls it. Default: what it is by, and the policy.
	Name string `json:"name" default:"" example:"gateway, least response time"`
	// By is how requests come to servers: plainDNS answers with all addresses in turn,
	// whatever their health; dns as the steered name is; gateway carries them.
	By string `json:"by" enum:"plainDNS,dns,gateway" default:"gateway" example:"dns"`
	// Policy is that of the pool.
	Policy string `json:"policy" enum:",roundRobin,weightedRoundRobin,leastConnections,leastResponseTime,leastBandwidth,hash,twoChoices,random,first" default:"" example:"twoChoices"`
	// Hash is what the policy hash goes by.
	Hash state.Hash `json:"hash,omitzero"`
	// TTL is that of the steered name.
	TTL document.Duration `json:"ttl" default:"0s" min:"0s" max:"24h" step:"1s" example:"30s"`
	// ShortTTL is that of the steered name.
	ShortTTL document.Duration `json:"shortTTL" default:"0s" min:"0s" max:"24h" step:"1s" example:"5s"`
	// Filters are those of the steered name.
	Filters []state.Filter `json:"filters" max:"16" example:"[{type: up}, {type: near, by: country}]"`
	// Interval is that of the check.
	Interval document.Duration `json:"interval" default:"0s" min:"0s" max:"1h" example:"5s"`
	// Fall is that of the check.
	Fall int `json:"fall" default:"0" min:"0" max:"100" example:"3"`
	// SlowStart is that of the pool.
	SlowStart document.Duration `json:"slowStart" default:"0s" min:"0s" max:"1h" example:"30s"`
}

// hasHealth reports whether anybody looks after servers.
func (v *Variant) hasHealth() bool { return v.By != PlainDNS }

// maxRequests is how many requests a plan may have: some minutes for each variant. It is
// there so that a rate or a length with too many noughts ends with a message.
const maxRequests = 200e6

// serverOf returns how the server of a member works.
func (p *Plan) serverOf(member string) Server {
	for _, name := range []string{member, "*"} {
		if i := slices.IndexFunc(p.Servers, func(s Server) bool { return s.Member == name }); i >= 0 {
			return p.Servers[i]
		}
	}
	var s Server
	document.SetDefaults(&s)
	return s
}

// takesAt returns how long an answer takes when so many others are worked on.
func (s *Server) takesAt(busy int) time.Duration {
	at, takes := 1, s.Takes.Std()
	for _, c := range s.Curve {
		if busy <= c.Requests {
			part := float64(max(busy-at, 0)) / float64(max(c.Requests-at, 1))
			return takes + time.Duration(part*float64(c.Takes.Std()-takes))
		}
		at, takes = c.Requests, c.Takes.Std()
	}
	return takes
}

// network returns where the resolvers of the i-th clients have their addresses from.
func (c *Clients) network(i int) netip.Prefix {
	if c.Network.IsValid() {
		return c.Network
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 18, byte(i), 0}), 24) // RFC 2544: for tests alone
}

// isAbroad reports whether the resolvers are elsewhere than the clients.
func (c *Clients) isAbroad() bool {
	return c.ResolverPlace != (state.Place{}) || c.ResolverNetwork.IsValid()
}

// resolverNetwork returns where the resolvers of the i-th clients have their addresses from.
func (c *Clients) resolverNetwork(i int) netip.Prefix {
	switch {
	case c.ResolverNetwork.IsValid():
		return c.ResolverNetwork
	case c.isAbroad():
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{198, 19, byte(i), 0}), 24)
	}
	return c.network(i)
}

// networks returns all networks of the i-th clients, and what the configuration calls them.
func (c *Clients) networks(i int) map[string]netip.Prefix {
	all := map[string]netip.Prefix{"network": c.network(i)}
	if c.isAbroad() {
		all["resolverNetwork"] = c.resolverNetwork(i)
	}
	return all
}

const day = 24 * time.Hour

// most returns the highest rate of a day.
func (c *Clients) most() float64 {
	percent := 100
	if len(c.Day) > 0 {
		percent = slices.MaxFunc(c.Day, func(a, b DayPoint) int { return a.Percent - b.Percent }).Percent
	}
	return float64(c.Rate) * float64(percent) / 100
}

// rateAt returns the rate at a time.
func (c *Clients) rateAt(at time.Duration) float64 {
	n := len(c.Day)
	if n == 0 {
		return float64(c.Rate)
	}
	at %= day
	next := 0
	for next < n && c.Day[next].At.Std() <= at {
		next++
	}
	from, to := c.Day[(next+n-1)%n], c.Day[next%n]
	gap := (to.At.Std() - from.At.Std() + day) % day
	if gap == 0 {
		gap = day
	}
	part := float64((at-from.At.Std()+day)%day) / float64(gap)
	return float64(c.Rate) * (float64(from.Percent) + part*float64(to.Percent-from.Percent)) / 100
}

// Variants returns what is played, each with its name and its policy.
func (p *Plan) Variants() []Variant {
	all := slices.Clone(p.Compare)
	if len(all) == 0 {
		all = []Variant{{By: DNS}, {By: ByGateway}}
	}
	if p.Baseline && !slices.ContainsFunc(all, func(v Variant) bool { return v.By == PlainDNS }) {
		all = append([]Variant{{By: PlainDNS}}, all...)
	}
	for i := range all {
		v := &all[i]
		switch {
		case v.By == PlainDNS:
			v.Policy = "roundRobin" // there are no weights in an RRset
		case v.Policy == "":
			v.Policy = p.poolNamed(p.Pool).Policy
		}
		if v.Name != "" {
			continue
		}
		switch v.By {
		case PlainDNS:
			v.Name = "plain DNS"
		case DNS:
			v.Name = "steered DNS"
		default:
			v.Name = "gateway, " + v.Policy
		}
	}
	return all
}

func (p *Plan) poolNamed(name string) *state.Pool {
	i := slices.IndexFunc(p.Pools, func(o state.Pool) bool { return o.Name == name })
	if i < 0 {
		return nil
	}
	return &p.Pools[i]
}

// poolsOf returns the pools as a variant has them.
func (p *Plan) poolsOf(v *Variant) []state.Pool {
	pools := slices.Clone(p.Pools)
	for i := range pools {
		o := &pools[i]
		if v.By == PlainDNS {
			o.Check = state.Check{Type: "none"}
		}
		if v.Interval > 0 {
			o.Check.Interval, o.Check.FastInterval, o.Check.Timeout = v.Interval, 0, 0
		}
		if v.Fall > 0 {
			o.Check.Fall, o.Check.FastInterval = v.Fall, 0
		}
		if o.Check.Type != "none" {
			o.Check.Complete()
		}
		if o.Name != p.Pool {
			continue
		}
		if v.Policy != "" && v.Policy != o.Policy {
			o.Policy, o.Hash = v.Policy, state.Hash{Key: "clientAddress", By: "maglev", Bits4: 24, Bits6: 56}
		}
		if v.Hash != (state.Hash{}) && !v.Hash.IsZero() {
			o.Hash = v.Hash
		}
		if v.SlowStart > 0 {
			o.SlowStart = v.SlowStart
		}
	}
	return pools
}

// steerOf returns the steered name as a variant has it.
func (p *Plan) steerOf(v *Variant) *state.Steer {
	var s state.Steer
	document.SetDefaults(&s)
	s.Name, s.Pool = dnsname.MustParse("www.example.com"), p.Pool
	if i := slices.IndexFunc(p.Steer, func(o state.Steer) bool { return o.Pool == p.Pool }); i >= 0 {
		s = p.Steer[i]
	}
	if v.TTL > 0 {
		s.TTL = v.TTL
	}
	if v.ShortTTL > 0 {
		s.ShortTTL = v.ShortTTL
	}
	if len(v.Filters) > 0 {
		s.Filters = v.Filters
	}
	if v.By == PlainDNS { // an RRset, handed out in turn, whole
		s.ShortTTL, s.WhenDown, s.Fallback = s.TTL, "all", state.Fallback{}
		s.Filters = []state.Filter{{Type: "weighted"}, {Type: "limit", Count: 32}}
	}
	return &s
}

// Adopt takes pools, steered names and the place of the node from a configuration. With
// example the rest is that of Example: what happens to its three members then happens to the
// first ones of the pool.
func (p *Plan) Adopt(r state.Resources, place state.Place, example bool) {
	p.Pools, p.Steer, p.Place = r.Pools, r.Steer, place
	if p.Pool == "" && len(p.Pools) > 0 {
		p.Pool = p.Pools[0].Name
	}
	played := p.poolNamed(p.Pool)
	if !example || played == nil {
		return
	}
	p.Title, p.Compare = "", nil
	var events []Event
	for _, e := range p.Events {
		if at := strings.Index("abc", e.Member); at >= 0 && at < len(played.Members) {
			e.Member = played.Members[at].Name
			events = append(events, e)
		} else if e.Member == "*" {
			events = append(events, e)
		}
	}
	p.Events = events
}

// Check reports what is wrong within a plan that is well formed.
func (p *Plan) Check(report state.Report) {
	if len(p.Pools) == 0 {
		report("pools", "there is no pool", "write one as in pharos.yaml, or take one from a configuration with --config and --pool")
		return
	}
	if p.Pool == "" {
		p.Pool = p.Pools[0].Name
	}
	(&state.Resources{Pools: p.Pools, Steer: p.Steer}).Check(report)
	if p.poolNamed(p.Pool) == nil {
		report("pool", fmt.Sprintf("there is no pool %q", p.Pool), "name one of pools")
		return
	}
	p.checkSteer(report)
	p.checkServers(report)
	p.checkClients(report)
	for i, e := range p.Events {
		at := fmt.Sprintf("events[%d].", i)
		p.checkMember(at+"member", e.Member, report)
		if e.Every == 0 && e.At >= p.Length {
			report(at+"at", fmt.Sprintf("%s is after the end, at %s", e.At, p.Length), "have it happen earlier, or make length longer")
		}
	}
	for i := range p.Compare {
		p.Compare[i].check(fmt.Sprintf("compare[%d].", i), p, report)
	}
}

// checkSteer reports what cannot be played of a steered name.
func (p *Plan) checkSteer(report state.Report) {
	for i := range p.Steer {
		if s := &p.Steer[i]; s.Pool == p.Pool && s.Answer != "address" && s.Answer != "https" {
			report(fmt.Sprintf("steer[%d].answer", i), "clients that go by "+s.Answer+" records cannot be played", "write answer: address")
		}
	}
	if len(p.poolNamed(p.Pool).Members) == 0 {
		report("pools", fmt.Sprintf("pool %q has no members of its own", p.Pool), "write those that a list would have under members")
	}
}

func (p *Plan) checkServers(report state.Report) {
	seen := map[string]int{}
	for i, s := range p.Servers {
		at := fmt.Sprintf("servers[%d].", i)
		if j, twice := seen[s.Member]; twice {
			report(at+"member", fmt.Sprintf("%q is already servers[%d]", s.Member, j), "remove one of them")
		}
		seen[s.Member] = i
		p.checkMember(at+"member", s.Member, report)
		for j := 1; j < len(s.Curve); j++ {
			if s.Curve[j].Requests <= s.Curve[j-1].Requests {
				report(fmt.Sprintf("%scurve[%d].requests", at, j), "it is not more than that of the point before", "write the points in the order of their requests")
			}
		}
	}
}

// checkMember reports a name that no server has.
func (p *Plan) checkMember(path, name string, report state.Report) {
	var known []string
	for i := range p.Pools {
		for _, m := range p.Pools[i].Members {
			if p.Pools[i].Name == p.Pool {
				known = append(known, m.Name)
			} else {
				known = append(known, p.Pools[i].Name+"/"+m.Name)
			}
		}
	}
	if name == "*" || slices.Contains(known, name) {
		return
	}
	remedy := `name one, or "*" for all`
	if near := document.Nearest(name, known); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	report(path, fmt.Sprintf("no member is called %q", name), remedy)
}

func (p *Plan) checkClients(report state.Report) {
	if len(p.Clients) == 0 {
		report("clients", "there are no clients", "add some, for example clients: [{rate: 50}]")
	}
	all := 0.0
	for i := range p.Clients {
		c, at := &p.Clients[i], fmt.Sprintf("clients[%d].", i)
		all += c.most() * p.Length.Std().Seconds()
		for j := 1; j < len(c.Day); j++ {
			if c.Day[j].At <= c.Day[j-1].At {
				report(fmt.Sprintf("%sday[%d].at", at, j), "it is not later than the point before", "write the points in the order of the day")
			}
		}
		if n := c.resolverNetwork(i); n.Addr().BitLen()-n.Bits() < 16 && 1<<(n.Addr().BitLen()-n.Bits()) <= c.Resolvers {
			key := "network"
			if c.isAbroad() {
				key = "resolverNetwork"
			}
			report(at+key, fmt.Sprintf("%s has not enough addresses for %d resolvers", n, c.Resolvers), "widen it, or have fewer resolvers")
		}
		p.checkNetworks(i, report)
	}
	if all > maxRequests {
		report("clients", fmt.Sprintf("these are %.0f million requests, and at most %.0f million are played", all/1e6, maxRequests/1e6), "lower rate, or shorten length")
	}
}

// checkNetworks reports networks of the i-th clients that others have as well: nobody could tell who asks.
func (p *Plan) checkNetworks(i int, report state.Report) {
	c := &p.Clients[i]
	for _, key := range []string{"network", "resolverNetwork"} {
		n, has := c.networks(i)[key]
		if !has {
			continue
		}
		if key == "resolverNetwork" && n.Overlaps(c.network(i)) {
			report(fmt.Sprintf("clients[%d].%s", i, key), fmt.Sprintf("%s is, in part, that of the clients", n), "give the resolvers their own")
		}
		for j := range i {
			for _, other := range p.Clients[j].networks(j) {
				if n.Overlaps(other) {
					report(fmt.Sprintf("clients[%d].%s", i, key), fmt.Sprintf("%s is, in part, that of clients[%d]", n, j), "give each its own")
				}
			}
		}
	}
}

// check reports what is wrong with a variant, and is not with the pool as it is.
func (v *Variant) check(at string, p *Plan, report state.Report) {
	before := map[string]bool{}
	(&state.Resources{Pools: p.Pools, Steer: p.Steer}).Check(func(_, text, _ string) { before[text] = true })
	changed := &state.Resources{Pools: p.poolsOf(v), Steer: []state.Steer{*p.steerOf(v)}}
	changed.Check(func(path, text, remedy string) {
		if before[text] {
			return
		}
		_, key, _ := strings.Cut(path, "].")
		report(at+strings.TrimPrefix(key, "check."), text, remedy)
	})
}
