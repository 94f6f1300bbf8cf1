package pool

import "fmt"

// Extent is how near two places are: the smallest part of the world that they have
// in common.
type Extent uint8

// The extents, from far to near.
const (
	Anywhere Extent = iota
	SameContinent
	SameCountry
	SameRegion
	SameZone
)

var extentNames = [...]string{"anywhere", "continent", "country", "region", "zone"}

// String returns the word of the configuration file.
func (e Extent) String() string {
	if int(e) < len(extentNames) {
		return extentNames[e]
	}
	return fmt.Sprintf("extent(%d)", uint8(e))
}

// MarshalText returns what String returns.
func (e Extent) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads what MarshalText wrote; the empty text is Anywhere.
func (e *Extent) UnmarshalText(text []byte) error {
	for i, name := range extentNames {
		if string(text) == name || i == 0 && len(text) == 0 {
			*e = Extent(i)
			return nil
		}
	}
	return fmt.Errorf("extent %q: want anywhere, continent, country, region or zone", text)
}

// Shared returns what p and o have in common. A part without a name is not known to
// be the same; what is left out above a name is taken from it: zones called alike in
// places that say nothing of their regions are one.
func (p Place) Shared(o Place) Extent {
	same := func(a, b string) bool { return a != "" && a == b }
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	switch {
	case differ(p.Continent, o.Continent):
		return Anywhere
	case differ(p.Country, o.Country):
		return common(SameContinent, same(p.Continent, o.Continent))
	case differ(p.Region, o.Region):
		return common(SameCountry, same(p.Country, o.Country))
	case same(p.Zone, o.Zone):
		return SameZone
	case same(p.Region, o.Region):
		return SameRegion
	case same(p.Country, o.Country):
		return SameCountry
	}
	return common(SameContinent, same(p.Continent, o.Continent))
}

func common(e Extent, is bool) Extent {
	if is {
		return e
	}
	return Anywhere
}

// extentOf returns how near a member in place is, as far as s cares.
func (s *Spec) extentOf(place Place) Extent {
	if s.Local == Anywhere {
		return Anywhere
	}
	return min(s.Here.Shared(place), s.Local)
}
