package config

import (
	"cmp"
	"fmt"
	"strings"
)

// checkSameRoutes finds routes that have names of their own, and are for the same requests as
// another: one of the two would never be taken.
func (c *Config) checkSameRoutes(to *checker) {
	type place struct {
		host, path string
		rank       int
	}
	first := make(map[place]int, len(c.Routes))
	var again map[string]int // by place and conditions, of places that are there twice
	for i := range c.Routes {
		r := &c.Routes[i]
		at := place{strings.TrimSuffix(strings.ToLower(r.Host), "."), cmp.Or(r.Path, "/"), r.Rank}
		j, twice := first[at]
		if !twice {
			first[at] = i
			continue
		}
		if again == nil {
			again = map[string]int{}
		}
		whole := func(i int) string { return fmt.Sprintf("%v %+v", at, c.Routes[i].When) }
		if _, known := again[whole(j)]; !known {
			again[whole(j)] = j
		}
		if same, is := again[whole(i)]; is && c.Routes[same].Key() != r.Key() { // of the same key it was said already
			to.fail(fmt.Sprintf("routes[%d]", i), fmt.Sprintf("the same host and path, under the same conditions, are already those of %s, routes[%d]", c.Routes[same].Key(), same),
				"remove one of the two routes, or have their conditions (when) differ")
			continue
		}
		again[whole(i)] = i
	}
}
