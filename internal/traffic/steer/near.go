package steer

import (
	"fmt"
	"math"
	"time"

	"pharos/internal/traffic/pool"
)

// rung is one way for a member to be near a client.
type rung struct {
	name string
	same func(client, member *pool.Place) bool
}

// ladder is the rungs from the finest measure to the coarsest. A member is near on the
// first rung where anybody is.
var ladder = [...]rung{
	ByZone: {"zone", func(c, m *pool.Place) bool {
		return m.Zone != "" && c.Zone == m.Zone && agrees(c.Region, m.Region) && agrees(c.Country, m.Country)
	}},
	ByRegion: {"region", func(c, m *pool.Place) bool {
		return m.Region != "" && c.Region == m.Region && agrees(c.Country, m.Country)
	}},
	ByCountry:   {"country", func(c, m *pool.Place) bool { return m.Country != "" && c.Country == m.Country }},
	ByContinent: {"continent", func(c, m *pool.Place) bool { return m.Continent != "" && c.Continent == m.Continent }},
}

// agrees reports whether two words may be of one place: they are equal, or one says nothing.
func agrees(a, b string) bool { return a == b || a == "" || b == "" }

// isUnplaced reports whether nothing is known of where a member stands: it is for everybody.
func isUnplaced(p *pool.Place) bool { return *p == pool.Place{} }

// near keeps the members nearest to the client.
func (d *decision) near(f *Filter) {
	where := d.Client.Place
	if where == nil {
		d.passUnplaced(f, "it is not known where the client is")
		return
	}
	at := describe(&where.Place) + ", says " + where.Source
	if f.By == ByDistance {
		if d.nearest(f, at) {
			return
		}
	}
	from := f.By
	if from == ByDistance {
		from = ByCountry
	}
	for by := from; by <= ByContinent; by++ {
		r := ladder[by]
		if !d.has(func(m *pool.Member) bool { return r.same(&where.Place, &m.Place) }) {
			continue
		}
		d.narrow(f.String(), fmt.Sprintf("the client is at %s; same %s", at, r.name), func(m *pool.Member) string {
			if !r.same(&where.Place, &m.Place) {
				return "at " + describe(&m.Place) + ", not of the same " + r.name
			}
			return ""
		})
		return
	}
	d.passUnplaced(f, "the client is at "+at+", and nobody is near")
}

// passUnplaced keeps the members that are for everybody, or all if there are none.
func (d *decision) passUnplaced(f *Filter, why string) {
	if !d.has(func(m *pool.Member) bool { return isUnplaced(&m.Place) }) {
		d.pass(f.String(), why+": all stay")
		return
	}
	d.narrow(f.String(), why+": those without a place are for everybody", func(m *pool.Member) string {
		if !isUnplaced(&m.Place) {
			return "at " + describe(&m.Place)
		}
		return ""
	})
}

// nearest keeps the members within f.Within of the nearest one; false if coordinates are
// missing of the client, or of all members.
func (d *decision) nearest(f *Filter, at string) bool {
	client := &d.Client.Place.Place
	best := math.Inf(1)
	for _, i := range d.kept {
		if m := &d.view.Members[i]; hasPoint(client) && hasPoint(&m.Place) {
			best = min(best, distance(client, &m.Place))
		}
	}
	if math.IsInf(best, 1) {
		return false
	}
	reach := best + float64(f.Within)
	d.narrow(f.String(), fmt.Sprintf("the client is at %s; nearest %.0f km, and within %d km of that", at, best, f.Within), func(m *pool.Member) string {
		if !hasPoint(&m.Place) {
			return "its coordinates are not known"
		}
		if km := distance(client, &m.Place); km > reach {
			return fmt.Sprintf("%.0f km away", km)
		}
		return ""
	})
	return true
}

// Speed of estimates: a round trip takes 1 ms for 100 km of fibre (light does 200 km in a
// millisecond there), and half as much again since cables are not straight.
const kilometresPerMilli = 66

// trip returns how long a round trip between the client and member i takes, by measurement
// or else by distance; 0: nobody knows.
func (d *decision) trip(i int32) (trip time.Duration, estimated bool) {
	if d.Trips != nil && !d.fallback && d.Trips[i] > 0 {
		return d.Trips[i], false
	}
	m := &d.view.Members[i]
	if d.Client.Place == nil || !hasPoint(&d.Client.Place.Place) || !hasPoint(&m.Place) {
		return 0, false
	}
	return tripOver(distance(&d.Client.Place.Place, &m.Place)), true
}

func tripOver(km float64) time.Duration {
	return time.Duration(km/kilometresPerMilli*float64(time.Millisecond)) + time.Microsecond
}

// Expected returns how long a round trip between two places is expected to take, by their
// distance; known is false without the coordinates of both.
func Expected(a, b pool.Place) (trip time.Duration, known bool) {
	if !hasPoint(&a) || !hasPoint(&b) {
		return 0, false
	}
	return tripOver(distance(&a, &b)), true
}

// latency leaves out the members whose round trip is known to be longer than the shortest
// and f.Slack. Of whom nothing is known stays: it may be nearer, and is only found out if it
// is used.
func (d *decision) latency(f *Filter) {
	best := time.Duration(math.MaxInt64)
	for _, i := range d.kept {
		if t, _ := d.trip(i); t > 0 {
			best = min(best, t)
		}
	}
	if best == math.MaxInt64 {
		d.pass(f.String(), "no round trip to the client's network was measured, nor can be estimated: all stay")
		return
	}
	at := 0
	d.narrow(f.String(), fmt.Sprintf("shortest %v, and up to %v more", round(best), f.Slack), func(*pool.Member) string {
		t, estimated := d.trip(d.kept[at])
		at++
		if t <= best+f.Slack {
			return ""
		}
		how := "measured"
		if estimated {
			how = "estimated from the distance"
		}
		return fmt.Sprintf("%v, %s", round(t), how)
	})
}

func round(t time.Duration) time.Duration { return t.Round(time.Microsecond) }

// describe returns a place in a few words.
func describe(p *pool.Place) string {
	text := ""
	for _, part := range [...]string{p.Zone, p.Region, p.Country, p.Continent} {
		if part != "" {
			if text != "" {
				text += ", "
			}
			text += part
		}
	}
	if hasPoint(p) {
		point := fmt.Sprintf("%.1f %.1f", p.Latitude, p.Longitude)
		if text == "" {
			return point
		}
		text += " (" + point + ")"
	}
	if text == "" {
		return "no known place"
	}
	return text
}
