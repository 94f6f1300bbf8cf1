package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// This file is the commands about the versions of a zone of a running node.

// who is the name that a change is put down to.
func who() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// changeQuery says how a change is to be made.
func changeQuery(dryRun bool) url.Values {
	q := url.Values{"by": {who()}}
	if dryRun {
		q.Set("dry_run", "true")
	}
	return q
}

func newZoneHistory() *cobra.Command {
	c := &cobra.Command{
		Use:   "history NAME",
		Short: "Show which versions of a zone there are, and who made them",
		Long: `Show the versions of a zone that can be looked at and gone back to, newest first:
when each was made, by whom, and how many records it deleted and added. How many are
kept is said by the zone's key history.

For zones of kind file and secondary these are the versions that IXFR is answered
from; who has made them is not known.`,
		Example: `  pharos zone history example.com
  pharos zone diff example.com 2026112201`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	limit := c.Flags().Int("limit", 50, "show at most so `many`; 0: all")
	c.RunE = func(c *cobra.Command, args []string) error {
		var history api.ZoneHistory
		if err := admin.get(c.Context(), zonePath(args[0], "history")+"?limit="+strconv.Itoa(max(0, *limit)), &history); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), history, func(w io.Writer) error {
			return table(w, "SERIAL\tTIME\tDELETED\tADDED\tBY", func(row func(...any)) {
				for _, p := range history.Versions {
					at, by := "-", "-"
					if !p.Time.IsZero() {
						at = p.Time.Local().Format(time.DateTime)
					}
					if p.By != "" {
						by = p.By
					}
					row(p.Serial, at, fmt.Sprintf("-%d", p.Deleted), fmt.Sprintf("+%d", p.Added), by)
				}
			})
		})
	}
	return c
}

// runZoneDiff is "pharos zone diff NAME [SERIAL [SERIAL]]".
func runZoneDiff(c *cobra.Command, admin *client, output *output, args []string) (count int, err error) {
	q := url.Values{}
	if len(args) > 1 {
		q.Set("from", args[1])
	}
	if len(args) > 2 {
		q.Set("to", args[2])
	}
	var diff api.ZoneDiff
	if err := admin.get(c.Context(), zonePath(args[0], "diff")+"?"+q.Encode(), &diff); err != nil {
		return 0, err
	}
	return diff.Deleted + diff.Added, output.print(c.OutOrStdout(), diff, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, "; zone %s, serial %d to %d: %d records deleted, %d added\n", diff.Name, diff.From, diff.To, diff.Deleted, diff.Added); err != nil {
			return err
		}
		return writeDiff(w, diff)
	})
}

// writeDiff writes the changes, - deleted and + added.
func writeDiff(w io.Writer, diff api.ZoneDiff) error {
	var changes []recordChange
	for _, change := range diff.Changes {
		changes = append(changes, recordChange(change))
	}
	if err := writeChanges(w, changes); err != nil {
		return err
	}
	if more := diff.Deleted + diff.Added - len(diff.Changes); more > 0 {
		_, err := fmt.Fprintf(w, "; and %d more\n", more)
		return err
	}
	return nil
}

// writeChange tells what became of a change.
func writeChange(change api.ZoneChange) func(io.Writer) error {
	return func(w io.Writer) error {
		text := ""
		switch {
		case !change.Changed:
			text = fmt.Sprintf("zone %s: nothing to change\n", change.Name)
		case change.From == 0 && change.DryRun:
			text = fmt.Sprintf("zone %s: the first version would have serial %d, and %d records beside SOA\n", change.Name, change.To, change.Added)
		case change.From == 0:
			text = fmt.Sprintf("zone %s: first version, serial %d, %d records beside SOA\n", change.Name, change.To, change.Added)
		case change.DryRun:
			text = fmt.Sprintf("zone %s: serial %d would become %d: %d records deleted, %d added\n", change.Name, change.From, change.To, change.Deleted, change.Added)
		default:
			text = fmt.Sprintf("zone %s: serial %d, was %d: %d records deleted, %d added\n", change.Name, change.To, change.From, change.Deleted, change.Added)
		}
		if _, err := io.WriteString(w, text); err != nil || change.From == 0 {
			return err
		}
		return writeDiff(w, change.ZoneDiff)
	}
}

func newZoneRollback() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollback NAME SERIAL",
		Short: "Make the records of an old version of a zone the newest",
		Long: `Make a new version of a zone of kind store that has the records of an old one, and
a serial above all that were given out, so that secondaries follow. Nothing is lost:
the versions between stay in the history, and can be gone back to in the same way.`,
		Example: `  pharos zone history example.com
  pharos zone rollback example.com 2026112201 --dry-run   # what would change?
  pharos zone rollback example.com 2026112201`,
		Args: argsBetween(2, 2, "a zone NAME and a SERIAL"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	dryRun := c.Flags().Bool("dry-run", false, "show what would change, and change nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		q := changeQuery(*dryRun)
		q.Set("serial", args[1])
		var change api.ZoneChange
		if err := admin.call(c.Context(), http.MethodPost, zonePath(args[0], "rollback")+"?"+q.Encode(), nil, &change); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), change, writeChange(change))
	}
	return c
}
