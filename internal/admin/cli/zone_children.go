package cli

import (
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// newZoneChildren shows the children of a zone whose DS records follow them.
func newZoneChildren() *cobra.Command {
	c := &cobra.Command{
		Use:   "children NAME [CHILD]",
		Short: "Show how the DS records of a zone follow its children, or ask these now",
		Long: `Show the children of a zone with the key children, as they were when they were last
asked for CDS and CDNSKEY records (RFC 7344), and which DS records the zone has of them.

What a child asks for is done if all its name servers say the same, if it is signed by a
key that the present DS records name, if that has not been said before something newer, and
if it leaves a chain of trust; else the state is "refused", the reason stands beside it, and
nothing changes. "not seen" means that a name server has not answered, "left to people" that
zones[].children does not allow it. What was changed is in "pharos zone history", made by
"CDS of CHILD", and can be taken back by "pharos zone rollback".`,
		Example: `  pharos zone children example
  pharos zone children example shop.example --ask
  pharos zone children example -o json`,
		Args: argsBetween(1, 2, "one zone NAME, and perhaps a CHILD"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	ask := c.Flags().Bool("ask", false, "ask the children now, or the one that is named, and do what they want")
	c.RunE = func(c *cobra.Command, args []string) error {
		method, path := http.MethodGet, zonePath(args[0], "children")
		if *ask {
			if method = http.MethodPost; len(args) > 1 {
				path += "?child=" + url.QueryEscape(args[1])
			}
		}
		var z api.ZoneChildren
		if err := admin.call(c.Context(), method, path, nil, &z); err != nil {
			return err
		}
		if len(args) > 1 {
			z.Children = only(z.Children, args[1])
		}
		return output.print(c.OutOrStdout(), z, func(w io.Writer) error { return writeChildren(w, z) })
	}
	return c
}

// only returns the child that is named, with or without the final dot.
func only(all []api.ZoneChild, name string) []api.ZoneChild {
	one := []api.ZoneChild{}
	for _, c := range all {
		if c.Name == name || c.Name == name+"." {
			one = append(one, c)
		}
	}
	return one
}

func writeChildren(w io.Writer, z api.ZoneChildren) error {
	return table(w, "CHILD\tSTATE\tDS\tASKED\tCHANGED\tWHY", func(row func(...any)) {
		for _, c := range z.Children {
			changed := "-"
			if !c.Changed.IsZero() {
				changed = clockTime(c.Changed)
			}
			row(c.Name, c.State, len(c.DS), clockTime(c.Asked), changed, orDash(c.Why))
		}
	})
}
