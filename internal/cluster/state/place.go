package state

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Place is where a member or this node stands. What is left out is not known.
type Place struct {
	// Continent is the code of the continent.
	Continent string `json:"continent,omitzero" enum:"AF,AN,AS,EU,NA,OC,SA" default:"" example:"EU"`
	// Country is the code of the country (ISO 3166-1, two letters).
	Country string `json:"country,omitzero" format:"country" default:"" example:"DE"`
	// Region is the part of the country: the code of ISO 3166-2 behind that of the
	// country, or a name of a provider.
	Region string `json:"region,omitzero" format:"identifier" default:"" example:"BE"`
	// Zone is the part of the region that fails as one: a data centre, or an
	// availability zone.
	Zone string `json:"zone,omitzero" format:"identifier" default:"" example:"ber-1"`
	// Location is the latitude and longitude, in degrees, north and east positive.
	Location Coordinates `json:"location,omitzero" example:"52.52,13.40"`
}

// Coordinates are a point on the Earth, written "52.52,13.40". The zero
// Coordinates are none: nobody runs a server in that part of the Gulf of Guinea.
type Coordinates struct{ Latitude, Longitude float64 }

// IsZero reports whether c is none.
func (c Coordinates) IsZero() bool { return c == Coordinates{} }

// String returns c as it is written; none is empty.
func (c Coordinates) String() string {
	if c.IsZero() {
		return ""
	}
	return fmt.Sprintf("%s,%s", degrees(c.Latitude), degrees(c.Longitude))
}

func degrees(d float64) string { return strconv.FormatFloat(d, 'f', -1, 64) }

// MarshalText returns c as it is written.
func (c Coordinates) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads c as it is written.
func (c *Coordinates) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*c = Coordinates{}
		return nil
	}
	latitude, longitude, two := strings.Cut(string(text), ",")
	lat, errLat := strconv.ParseFloat(strings.TrimSpace(latitude), 64)
	long, errLong := strconv.ParseFloat(strings.TrimSpace(longitude), 64)
	switch {
	case !two || errLat != nil || errLong != nil:
		return errors.New("is not a latitude and a longitude with a comma between")
	case !(-90 <= lat && lat <= 90):
		return errors.New("has a latitude outside -90 to 90")
	case !(-180 <= long && long <= 180):
		return errors.New("has a longitude outside -180 to 180")
	}
	*c = Coordinates{lat, long}
	return nil
}
