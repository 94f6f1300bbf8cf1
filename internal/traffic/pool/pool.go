// Package pool is the servers behind one name and which of them may be picked
// now. It owns the view: members with their states, who is eligible, and the
// order of picks, compiled once and never changed. It does not decide states
// (package health), nor pick (package balance), nor answer (package steer).
//
//	specs + states --Compile--> *View --Publish--> Pool --View()--> every query, every request
//	                               ^
//	  Registry.Apply(target, status): only the pools that hold the target
//
// Entry points: NewRegistry, Registry.Pool, Registry.Apply; Pool.View; Compile.
//
// Concurrency: a View is immutable, but for the boards of its levels, which are
// atomics. Pool.View is one atomic load. Registry's Apply, Refresh and Warm may be called from any goroutine and wait for each other; its
// other methods read what never changes. Load and MemberLoad are atomics.
package pool

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
)

// Policy is how members are chosen; package balance does it.
type Policy uint8

// The policies. The zero Policy is RoundRobin.
const (
	RoundRobin         Policy = iota // each in turn
	WeightedRoundRobin               // each in turn, as often as its weight, evenly spread
	LeastConnections                 // who has the fewest in flight for its weight
	LeastResponseTime                // who promises the earliest answer: peak-EWMA and in flight
	LeastBandwidth                   // who moves the fewest bits now for its weight
	Hash                             // the same for the same key
	TwoChoices                       // the better of two that chance draws
	Random                           // by chance, as often as its weight
	First                            // the first with capacity left
)

var policyNames = [...]string{
	"roundRobin", "weightedRoundRobin", "leastConnections", "leastResponseTime", "leastBandwidth",
	"hash", "twoChoices", "random", "first",
}

// String returns the word of the configuration file.
func (p Policy) String() string {
	if int(p) < len(policyNames) {
		return policyNames[p]
	}
	return fmt.Sprintf("policy(%d)", uint8(p))
}

// MarshalText returns what String returns.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote; the empty text is RoundRobin.
func (p *Policy) UnmarshalText(text []byte) error {
	for i, name := range policyNames {
		if string(text) == name || (i == 0 && len(text) == 0) {
			*p = Policy(i)
			return nil
		}
	}
	return fmt.Errorf("policy %q: want one of %s", text, strings.Join(policyNames[:], ", "))
}

// Spec is a pool as configured.
type Spec struct {
	Name    string
	Policy  Policy
	Check   health.Check
	Agent   health.Check // asked beside Check; Kind None: there is none
	Passive Passive
	Behind  []string // pools that the members are reached through
	Members []MemberSpec

	Hash      HashSpec      // of the policy Hash
	SlowStart time.Duration // over which a member that came up gets its whole share; 0: at once
	Local     Extent        // how far nearness counts; Anywhere: not at all
	Here      Place         // of this node
}

// HashSpec is how the policy Hash goes from a key to a member.
type HashSpec struct {
	Key Key   `json:"key"`
	By  Table `json:"by"`
	// Bound is how much of its share of all requests in flight a member may have, in
	// percent; what is over goes to the next one. 0: no bound.
	Bound int `json:"bound,omitempty"`
}

// Table is a way to give keys to members; package consistent has them.
type Table uint8

// The tables. The zero Table is Maglev.
const (
	Maglev Table = iota
	Ring
	Rendezvous
)

var tableNames = [...]string{"maglev", "ring", "rendezvous"}

// String returns the word of the configuration file.
func (t Table) String() string { return tableNames[t] }

// MarshalText returns what String returns.
func (t Table) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote; the empty text is Maglev.
func (t *Table) UnmarshalText(text []byte) error {
	for i, name := range tableNames {
		if string(text) == name || i == 0 && len(text) == 0 {
			*t = Table(i)
			return nil
		}
	}
	return fmt.Errorf("table %q: want maglev, ring or rendezvous", text)
}

// Key is what of a request is hashed, or makes a client known again. Who carries
// requests takes it from them.
type Key struct {
	Of   KeyKind `json:"of"`
	Name string  `json:"name,omitempty"` // of a Field, Cookie or Query parameter
	// Bits of a client's address, of a ClientPrefix.
	Bits4 int `json:"bits4,omitempty"`
	Bits6 int `json:"bits6,omitempty"`
}

