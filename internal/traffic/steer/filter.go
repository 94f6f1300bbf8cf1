package steer

import (
	"fmt"
	"time"
)

// FilterKind is what a filter does.
type FilterKind uint8

// The filters. Those before Sticky leave members out; Sticky and Weighted put in order
// those that are left; Limit takes the first of them.
const (
	Up       FilterKind = iota // by health; what there is to do when nobody is up is the Spec's
	Tiers                      // the lowest tier that anybody is left of
	Near                       // those nearest to the client, by By
	Measured                   // those with the shortest round trips to the client's network
	Shed                       // those with room: a member near its capacity is in fewer answers
	Sticky                     // in an order that is the client network's own
	Weighted                   // in turn, by weight
	Limit                      // the first Count
)

var filterNames = [...]string{"up", "tiers", "near", "latency", "shed", "sticky", "weighted", "limit"}

// String returns the word of the configuration.
func (k FilterKind) String() string { return filterNames[k] }

// Measure is what a filter goes by.
type Measure uint8

// The measures: of Near from the finest to the coarsest, then those of Shed.
const (
	ByZone Measure = iota
	ByRegion
	ByCountry
	ByContinent
	ByDistance
	ByConnections
	ByBandwidth
	ByLoad // that the member's agent reports
)

var measureNames = [...]string{"zone", "region", "country", "continent", "distance", "connections", "bandwidth", "load"}

// String returns the word of the configuration.
func (m Measure) String() string { return measureNames[m] }

// Filter is one step of a chain.
type Filter struct {
	Kind FilterKind
	By   Measure // of Near and Shed
	// Within is by how many kilometres a member may be farther than the nearest, for Near
	// by distance.
	Within int
	// Slack is by how much a member's round trip may be longer than the shortest, for Measured.
	Slack time.Duration
	// From is the load in percent of its capacity from which a member is shed.
	From int
	// Bits4 and Bits6 are how long the networks are that Sticky takes for one client.
	Bits4, Bits6 int
	// Count is how many Limit leaves.
	Count int
}

// Defaults of a Filter's fields.
const (
	DefaultWithin = 100                   // kilometres: a metropolitan area
	DefaultSlack  = 10 * time.Millisecond // below it, nobody notices the difference
	DefaultFrom   = 80                    // percent
	DefaultBits4  = 24                    // what resolvers send (RFC 7871 §11.1)
	DefaultBits6  = 56
)

// ParseFilter returns the filter that the words stand for, with its defaults. by may be
// empty.
func ParseFilter(kind, by string) (Filter, error) {
	f := Filter{Within: DefaultWithin, Slack: DefaultSlack, From: DefaultFrom, Bits4: DefaultBits4, Bits6: DefaultBits6, Count: DefaultLimit}
	at := -1
	for i, name := range filterNames {
		if name == kind {
			at = i
		}
	}
	if at < 0 {
		return f, fmt.Errorf("filter %q: want one of %v", kind, filterNames)
	}
	switch f.Kind = FilterKind(at); f.Kind {
	case Near:
		f.By = ByCountry
	case Shed:
		f.By = ByConnections
	}
	for i, name := range measureNames {
		if name != by || by == "" {
			continue
		}
		if f.Kind == Shed && Measure(i) < ByConnections || f.Kind == Near && Measure(i) > ByDistance || f.Kind != Near && f.Kind != Shed {
			return f, fmt.Errorf("filter %s does not go by %s", kind, by)
		}
		f.By = Measure(i)
		return f, nil
	}
	if by != "" {
		return f, fmt.Errorf("filter %s by %q: want one of %v", kind, by, measureNames)
	}
	return f, nil
}

// String returns f in a few words.
func (f *Filter) String() string {
	switch f.Kind {
	case Near, Shed:
		return f.Kind.String() + " by " + f.By.String()
	}
	return f.Kind.String()
}

// FilterNames returns the chain in words.
func (s *Spec) FilterNames() (names []string) {
	for i := range s.Filters {
		names = append(names, s.Filters[i].String())
	}
	return names
}

// DefaultFilters returns the chain of a name without one. SRV and MX records tell tiers
// themselves, and clients fail over by them (RFC 2782, RFC 5321 §5.1).
func DefaultFilters(k Kind) []Filter {
	limit := Filter{Kind: Limit, Count: DefaultLimit}
	if k == SRV || k == MX {
		return []Filter{{Kind: Up}, {Kind: Weighted}, limit}
	}
	return []Filter{{Kind: Up}, {Kind: Tiers}, {Kind: Weighted}, limit}
}

// CheckChain says what is wrong with a chain of filters: the place and the reason, or "".
func CheckChain(kinds []string) (at int, why string) {
	seen := map[string]int{}
	last := -1 // the place of the last that puts in order or takes the first
	for i, kind := range kinds {
		if j, twice := seen[kind]; twice && kind != "near" && kind != "shed" {
			return i, fmt.Sprintf("%s is already filters[%d]", kind, j)
		}
		seen[kind] = i
		_, orders := seen["sticky"]
		_, turns := seen["weighted"]
		switch {
		case kind == "up" && i > 0:
			return i, "up comes first: the others choose among those that can serve"
		case orders && turns:
			return i, "sticky and weighted both put the members in order: keep one of them"
		case kind == "sticky" || kind == "weighted":
			if _, limited := seen["limit"]; limited {
				return i, kind + " comes before limit, which takes the first of an order"
			}
			last = i
		case kind == "limit":
			last = i
		case last >= 0:
			return i, fmt.Sprintf("%s leaves members out, and comes before those that put them in order or count them", kind)
		}
	}
	return 0, ""
}

// sight is what of a client a chain looks at.
type sight struct {
	places   bool    // where it is, as finely as:
	place    Measure // the finest of zone, region, country and continent
	distance bool    // its coordinates too
	latency  bool    // what was measured of its network
	sticky   *Filter // its network
	shedding bool
}

func sightOf(filters []Filter) (s sight) {
	see := func(m Measure) {
		if m == ByDistance {
			s.distance, m = true, ByCountry // which it goes by without coordinates
		}
		if !s.places || m < s.place {
			s.places, s.place = true, m
		}
	}
	for i := range filters {
		f := &filters[i]
		switch f.Kind {
		case Near:
			see(f.By)
		case Measured: // what was not measured is estimated from the distance
			s.latency = true
			see(ByDistance)
		case Sticky:
			s.sticky = f
		case Shed:
			s.shedding = true
		}
	}
	return s
}

// isPersonal reports whether an answer depends on who asks.
func (s *sight) isPersonal() bool { return s.places || s.latency || s.sticky != nil }
