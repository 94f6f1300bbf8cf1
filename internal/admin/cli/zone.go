package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/masterfile"
	"pharos/internal/dns/dnsname"
)

// newZone returns the commands about zones. Each constructor is in the file of
// its subject: zone.go the zones of a node and their other servers.
func newZone(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "zone",
		Short: "See, compare and change zones",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}

	// A running node's zones, and their other servers.
	c.AddCommand(newZoneList("list"))
	c.AddCommand(newZoneNotify())
	c.AddCommand(newZoneRefresh())
	c.AddCommand(newZoneCheck(p))
	c.AddCommand(newZoneAccept())

	// The versions and records of a zone.
	c.AddCommand(newZoneHistory())
	c.AddCommand(newZoneRollback())
	c.AddCommand(newZoneGet())
	c.AddCommand(newZoneSet())
	c.AddCommand(newZoneImport())
	c.AddCommand(newZoneExport())
	// The keys of zones that a node signs.
	c.AddCommand(newZoneKeys(p))
	c.AddCommand(newZoneRollover())
	c.AddCommand(newZoneDS())
	c.AddCommand(newZoneChildren())

	// Master files, without a node.
	c.AddCommand(newZoneDiff())
	c.AddCommand(newZoneFormat())
	c.AddCommand(newZoneSign())
	c.AddCommand(newZoneVerify())

	return c
}

func zonePath(name, call string) string { return "/api/zones/" + url.PathEscape(name) + "/" + call }

func newZoneNotify() *cobra.Command {
	c := &cobra.Command{
		Use:   "notify NAME",
		Short: "Tell the secondaries of a zone which serial it has",
		Long: `Send NOTIFY to every server under the zone's key notify, as is done by itself when
the zone changes. A server that does not answer is told again, for about a minute.`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return admin.change(c, *output, request{http.MethodPost, zonePath(args[0], "notify"), nil})
	}
	return c
}

func newZoneRefresh() *cobra.Command {
	c := &cobra.Command{
		Use:   "refresh NAME",
		Short: "Ask the primaries of a secondary zone for a newer version now",
		Long: `Ask the primaries of a secondary zone whether they have a newer version, and
transfer it. With --force the whole zone is transferred whatever its serial: for
when the two sides have come to differ, or the primary's serial went backwards.`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	force := c.Flags().Bool("force", false, "transfer the whole zone, whatever its serial")
	c.RunE = func(c *cobra.Command, args []string) error {
		path := zonePath(args[0], "refresh")
		if *force {
			path += "?force=true"
		}
		return admin.change(c, *output, request{http.MethodPost, path, nil})
	}
	return c
}

func newZoneAccept() *cobra.Command {
	c := &cobra.Command{
		Use:   "accept NAME SERIAL",
		Short: "Serve a version that the publication gate refused",
		Long: `Serve the version of a zone that was refused because too much of it changed at
once, or for another rule under the zone's key gate. It holds for this version
only; "pharos status" shows what was refused, and why.`,
		Args: argsBetween(2, 2, "a zone NAME and a SERIAL"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var applied api.Applied
		path := zonePath(args[0], "accept") + "?serial=" + url.QueryEscape(args[1])
		if err := admin.call(c.Context(), http.MethodPost, path, nil, &applied); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), applied, writeApplied(applied))
	}
	return c
}

func newZoneCheck(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "check NAME|FILE",
		Short: "Look for mistakes in a master file, or compare the servers of a zone",
		Long: `For a master FILE: read it as a node would, and show everything that is wrong with
the zone, without a node. The exit code is 1 if it would not be served; with
--strict, also if there are warnings. It is held to the limits and rules (zones[].gate)
of a zone that says nothing of them, or with --config to those that the zone has there;
but not to those that need a version before.

For the NAME of a zone of the running node: ask its primaries, and the servers it
notifies, for their SOA records now, and show which serial each of them has.`,
		Example: `  pharos zone check zones/example.com.zone
  pharos zone check db.root --origin . --strict
  pharos zone check new/example.com.zone -c pharos.yaml
  pharos zone check example.com`,
		Args: argsBetween(1, 1, "a zone NAME or a FILE"),
	}
	admin, output, origin := adminFlag(c), outputFlag(c), originFlag(c)
	strict := c.Flags().Bool("strict", false, "warnings of a file are failures")
	config := c.Flags().StringP("config", "c", "", "configuration `file` by whose rules for the zone a file is checked")
	c.RunE = func(c *cobra.Command, args []string) error {
		if isFile(args[0]) {
			rules := func(zone dnsname.Name) (gate.Rules, masterfile.Limits, error) { return p.Rules(*config, zone) }
			return runCheckFile(c, args[0], *origin, rules, *strict, *output)
		}
		if *origin != "" || *strict || *config != "" {
			return fmt.Errorf("%w: there is no file %s", errUsage, args[0])
		}
		return runCheckServers(c, admin, args[0], *output)
	}
	return c
}

// runCheckServers is "pharos zone check NAME".
func runCheckServers(c *cobra.Command, admin *client, name string, output output) error {
	var check api.ZoneCheck
	if err := admin.get(c.Context(), zonePath(name, "check"), &check); err != nil {
		return err
	}
	return output.print(c.OutOrStdout(), check, func(w io.Writer) error {
		return table(w, "SERVER\tROLE\tSERIAL\tPROBLEM", func(row func(...any)) {
			row("this node", "-", check.Serial, "")
			for _, s := range check.Servers {
				if s.Problem == "" && s.Serial != check.Serial {
					s.Problem = "has another version"
				}
				row(s.Address, s.Role, s.Serial, s.Problem)
			}
		})
	})
}

// lastTransfer tells where a secondary zone came from, when, and when its
// primaries are asked next.
func lastTransfer(s *api.Secondary) (from, last, next string) {
	from, last, next = "its copy on disk", "-", "-"
	if !s.Present {
		from = "nowhere yet"
	}
	if s.From != "" {
		from, last = s.From, fmt.Sprintf("%s, %s ago", s.Form, since(s.Received))
	}
	switch {
	case s.Checking:
		next = "now"
	case !s.NextCheck.IsZero():
		next = "in " + time.Until(s.NextCheck).Round(time.Second).String()
	}
	return from, last, next
}
