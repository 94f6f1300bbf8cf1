package migrate

import (
	"fmt"
	"slices"
	"strings"
)

// This file is what a Plan has of catalog zones (RFC 9432).

// Template says how members of a catalog are served.
type Template struct {
	Group     string // "": all that no other is for
	Primaries []Peer // none: those of the catalog
	Transfer  []Rule
	Query     []Rule
	Notify    []Peer
}

// maxGroup is how long the name of a group may be: a character string.
const maxGroup = 255

// finishCatalogs leaves out what our configuration would refuse: members of catalogs that
// are not there, groups that are said twice. path is that of the zones.
func (r *reader) finishCatalogs(at place, zones []Zone) {
	made := map[string]bool{}
	for _, z := range zones {
		made[z.Name] = made[z.Name] || z.Kind == "catalog"
	}
	for i := range zones {
		z := &zones[i]
		if z.Member != "" && !made[z.Member] {
			r.note(at, "zone "+z.Name+": member of catalog "+z.Member, "this catalog was not carried over")
			z.Member, z.Group = "", ""
		}
		if len(z.Group) > maxGroup {
			r.note(at, "zone "+z.Name+": group "+z.Group, "its name is longer than %d octets", maxGroup)
			z.Group = ""
		}
		var groups []string
		z.Templates = slices.DeleteFunc(z.Templates, func(t Template) bool {
			twice := slices.Contains(groups, t.Group)
			groups = append(groups, t.Group)
			return twice
		})
		z.Templates = atMost(r, at, "templates of catalog "+z.Name, z.Templates, maxRules)
	}
}

func (z *Zone) writeCatalog(b *strings.Builder) {
	if z.Member != "" {
		fmt.Fprintf(b, "    catalogMember: %s\n", quote(z.Member))
	}
	if z.Group != "" {
		fmt.Fprintf(b, "    catalogGroup: %s\n", quote(z.Group))
	}
	if len(z.Templates) == 0 {
		return
	}
	b.WriteString("    catalog:\n      templates:\n")
	for _, t := range z.Templates {
		var parts []string
		if t.Group != "" {
			parts = append(parts, "group: "+quote(t.Group))
		}
		parts = append(parts, flowPeers("primaries", t.Primaries)...)
		parts = append(parts, flowRules("transfer", t.Transfer)...)
		parts = append(parts, flowRules("query", t.Query)...)
		parts = append(parts, flowPeers("notify", t.Notify)...)
		fmt.Fprintf(b, "        - {%s}\n", strings.Join(parts, ", "))
	}
}

func flowPeers(key string, peers []Peer) []string {
	var all []string
	for _, p := range peers {
		all = append(all, "{"+strings.Join(p.parts(), ", ")+"}")
	}
	return flowList(key, all)
}

func flowRules(key string, rules []Rule) []string {
	var all []string
	for _, r := range rules {
		all = append(all, "{"+strings.Join(r.parts(), ", ")+"}")
	}
	return flowList(key, all)
}

func flowList(key string, all []string) []string {
	if len(all) == 0 {
		return nil
	}
	return []string{key + ": [" + strings.Join(all, ", ") + "]"}
}