// OfClient returns the hash of what a key takes of a client's address: for connections of
// which nothing else is known as for requests. ok is false for a part of a request.
func (k *Key) OfClient(client netip.Addr) (key uint64, ok bool) {
	switch client = client.Unmap(); k.Of {
	case ClientAddress:
		return consistent.SumAddress(client), true
	case ClientPrefix:
		length := k.Bits6
		if client.Is4() {
			length = k.Bits4
		}
		network, err := client.Prefix(length)
		return consistent.SumAddress(network.Addr()), err == nil
	}
	return 0, false
}

// KeyKind is a part of a request.
type KeyKind uint8

// The parts of requests. The zero KeyKind is ClientAddress.
const (
	ClientAddress KeyKind = iota
	ClientPrefix
	URL // host, path and query
	Path
	Field
	Cookie
	Query
	ServerName // that the client asked for by TLS (SNI)
)

var keyNames = [...]string{"clientAddress", "clientPrefix", "url", "path", "field", "cookie", "query", "serverName"}

// String returns the word of the configuration file.
func (k KeyKind) String() string { return keyNames[k] }

// MarshalText returns what String returns.
func (k KeyKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote; the empty text is ClientAddress.
func (k *KeyKind) UnmarshalText(text []byte) error {
	for i, name := range keyNames {
		if string(text) == name || i == 0 && len(text) == 0 {
			*k = KeyKind(i)
			return nil
		}
	}
	return fmt.Errorf("key %q: want one of %s", text, strings.Join(keyNames[:], ", "))
}

// String returns the key as explain shows it.
func (k Key) String() string {
	switch k.Of {
	case Field, Cookie, Query:
		return k.Of.String() + " " + k.Name
	case ClientPrefix:
		return fmt.Sprintf("%s /%d or /%d", k.Of, k.Bits4, k.Bits6)
	}
	return k.Of.String()
}

// MemberSpec is a member as configured.
type MemberSpec struct {
	Name    string // "": the address
	Address netip.AddrPort
	Weight  int    // 0 stands for 1; at most MaxWeight
	Drain   bool   // takes nothing new, whatever its state
	Why     string // why it drains, if no operator can have it used; empty: as configured

	Tier      int   // rank for failover: 0 first; at most MaxTier
	Capacity  int   // requests or connections at once; 0: no bound
	Bandwidth int64 // bits per second, both ways together; 0: no bound
	Place     Place
	Host      string // its own name, for answers with names; "": none

	Override Override // at run time
}

// Place is where a member or a node stands. What is empty is not known.
type Place struct {
	Continent string `json:"continent,omitempty"` // AF, AN, AS, EU, NA, OC, SA
	Country   string `json:"country,omitempty"`   // ISO 3166-1 alpha-2
	Region    string `json:"region,omitempty"`    // ISO 3166-2 without the country, or a provider's name
	Zone      string `json:"zone,omitempty"`      // what fails as one
	// Latitude and Longitude in degrees, north and east positive; both 0: not known.
	Latitude  float64 `json:"latitude,omitzero"`
	Longitude float64 `json:"longitude,omitzero"`
}

// Limits of a Spec; Validate refuses what passes them.
const (
	MaxMembers = 1 << 16 // arbitrary; a view of so many takes about 10 MB
	MaxWeight  = 1 << 16 // arbitrary; beyond it the order of picks cannot show the difference
	// A bound near 100 sends most keys elsewhere; one of 1000 bounds nothing.
	MinBound = 105
	MaxBound = 1000

	MaxTier = 15 // arbitrary; nobody has so many places to fail over to
)

// Validate reports what is wrong with s: a name, address or weight that cannot
// be, or two members that cannot be told apart.
func (s Spec) Validate() error {
	if err := errors.Join(s.Check.Validate(), s.Agent.Validate(), s.Passive.validate()); err != nil {
		return fmt.Errorf("pool %q: %w", s.Name, err)
	}
	if s.SlowStart < 0 || s.Hash.Bound != 0 && (s.Hash.Bound < MinBound || s.Hash.Bound > MaxBound) {
		return fmt.Errorf("pool %q: slow start %v, bound %d: want a time, and a bound of 0 or %d to %d percent", s.Name, s.SlowStart, s.Hash.Bound, MinBound, MaxBound)
	}
	if len(s.Members) > MaxMembers {
		return fmt.Errorf("pool %q: %d members; at most %d fit, split the pool", s.Name, len(s.Members), MaxMembers)
	}
	seen := make(map[string]bool, len(s.Members))
	for _, m := range s.Members {
		name := m.name()
		switch {
		case !m.Address.IsValid() || m.Address.Port() == 0:
			return fmt.Errorf("pool %q: member %q: address %v: want an IP address and a port, as 10.0.0.1:8080 or [2001:db8::1]:8080", s.Name, name, m.Address)
		case m.Weight < 0 || m.Weight > MaxWeight || m.Override.Weight < 0 || m.Override.Weight > MaxWeight:
			return fmt.Errorf("pool %q: member %q: weight %d: want 1 to %d", s.Name, name, m.Weight, MaxWeight)
		case m.Tier < 0 || m.Tier > MaxTier:
			return fmt.Errorf("pool %q: member %q: tier %d: want 0 to %d", s.Name, name, m.Tier, MaxTier)
		case m.Capacity < 0 || m.Bandwidth < 0:
			return fmt.Errorf("pool %q: member %q: capacity %d, bandwidth %d: want 0 for no bound, or more", s.Name, name, m.Capacity, m.Bandwidth)
		case seen[name]:
			return fmt.Errorf("pool %q: two members named %q: give each its own name", s.Name, name)
		}
		seen[name] = true
	}
	return nil
}

func (m MemberSpec) name() string {
	if m.Name == "" {
		return m.Address.String()
	}
	return m.Name
}

// With returns s with more members, but for those whose address or name s has already,
// and for those beyond MaxMembers.
func (s Spec) With(more []MemberSpec) Spec {
	if len(more) == 0 {
		return s
	}
	names, addresses := make(map[string]bool, len(s.Members)), make(map[netip.AddrPort]bool, len(s.Members))
	for _, m := range s.Members {
		names[m.name()], addresses[m.Address] = true, true
	}
	s.Members = slices.Clip(s.Members)
	for _, m := range more {
		if !names[m.name()] && !addresses[m.Address] && len(s.Members) < MaxMembers {
			s.Members = append(s.Members, m)
			names[m.name()], addresses[m.Address] = true, true
		}
	}
	return s
}

// target returns what is probed for m. Addresses that differ only in spelling
// (::ffff:10.0.0.1) are one.
func (s Spec) target(m MemberSpec) health.Target {
	addr := netip.AddrPortFrom(m.Address.Addr().Unmap(), m.Address.Port())
	return health.Target{Address: addr, Check: s.Check}
}

// agent returns what is asked beside that, if anything is.
func (s Spec) agent(m MemberSpec) health.Target {
	if s.Agent.Kind == health.None {
		return health.Target{}
	}
	target := s.target(m)
	target.Check = s.Agent
	return target
}

// Member is one server of a View.
type Member struct {
	Name    string         `json:"name"`
	Address netip.AddrPort `json:"address"`
	Weight  int            `json:"weight"`
	State   health.State   `json:"state"`
	Since   time.Time      `json:"since,omitzero"`
	Cause   string         `json:"cause"`
	Notes   health.Notes   `json:"notes,omitzero"` // what its agent reports, and warnings
	Target  health.Target  `json:"-"`              // the key of its state: what passive results are reported for
	Load    *MemberLoad    `json:"-"`              // never nil; the same in every view that holds the member

	Tier      int    `json:"tier,omitempty"`
	Capacity  int    `json:"capacity,omitempty"`
	Bandwidth int64  `json:"bandwidth,omitempty"`
	Place     Place  `json:"place,omitzero"`
	Host      string `json:"host,omitempty"`

	// Share is how much of its weight the member has now, in permille: less than 1000
	// in slow start and while it is Poor, and what its agent asks for.
	Share int `json:"share"`

	// Override is what an operator says at run time, over what is Configured.
	Override   Override   `json:"override,omitzero"`
	Configured Configured `json:"-"`

	// Agent is the key of what its agent says, if the pool asks one beside the check.
	Agent health.Target `json:"-"`
	known evidence

	id    uint64 // of its name, for tables
	limit int    // Capacity as configured; an agent may ask for less
}

// Pool holds the current view of one pool under its name.
type Pool struct {
	// Constant after the Registry made it.
	name string
	load *Load

	view atomic.Pointer[View]
}

// New returns a Pool with no members. Most callers have a Registry instead.
func New(name string) *Pool {
	p := &Pool{name: name, load: new(Load)}
	p.view.Store(Compile(Spec{Name: name}, nil, nil))
	return p
}

// Name returns the name of p.
func (p *Pool) Name() string { return p.name }

// View returns the current view; never nil.
func (p *Pool) View() *View { return p.view.Load() }

// Publish makes v the current view.
func (p *Pool) Publish(v *View) {
	for i := range v.Levels {
		v.Levels[i].settle()
	}
	p.view.Store(v)
	p.load.stir()
}

// Load returns the counters of p, which outlive views and reloads.
func (p *Pool) Load() *Load { return p.load }
