package steer

import (
	"fmt"
	"math"
	"net/netip"
	"sync/atomic"

	"pharos/internal/serve/admission"
	"pharos/internal/traffic/pool"
)

// Located is a place that clients are at, with what tells it from others.
type Located struct {
	pool.Place
	Source string // what says so, for explain: a line of the configuration, or a database

	keys  [ByContinent + 1]uint64 // equal where places are the same, as finely as the measure
	point uint64                  // of the coordinates
}

// coordinateStep is how finely coordinates of clients are taken, in degrees: half of one
// is at most 56 km, less than databases are right to, and few enough places to remember.
const coordinateStep = 0.5

// Locate returns the place p as source says it.
func Locate(p pool.Place, source string) *Located {
	p.Latitude = math.Round(p.Latitude/coordinateStep)*coordinateStep + 0 // not -0
	p.Longitude = math.Round(p.Longitude/coordinateStep)*coordinateStep + 0
	l := &Located{Place: p, Source: source}
	h := hashText(seedPlace, p.Continent)
	l.keys[ByContinent] = h
	for _, part := range [...]struct {
		by   Measure
		text string
	}{{ByCountry, p.Country}, {ByRegion, p.Region}, {ByZone, p.Zone}} {
		h = hashText(h, part.text)
		l.keys[part.by] = h
	}
	l.point = mix(math.Float64bits(p.Latitude) ^ mix(math.Float64bits(p.Longitude)+1))
	return l
}

// hasPoint reports whether the coordinates of a place are known.
func hasPoint(p *pool.Place) bool { return p.Latitude != 0 || p.Longitude != 0 }

// earth is the mean radius in kilometres (IUGG), and the error of taking it for a ball
// below 0.6 %.
const earth = 6371.0088

// distance returns the kilometres between two places, by the haversine formula.
func distance(a, b *pool.Place) float64 {
	const degree = math.Pi / 180
	lat1, lat2 := a.Latitude*degree, b.Latitude*degree
	x, y := math.Sin((lat2-lat1)/2), math.Sin((b.Longitude-a.Longitude)*degree/2)
	h := x*x + math.Cos(lat1)*math.Cos(lat2)*y*y
	return 2 * earth * math.Asin(math.Sqrt(min(h, 1)))
}

// Database says where addresses are. Its methods do not allocate for what was asked
// before, and may be called from any goroutine.
type Database interface {
	// Find returns the place of addr, nil if it has none, and for how many leading bits
	// of addr that is so.
	Find(addr netip.Addr) (place *Located, bits int)
}

// Network is a line of the operator's own map.
type Network struct {
	Prefix netip.Prefix
	Place  pool.Place
}

// Edition is an Atlas at one moment; immutable.
type Edition struct {
	lines    *admission.ACL // which line an address belongs to
	places   map[netip.Prefix]*Located
	database Database // may be nil
}

// NewEdition returns the edition of the operator's own networks, which go before a
// database; that may be nil.
func NewEdition(networks []Network, d Database) (*Edition, error) {
	e := &Edition{database: d}
	if len(networks) == 0 {
		return e, nil
	}
	e.places = make(map[netip.Prefix]*Located, len(networks))
	prefixes := make([]netip.Prefix, len(networks))
	for i, n := range networks {
		prefixes[i] = n.Prefix
	}
	var err error
	if e.lines, err = admission.AllowOnly(prefixes); err != nil {
		return nil, err
	}
	for _, n := range networks {
		prefix := plain(n.Prefix)
		e.places[prefix] = Locate(n.Place, fmt.Sprintf("network %s of the configuration", prefix))
	}
	return e, nil
}

// plain returns p as the IPv4 prefix that it stands for, if it does, as the list has it.
func plain(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// Find returns the place of addr, nil if none is known, and for how many leading bits of
// addr that is so.
func (e *Edition) Find(addr netip.Addr) (place *Located, bits int) {
	if e.lines != nil {
		bits = e.lines.Reach(addr)
		if rule, ok := e.lines.Decide(addr); ok {
			return e.places[rule.Prefix], bits
		}
	}
	if e.database == nil {
		return nil, bits
	}
	place, more := e.database.Find(addr)
	return place, max(bits, more)
}

// Atlas is where clients are, in the edition that is in force.
type Atlas struct{ edition atomic.Pointer[Edition] }

// NewAtlas returns an Atlas that knows of nobody.
func NewAtlas() *Atlas {
	a := new(Atlas)
	a.edition.Store(new(Edition))
	return a
}

// nowhere is the Atlas of rules without one.
var nowhere = NewAtlas()

// Publish puts an edition in force.
func (a *Atlas) Publish(e *Edition) { a.edition.Store(e) }

// Edition returns the one in force.
func (a *Atlas) Edition() *Edition { return a.edition.Load() }
