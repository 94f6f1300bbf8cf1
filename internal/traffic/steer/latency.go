package steer

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/traffic/pool"
)

// Limits of what is kept of round trips. A network takes some 300 octets, so all of it some
// 10 MB.
const (
	latencyBits4 = 24 // one network of clients, as resolvers name it (RFC 7871 §11.1)
	latencyBits6 = 48
	wideBits4    = 16 // one around it: for who was not measured himself
	wideBits6    = 32

	latencyShards = 16
	maxNetworks   = 2048 // in a shard; beyond it the one heard of longest ago among a few gives way
	maxServers    = 8    // of a network; beyond it another one is not kept
	evictSample   = 8

	// latencyAge is after how long a round trip is no longer believed: routes change.
	latencyAge = time.Hour
	ageSeconds = int64(latencyAge / time.Second)
	// latencyGain is by what part of the difference a new one moves the mean, as in TCP
	// (RFC 6298 §2).
	latencyGain = 8
	// maxTrip is the longest that is taken for one: beyond it somebody was asleep.
	maxTrip = 10 * time.Second
)

// Latency is how long round trips between networks of clients and the members of pools
// take, as it was measured on connections. It is bounded, and for any number of goroutines.
type Latency struct {
	shards [latencyShards]latencyShard
	count  atomic.Uint64
}

type latencyShard struct {
	mu       sync.Mutex // guards networks
	networks map[netip.Prefix]*measured
}

// measured is what is known of one network.
type measured struct {
	heard   int64 // Unix seconds
	servers []trip
}

type trip struct {
	server netip.Addr
	mean   time.Duration
	heard  int64 // Unix seconds
}

// isOld reports whether what was heard at one second is not believed at another. One that
// is to come is as far away as one that is over: the clock has been put back since.
func isOld(heard, second int64) bool { return second-heard > ageSeconds || heard-second > ageSeconds }

// NewLatency returns an empty Latency.
func NewLatency() *Latency {
	l := new(Latency)
	for i := range l.shards {
		l.shards[i].networks = map[netip.Prefix]*measured{}
	}
	return l
}

// Observe takes a round trip between a client and the address of a server that it is
// connected to.
func (l *Latency) Observe(client, server netip.Addr, took time.Duration, now time.Time) {
	client, server = client.Unmap(), server.Unmap()
	if !client.IsValid() || !server.IsValid() || took <= 0 || took > maxTrip {
		return
	}
	second := now.Unix()
	l.count.Add(1)
	near, wide := latencyBits4, wideBits4
	if client.Is6() {
		near, wide = latencyBits6, wideBits6
	}
	for _, bits := range [...]int{near, wide} {
		network, _ := client.Prefix(bits)
		l.shard(network).observe(network, server, took, second)
	}
}

func (l *Latency) shard(network netip.Prefix) *latencyShard {
	return &l.shards[hashNetwork(network.Addr(), network.Bits(), network.Bits())%latencyShards]
}

func (s *latencyShard) observe(network netip.Prefix, server netip.Addr, took time.Duration, second int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.networks[network]
	if m == nil {
		if len(s.networks) >= maxNetworks {
			s.evict(second)
		}
		m = new(measured)
		s.networks[network] = m
	}
	m.heard = second
	for i := range m.servers {
		t := &m.servers[i]
		if t.server != server {
			continue
		}
		if isOld(t.heard, second) {
			t.mean = took
		}
		t.mean += (took - t.mean) / latencyGain
		t.heard = second
		return
	}
	if len(m.servers) < maxServers {
		m.servers = append(m.servers, trip{server, took, second})
	}
}

// evict forgets the network heard of longest ago, of a few that the map yields first: any,
// as it yields them in another order each time. What was heard later than now was heard by
// a clock that was wrong, and goes first.
func (s *latencyShard) evict(second int64) {
	var oldest netip.Prefix
	seen, heard := 0, int64(0)
	for network, m := range s.networks {
		at := m.heard
		if at > second {
			at = 0
		}
		if seen == 0 || at < heard {
			oldest, heard = network, at
		}
		if seen++; seen == evictSample {
			break
		}
	}
	delete(s.networks, oldest)
}

// Trips returns the round trips between a client and the members of v; 0 where none is
// known. nil: none at all.
func (l *Latency) Trips(client netip.Addr, v *pool.View, now time.Time) (trips []time.Duration) {
	client = client.Unmap()
	second := now.Unix()
	near, wide := latencyBits4, wideBits4
	if client.Is6() {
		near, wide = latencyBits6, wideBits6
	}
	for _, bits := range [...]int{wide, near} { // the nearer one goes over the wider
		network, err := client.Prefix(bits)
		if err != nil {
			return nil
		}
		s := l.shard(network)
		s.mu.Lock()
		m := s.networks[network]
		for i := range v.Members {
			if m == nil {
				break
			}
			for _, t := range m.servers {
				if t.server != v.Members[i].Address.Addr() || isOld(t.heard, second) {
					continue
				}
				if trips == nil {
					trips = make([]time.Duration, len(v.Members))
				}
				trips[i] = t.mean
			}
		}
		s.mu.Unlock()
	}
	return trips
}

// Stats returns how many round trips were taken, and of how many networks something is
// kept, those around others included.
func (l *Latency) Stats() (taken uint64, networks int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		networks += len(s.networks)
		s.mu.Unlock()
	}
	return l.count.Load(), networks
}
