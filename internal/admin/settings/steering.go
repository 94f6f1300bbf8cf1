package settings

import (
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
	"pharos/internal/traffic/steer"
)

// MayMark reports whether a name can be steered so in a zone: there is no CNAME at an apex
// (RFC 1034 §3.6.2).
func MayMark(apex dnsname.Name, s state.Steer) bool {
	return s.Kind() != steer.CNAME || s.Name != apex
}

// Marks returns, for each zone, the steered names that it has to leave to their pools:
// those for which it is the closest zone.
func Marks(zones []config.Zone, names []state.Steer) map[dnsname.Name][]steered.Mark {
	if len(names) == 0 {
		return nil
	}
	apexes := make(map[dnsname.Name]bool, len(zones))
	for _, z := range zones {
		apexes[z.Name] = true
	}
	mine := map[dnsname.Name][]steered.Mark{}
	for _, st := range names {
		for n := st.Name; !n.IsZero(); n = n.Parent() {
			if !apexes[n] {
				continue
			}
			if how, _ := zone.ParseSteering(st.Answer); MayMark(n, st) {
				mine[n] = append(mine[n], steered.Mark{Name: st.Name, How: how})
			}
			break
		}
	}
	for _, marks := range mine {
		slices.SortFunc(marks, func(a, b steered.Mark) int { return a.Name.Compare(b.Name) })
	}
	return mine
}

// Exporting returns, for each pool, the zones that have present answers from it.
func Exporting(zones []config.Zone, marks map[dnsname.Name][]steered.Mark, names []state.Steer) map[string][]dnsname.Name {
	pools := make(map[dnsname.Name][]string, len(names))
	for _, s := range names {
		pools[s.Name] = []string{s.Pool, s.Fallback.Pool}
	}
	by := map[string][]dnsname.Name{}
	for i := range zones {
		if !IsExported(&zones[i]) {
			continue
		}
		for _, m := range marks[zones[i].Name] {
			for _, p := range pools[m.Name] {
				if list := by[p]; p != "" && (len(list) == 0 || list[len(list)-1] != zones[i].Name) {
					by[p] = append(list, zones[i].Name)
				}
			}
		}
	}
	return by
}
