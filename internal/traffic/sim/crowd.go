package sim

import (
	"net/netip"
	"time"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
	"pharos/internal/traffic/steer"
)

// crowd is the clients of one kind: those in one place, behind some resolvers.
type crowd struct {
	of        *Clients
	most      float64 // requests per second at the busiest time
	resolvers []resolver
	first     netip.Addr // of the clients
	addresses int        // they have so many
	pins      []pin      // of those clients that keep what they have
	trips     []time.Duration
	gateway   time.Duration // to the gateway and back
}

// resolver keeps the answers that its clients share.
type resolver struct {
	addr  netip.Addr
	kept  answer                   // for everybody
	of    map[netip.Prefix]*answer // for clients of a network, where the resolver says who asks
	scope int                      // for how much of an address the latest of these holds
}

// answer is what a resolver keeps.
type answer struct {
	servers []int32 // in the order of the records
	until   time.Duration
	turn    uint32 // resolvers hand the records out in turn, too
	hasSome bool
}

// pin is an answer that a client keeps for itself.
type pin struct {
	answer []int32
	first  uint32
	until  time.Duration
}

// request is one under way.
type request struct {
	crowd     int32
	server    int32
	slot      int32  // among those that its server works on
	during    int32  // what was happening to the server; -1: nothing
	visit     uint32 // changes with each thing that ends what was planned for it
	lane      uint32
	tries     int
	tried     [8]int // members of view
	key       uint64
	began     time.Duration // by its client
	asked     time.Duration // by who has it
	begun     time.Duration // by a worker
	trips     time.Duration // on the network so far
	view      *pool.View
	load      *pool.MemberLoad
	member    int
	doubted   int     // the member that answered with an error while another one is asked; -1: there is none
	answer    []int32 // DNS: whom the client may ask
	first     uint32
	unsafe    bool // not to be repeated once it was sent
	connected bool // the server has taken it
	bad       bool // the server answers with an error
}

// maxTries is how many members a gateway tries at most, as in package httpproxy.
const maxTries = 8

func (w *world) addCrowds() {
	w.crowds = make([]crowd, len(w.plan.Clients))
	for i := range w.plan.Clients {
		c, of := &w.crowds[i], &w.plan.Clients[i]
		c.of, c.most = of, of.most()
		c.resolvers = make([]resolver, of.Resolvers)
		c.first, c.addresses = clientsIn(of.network(i))
		addr := of.resolverNetwork(i).Addr()
		for j := range c.resolvers {
			addr = addr.Next()
			c.resolvers[j].addr = addr
		}
		c.pins = make([]pin, of.Clients*of.Pinned/100)
		place := poolspec.PlaceOf(of.Place)
		for j := range w.servers {
			c.trips = append(c.trips, tripBetween(place, w.servers[j].place))
		}
		c.gateway = tripBetween(place, poolspec.PlaceOf(w.plan.Place))
		w.comeLater(i)
	}
}

// comeLater plans the next request of a crowd: by chance, at the rate of its busiest time.
func (w *world) comeLater(i int) {
	if most := w.crowds[i].most; most > 0 {
		w.after(time.Duration(w.coming.ExpFloat64()/most*float64(time.Second)), event{kind: arrive, of: int32(i)})
	}
}

// arrive begins a request of a crowd, or none: at other times than the busiest some of those
// planned are left out (thinning, Lewis and Shedler 1979).
func (w *world) arrive(i int) {
	w.comeLater(i)
	c := &w.crowds[i]
	if w.coming.Float64()*c.most >= c.of.rateAt(w.now) {
		return
	}
	id := w.newRequest()
	r := &w.requests[id]
	client := w.coming.IntN(c.of.Clients)
	*r = request{crowd: int32(i), visit: r.visit, doubted: -1, began: w.now, lane: uint32(client), unsafe: w.coming.IntN(100) < c.of.Writes}
	if r.key = w.keys.Uint64(); w.pool.View().Spec().Hash.Key.Of <= pool.ClientPrefix {
		r.key = uint64(i)<<32 | uint64(client)
	}
	w.noteBegan()
	if w.variant.By == ByGateway {
		r.trips = c.gateway
		w.pass(id)
		return
	}
	r.answer, r.first = w.lookUp(c, client)
	w.connect(id)
}

func (w *world) newRequest() int32 {
	if n := len(w.free); n > 0 {
		id := w.free[n-1]
		w.free = w.free[:n-1]
		return id
	}
	w.requests = append(w.requests, request{})
	return int32(len(w.requests) - 1)
}

