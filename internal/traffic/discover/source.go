package discover

import (
	"fmt"
	"strings"
	"time"

	"pharos/internal/cluster/state"
)

// SourcesOf returns the lists of a pool.
func SourcesOf(p *state.Pool) []Source {
	sources := make([]Source, len(p.Discover))
	for i, d := range p.Discover {
		var networks []string
		for _, prefix := range d.Networks {
			networks = append(networks, prefix.String())
		}
		sources[i] = Source{
			Pool: p.Name, Number: i, Kind: Kind(d.Type), Name: d.Name, Families: d.Family, Port: d.Port, File: d.File, URL: d.URL, CA: d.CA,
			Interval: time.Duration(d.Interval), Linger: time.Duration(d.Linger), Most: d.MaxMembers, Empty: d.AllowEmpty, Networks: strings.Join(networks, ","),
		}
	}
	return sources
}

// About names s for problems: "web/discover[0]".
func (s Source) About() string { return fmt.Sprintf("%s/discover[%d]", s.Pool, s.Number) }

// Every returns the lists of all pools, and what About says of each.
func Every(pools []state.Pool) (sources []Source, abouts []string) {
	for i := range pools {
		for _, s := range SourcesOf(&pools[i]) {
			sources, abouts = append(sources, s), append(abouts, s.About())
		}
	}
	return sources, abouts
}

// Trouble says why there is no newer list of s, or what was left out of it, with its
// pool; empty: all is well.
func (d *Driver) Trouble(s Source) string {
	if problem := d.State(s).Problem; problem != "" {
		return fmt.Sprintf("pool %s: %s", s.Pool, problem)
	}
	return ""
}
