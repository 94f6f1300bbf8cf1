package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

func newPoolScale() *cobra.Command {
	c := &cobra.Command{
		Use:   "scale POOL",
		Short: "Show how a pool scales, and why it has as many members as it has",
		Long: `Show the rules by which a pool scales, the members that were made for it with their
phase, process and log, and the last decisions: what each rule wanted of which
signal, what was decided, and why not more or fewer. Decisions that say what the one
before has said are shown once, as of the last time.

How a pool scales is configured (scale, in docs/CONFIG.md).`,
		Example: "  pharos pool scale web\n  pharos pool scale web --limit 3\n  pharos pool scale web -o json",
		Args:    argsBetween(1, 1, "one POOL"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	limit := c.Flags().Int("limit", 10, "show at most `N` decisions, 50 at most")
	c.RunE = func(c *cobra.Command, args []string) error {
		var s api.Scale
		q := url.Values{"limit": {strconv.Itoa(*limit)}}
		if err := admin.get(c.Context(), "/api/pools/"+url.PathEscape(args[0])+"/scale?"+q.Encode(), &s); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), s, func(w io.Writer) error { return writeScale(w, s) })
	}
	return c
}

func writeScale(w io.Writer, s api.Scale) error {
	fmt.Fprintf(w, "pool %s scales by %s: %s\n", s.Pool, s.Driver, s.Rules)
	if s.Trouble != "" {
		fmt.Fprintf(w, "trouble: %s\n", s.Trouble)
	}
	fmt.Fprintf(w, "started %d, ended %d, failed %d; %d wait for the first member\n\n", s.Started, s.Ended, s.Failed, s.Waiting)
	err := table(w, "MEMBER\tPHASE\tFOR\tSTATE\tREQUESTS\tPROCESS\tLOG", func(row func(...any)) {
		for _, m := range s.Members {
			process := "-"
			if m.PID != 0 {
				process = strconv.Itoa(m.PID)
			}
			row(m.Name, m.Phase, since(m.Since), cmp.Or(m.State, "-"), m.Active, process, cmp.Or(m.Log, "-"))
		}
	})
	if err != nil {
		return err
	}
	for i := range s.Decisions {
		fmt.Fprintf(w, "\ndecision %d\n", s.Decisions[i].Number)
		for _, line := range s.Decisions[i].Lines() {
			fmt.Fprintf(w, "  %s\n", line)
		}
	}
	return nil
}