// lookUp returns the answer that a client has, and the record that it begins with: of its
// own if it keeps one, else from the cache of its resolver, else from the node.
func (w *world) lookUp(c *crowd, client int) ([]int32, uint32) {
	if client < len(c.pins) && w.now < c.pins[client].until {
		return c.pins[client].answer, c.pins[client].first
	}
	r := w.answerOf(c, &c.resolvers[client%len(c.resolvers)], client)
	first := r.turn
	r.turn++
	if client < len(c.pins) {
		keep := c.of.PinFor.Std()
		if c.pins[client].until == 0 { // it has begun before the run, at any time
			keep = time.Duration(w.rng.Float64() * float64(keep))
		}
		c.pins[client] = pin{r.servers, first, w.now + keep}
	}
	return r.servers, first
}

// answerOf returns what a resolver answers a client: what it keeps, or what the node says.
func (w *world) answerOf(c *crowd, r *resolver, client int) *answer {
	if !c.of.ECS {
		if !r.kept.hasSome || w.now >= r.kept.until {
			w.resolve(c, &r.kept, r.addr)
		}
		return &r.kept
	}
	// RFC 7871 §7.3: an answer is for the network that it names, and with a scope of 0 for everybody.
	addr := c.address(client)
	network, _ := addr.Prefix(r.scope)
	if a := r.of[network]; a != nil && w.now < a.until {
		return a
	}
	a := new(answer)
	bits := ecsBits6
	if addr.Is4() {
		bits = ecsBits4
	}
	told, _ := addr.Prefix(bits)
	r.scope = min(w.resolve(c, a, told.Addr()), bits)
	if network, _ = addr.Prefix(r.scope); r.of == nil {
		r.of = map[netip.Prefix]*answer{}
	}
	r.of[network] = a
	return a
}

// ecsBits4 and ecsBits6 are how much resolvers tell of an address (RFC 7871 §11.1).
const (
	ecsBits4 = 24
	ecsBits6 = 56
)

// clientsIn returns the first address of clients in a network, and how many there are: in one of IPv6 each
// has a /56 of its own, as subscribers do.
func clientsIn(n netip.Prefix) (first netip.Addr, count int) {
	free := ecsBits6 - n.Bits()
	if n.Addr().Is4() {
		free = 32 - n.Bits()
	}
	return n.Masked().Addr(), 1 << min(max(free, 0), 24)
}

// address returns that of a client.
func (c *crowd) address(client int) netip.Addr {
	raw, last := c.first.As16(), 15
	if !c.first.Is4() {
		last = ecsBits6/8 - 1
	}
	for more, i := client%c.addresses, last; more > 0; i-- {
		more += int(raw[i])
		raw[i] = byte(more)
		more >>= 8
	}
	return netip.AddrFrom16(raw).Unmap()
}

// resolve asks the node, as a resolver does whose answer has expired, for a client: itself or one of a
// network. It returns for how many leading bits of that address the answer is good.
func (w *world) resolve(c *crowd, a *answer, client netip.Addr) (scope int) {
	w.questions++
	kind := rdata.TypeAAAA
	if len(w.pool.View().V4.Order) > 0 || client.Is4() && len(w.pool.View().V6.Order) == 0 {
		kind = rdata.TypeA
	}
	turn := w.rule.Turn()
	p, scope := w.rule.Prepare(kind, client, turn, w.at())
	var buf [steer.MaxLimit]uint16
	a.servers = nil // those that keep the old one go on with it
	for _, i := range p.Pick(turn, client, buf[:0]) {
		if m := p.Members[i]; m >= 0 {
			a.servers = append(a.servers, int32(w.byAddress[p.View.Members[m].Address]))
		}
	}
	keep := max(time.Duration(p.TTL)*time.Second, c.of.MinTTL.Std())
	a.until, a.turn, a.hasSome = w.now+keep, 0, true
	return scope
}

// connect has a client ask the next server of its answer.
func (w *world) connect(id int32) {
	r := &w.requests[id]
	c := &w.crowds[r.crowd]
	if r.tries >= min(c.of.Tries, len(r.answer)) {
		w.fail(id)
		return
	}
	to := r.answer[(int(r.first)+r.tries)%len(r.answer)]
	r.tries++
	r.trips += c.trips[to]
	w.send(id, int(to))
}

// connectTimeout returns how long whoever sent a request waits for a connection.
func (w *world) connectTimeout(r *request) time.Duration {
	if w.variant.By == ByGateway {
		return w.plan.Gateway.Connect.Std()
	}
	return w.crowds[r.crowd].of.Connect.Std()
}

// responseTimeout returns how long whoever sent a request waits for its response.
func (w *world) responseTimeout(r *request) time.Duration {
	if w.variant.By == ByGateway {
		return w.plan.Gateway.Response.Std()
	}
	return w.crowds[r.crowd].of.Patience.Std()
}
