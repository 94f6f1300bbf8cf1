package document

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time, written with its unit: "500ms", "1s", "2m30s".
type Duration time.Duration

// Std returns d as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// String returns d as it is written in a document: "1m30s", "5s", "1h".
func (d Duration) String() string {
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// MarshalText returns d as String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads d as a document writes it; whole days may be written "30d". A
// bare number is refused, because its unit would be a guess; "0" needs none.
func (d *Duration) UnmarshalText(text []byte) error {
	number := string(text)
	if days, ok := strings.CutSuffix(number, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			number = strconv.FormatUint(n*24, 10) + "h"
		}
	}
	parsed, err := time.ParseDuration(number)
	switch {
	case err != nil:
		if _, numeric := strconv.ParseFloat(string(text), 64); numeric == nil {
			return errors.New("has no unit")
		}
		return errors.New("is not a duration")
	case parsed < 0:
		return errors.New("is negative")
	}
	*d = Duration(parsed)
	return nil
}

// Size is a number of octets, written with a binary unit: "64KiB", "256MiB".
type Size int64

// sizeUnits are the units of Size, largest first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// String returns s in the largest unit that divides it.
func (s Size) String() string {
	for _, u := range sizeUnits {
		if s != 0 && int64(s)%u.bytes == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.bytes, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText returns s as String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads s as a document writes it; without a unit it counts octets.
func (s *Size) UnmarshalText(text []byte) error {
	number, unit := string(text), int64(1)
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.name); ok {
			number, unit = strings.TrimSuffix(rest, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case err != nil:
		return errors.New("is not a size")
	case n < 0:
		return errors.New("is negative")
	case n > math.MaxInt64/unit:
		return errors.New("is too large")
	}
	*s = Size(n * unit)
	return nil
}

// Rate is a number of bits per second, written with a decimal unit: "500kbps",
// "100Mbps", "2Gbps".
type Rate int64

// rateUnits are the units of Rate, largest first.
var rateUnits = []struct {
	name string
	bits int64
}{{"Tbps", 1e12}, {"Gbps", 1e9}, {"Mbps", 1e6}, {"kbps", 1e3}, {"bps", 1}}

// String returns r in the largest unit that divides it.
func (r Rate) String() string {
	for _, u := range rateUnits {
		if r != 0 && int64(r)%u.bits == 0 {
			return fmt.Sprintf("%d%s", int64(r)/u.bits, u.name)
		}
	}
	return "0"
}

// MarshalText returns r as String does.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads r as a document writes it. A bare number is refused, because
// bits and octets are easily taken for each other; "0" needs no unit.
func (r *Rate) UnmarshalText(text []byte) error {
	if string(text) == "0" {
		*r = 0
		return nil
	}
	for _, u := range rateUnits {
		number, ok := strings.CutSuffix(string(text), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(number, " "), 10, 64)
		switch {
		case err != nil:
			return errors.New("is not a rate")
		case n < 0:
			return errors.New("is negative")
		case n > math.MaxInt64/u.bits:
			return errors.New("is too large")
		}
		*r = Rate(n * u.bits)
		return nil
	}
	if _, err := strconv.ParseFloat(string(text), 64); err == nil {
		return errors.New("has no unit")
	}
	return errors.New("is not a rate")
}
