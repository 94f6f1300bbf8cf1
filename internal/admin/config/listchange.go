package config

import (
	"reflect"

	"pharos/internal/dns/dnsname"
)

// This file finds what is different between two lists of zones: a line more in a list of
// a million is one zone to be made.

// ListChange is what is different between two lists of zones.
type ListChange struct {
	Gone  []dnsname.Name // zones that only the first has
	Other []int          // indexes in the second of zones that the first has not, or otherwise

	from, to []Zone
}

// IsBetween reports whether c is of these two lists, and not only of such as say the same.
func (c *ListChange) IsBetween(from, to []Zone) bool {
	return c != nil && IsOneList(c.from, from) && IsOneList(c.to, to)
}

// IsOfOneText reports whether two configurations are of one text, so that they are
// different in nothing but the zones that lists and catalogs name.
func (c *Config) IsOfOneText(o *Config) bool { return c.Sum == o.Sum && c.Sum != [32]byte{} }

// CompareLists returns what is different between two lists, in each of which no zone
// stands twice. It takes some 0.1 s for a million zones, or half a second if they are in
// another order.
func CompareLists(from, to []Zone) *ListChange {
	c := &ListChange{from: from, to: to}
	if IsOneList(from, to) {
		return c
	}
	same := alike{}
	begin, end := 0, 0 // how many are the same at both ends
	for begin < min(len(from), len(to)) && same.zones(&from[begin], &to[begin]) {
		begin++
	}
	for end < min(len(from), len(to))-begin && same.zones(&from[len(from)-1-end], &to[len(to)-1-end]) {
		end++
	}
	before := make(map[dnsname.Name]*Zone, len(from)-end-begin)
	for i := begin; i < len(from)-end; i++ {
		before[from[i].Name] = &from[i]
	}
	for i := begin; i < len(to)-end; i++ {
		z := before[to[i].Name]
		if delete(before, to[i].Name); z == nil || !same.zones(z, &to[i]) {
			c.Other = append(c.Other, i)
		}
	}
	for i := begin; i < len(from)-end; i++ {
		if before[from[i].Name] != nil {
			c.Gone = append(c.Gone, from[i].Name)
		}
	}
	return c
}

// alike is which rules say the same. All zones of an entry have the same ones, so there
// are few pairs.
type alike map[[2]*ZoneRules]bool

func (a alike) zones(x, y *Zone) bool {
	return x.Name == y.Name && x.Kind == y.Kind && x.File == y.File && x.Names == y.Names && x.ListedBy == y.ListedBy && a.rules(x.ZoneRules, y.ZoneRules)
}

func (a alike) rules(x, y *ZoneRules) bool {
	if x == y {
		return true
	}
	same, known := a[[2]*ZoneRules{x, y}]
	if !known {
		same = reflect.DeepEqual(x, y)
		a[[2]*ZoneRules{x, y}] = same
	}
	return same
}
