package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

func newUpstreams() *cobra.Command {
	c := &cobra.Command{
		Use:   "upstreams",
		Short: "Show which servers of routes were found to be asked encrypted",
		Long: `Show the plain servers of routes with discover, and how they are asked now: at the
encrypted resolver that they designate (RFC 9462), or in the clear, or, if the route
is strict, not at all. KNOWN BY is how the resolver there is known: by a certificate
for the server's address, or by the key that it had when it was found, which is for
private addresses only.`,
		Example: `  pharos resolver upstreams
  pharos resolver upstreams -o json`,
		Args: noArgs,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var all []api.Upstream
		if err := admin.get(c.Context(), "/api/resolver/upstreams", &all); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), all, func(w io.Writer) error { return writeUpstreams(w, all) })
	}
	return c
}

func writeUpstreams(w io.Writer, all []api.Upstream) error {
	if len(all) == 0 {
		fmt.Fprintln(w, "no route discovers anything (resolver.routes[].discover)")
		return nil
	}
	return table(w, "SERVER\tASKED\tAT\tKNOWN BY\tCHECKED\tNEXT\tPROBLEM", func(row func(...any)) {
		for _, u := range all {
			asked, by := u.Transport, "its key"
			switch {
			case asked != "" && u.Verified:
				by = "certificate"
			case asked == "" && u.Strict:
				asked, by = "not at all", ""
			case asked == "":
				asked, by = "in the clear", ""
			}
			row(u.Server, asked, orDash(u.At), orDash(by), timeOrDash(u.Checked), timeOrDash(u.Next), orDash(u.Problem))
		}
	})
}
