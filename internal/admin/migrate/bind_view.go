package migrate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// View is a set of zones for some clients.
type View struct {
	Name      string
	Clients   []netip.Prefix
	Keys      []string
	Recursion string // "off"; "": as the resolver has it
	Zones     []Zone
}

// clientsOf returns whom a view is for. everybody reports that it is for all that no
// view before it has; limited, why it cannot be told: views are chosen by networks and
// keys, and who falls out of one falls into the next, so nothing is left out here.
func (b *bind) clientsOf(name string, list []statement, at *statement) (v View, everybody bool, limited string) {
	v.Name = name
	what := "view " + name + ": match-clients"
	var except []element
	for _, e := range b.elements(list, at, 0) {
		switch {
		case e.unknown != "":
			return v, false, fmt.Sprintf("view %s is for clients that cannot be told (%s: %s)", name, e.text, e.unknown)
		case e.text == "none":
		case e.negated && e.key != "":
			b.note(e.place, what+": "+e.text, "here a key decides before networks do: see that %s stands under the keys of the view that it is for", e.key)
		case e.negated:
			except = append(except, e)
		case e.key != "" && len(except) > 0:
			return v, false, fmt.Sprintf("view %s is for clients with a key, but for some networks; here a key decides before networks do", name)
		case e.key != "" && !b.result.Plan.hasKey(e.key):
			b.note(e.place, what+": "+e.text, "the key was not carried over")
		case e.key != "":
			v.Keys = append(v.Keys, e.key)
		case !e.net.IsValid() && len(except) == 0: // any
			everybody = true
		default:
			nets, ok := pieces(except, e)
			if !ok {
				return v, false, fmt.Sprintf("view %s is for clients with exceptions that a list of networks cannot say", name)
			}
			v.Clients = append(v.Clients, nets...)
		}
	}
	v.Clients, v.Keys = unique(v.Clients), unique(v.Keys)
	if everybody && len(v.Keys) > 0 { // zones outside of views have no keys that choose them
		v.Clients, everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, false
	}
	if !everybody && len(v.Clients)+len(v.Keys) == 0 {
		return v, false, fmt.Sprintf("view %s is for nobody who was carried over", name)
	}
	return v, everybody, ""
}

// beginView has the zones that follow be those of a view.
func (r *reader) beginView(v View) {
	r.result.Plan.Views = append(r.result.Plan.Views, v)
	r.view, r.outside, r.zones = &r.result.Plan.Views[len(r.result.Plan.Views)-1], r.zones, nil
}

// endView has the zones that follow be outside of views again. A view without zones stays
// only if it says something: its clients see nothing else.
func (r *reader) endView() {
	r.view, r.zones, r.outside = nil, r.outside, nil
}

func (v *View) write(b *strings.Builder) {
	fmt.Fprintf(b, "  - name: %s\n", quote(v.Name))
	if len(v.Clients) > 0 {
		fmt.Fprintf(b, "    clients: %s\n", flow(v.Clients))
	}
	if len(v.Keys) > 0 {
		var keys []string
		for _, k := range v.Keys {
			keys = append(keys, quote(k))
		}
		fmt.Fprintf(b, "    keys: [%s]\n", strings.Join(keys, ", "))
	}
	b.WriteString("    isolated: true\n") // named looks into no other view
	if v.Recursion != "" {
		fmt.Fprintf(b, "    recursion: %s\n", quote(v.Recursion))
	}
	if len(v.Zones) > 0 {
		b.WriteString("    zones:\n")
	}
	var zones strings.Builder
	for _, z := range v.Zones {
		z.write(&zones)
	}
	for line := range strings.Lines(zones.String()) {
		b.WriteString("    " + line)
	}
}

// viewName returns a name that we allow for a view: letters, digits, - and _.
func viewName(name string) string {
	clean := strings.Map(func(c rune) rune {
		if c == '-' || c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' {
			return c
		}
		return '_'
	}, name)
	return clean[:min(len(clean), 63)]
}

// hasView reports whether there is a view of that name.
func (p *Plan) hasView(name string) bool {
	return slices.ContainsFunc(p.Views, func(v View) bool { return v.Name == name })
}
