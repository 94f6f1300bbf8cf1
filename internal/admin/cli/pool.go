package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/cluster/document"
)

func newPool() *cobra.Command {
	c := &cobra.Command{
		Use: "pool", Short: "Look at pools, and take members out of use and back",
		Example: "  pharos pool list\n  pharos pool show web\n  pharos pool drain web a --wait\n  pharos pool resume web a",
		Args:    knownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newPoolList("list"), newPoolShow(), newPoolScale(), newPoolDrain(), newPoolDisable(), newPoolResume(), newPoolWeight())
	return c
}

// newPoolList returns the list of pools: "pharos pool list", and "pharos pools" for
// short.
func newPoolList(use string) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: "Show the pools of a running node, and who serves", Args: noArgs,
		Example: "  pharos pools\n  pharos pools -o json",
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var pools []api.Pool
		if err := admin.get(c.Context(), "/api/pools", &pools); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), pools, func(w io.Writer) error {
			return table(w, "POOL\tMEMBER\tADDRESS\tWEIGHT\tFROM\tSTATE\tFOR\tCAUSE", func(row func(...any)) {
				for _, p := range pools {
					for _, m := range p.Members {
						row(p.Name, m.Name, m.Address, m.Weight, cmp.Or(m.From, "configured"), stateText(p, m), since(m.Since), causeText(m))
					}
				}
			})
		})
	}
	return c
}

func stateText(p api.Pool, m api.Member) string {
	if p.AllDown && m.Eligible {
		return m.State + " (serving: all down)"
	}
	if o := m.Override; o != nil && o.Stage == "free" {
		return m.State + " (free)"
	}
	if m.State == "poor" {
		return fmt.Sprintf("poor (%.0f %%)", float64(m.Share)/10)
	}
	if m.Held != "" && m.State == "down" {
		return "down (" + m.Held + ")"
	}
	return m.State
}

func causeText(m api.Member) string {
	if m.Warning != "" {
		return m.Cause + "; warning: " + m.Warning
	}
	return m.Cause
}

func newPoolShow() *cobra.Command {
	c := &cobra.Command{
		Use:   "show POOL",
		Short: "Show a pool, and what is known of each member",
		Long: `Show the policy and the check of a pool and, for each member, its state and the
reason for it, the last probe, what its agent says, when its certificate ends, and
what somebody should look at.`,
		Example: "  pharos pool show web\n  pharos pool show web -o json",
		Args:    argsBetween(1, 1, "one POOL"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var p api.Pool
		if err := admin.get(c.Context(), "/api/pools/"+url.PathEscape(args[0]), &p); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), p, func(w io.Writer) error { return writePool(w, p) })
	}
	c.ValidArgsFunction = func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		return admin.completePools(c, args)
	}
	return c
}

func writePool(w io.Writer, p api.Pool) error {
	fmt.Fprintf(w, "pool %s: %s, check %s\n", p.Name, p.Policy, p.Check)
	if p.AllDown {
		fmt.Fprintln(w, "no member is healthy, so all that are not drained are used")
	}
	for _, l := range p.Lists {
		fmt.Fprintf(w, "list %s: %d members, read %s ago\n", l.From, l.Members, since(l.Read))
		if l.Problem != "" {
			fmt.Fprintf(w, "  problem: %s\n", l.Problem)
		}
	}
	for _, m := range p.Members {
		fmt.Fprintf(w, "\n%s %s, weight %d%s\n  %s for %s: %s\n", m.Name, m.Address, m.Weight, boundsText(m), stateText(p, m), since(m.Since), m.Cause)
		if o := m.Override; o != nil {
			fmt.Fprintf(w, "  by an operator: %s\n  as configured: %s\n", o.Text, configuredText(m.Configured))
		}
		if m.From != "" {
			fmt.Fprintf(w, "  from %s\n", m.From)
		}
		if m.State == "poor" || m.Share != 1000 {
			fmt.Fprintf(w, "  has %.1f %% of its weight now\n", float64(m.Share)/10)
		}
		if m.Held != "" {
			fmt.Fprintf(w, "  held as %s until %s at least\n", m.Held, m.HeldUntil.UTC().Format(time.TimeOnly))
		}
		if m.Ejections > 0 {
			fmt.Fprintf(w, "  ejections that are not forgotten: %d\n", m.Ejections)
		}
		if m.Penalty > 0 {
			fmt.Fprintf(w, "  penalty for coming and going: %d\n", m.Penalty)
		}
		if len(m.Traffic) > 0 {
			fmt.Fprintf(w, "  requests: %s\n", trafficText(m))
		}
		if m.Beside != "" {
			fmt.Fprintf(w, "  beside its peers: %s\n", m.Beside)
		}
		if !m.LastProbe.IsZero() {
			fmt.Fprintf(w, "  last probe %s ago, %v: %s\n", since(m.LastProbe), m.LastLatency.Round(10*time.Microsecond), m.LastCause)
		}
		if m.Agent != "" {
			fmt.Fprintf(w, "  its agent says: %s\n", m.Agent)
		}
		if !m.Certificate.IsZero() {
			fmt.Fprintf(w, "  certificate until %s\n", m.Certificate.UTC().Format(time.DateTime))
		}
		if m.Warning != "" {
			fmt.Fprintf(w, "  warning: %s\n", m.Warning)
		}
	}
	return nil
}

// boundsText tells when a member is used, and how much.
func boundsText(m api.Member) (text string) {
	if m.Tier > 0 {
		text += fmt.Sprintf(", tier %d", m.Tier)
	}
	if m.Capacity > 0 {
		text += fmt.Sprintf(", at most %d requests at once", m.Capacity)
	}
	if m.Bandwidth > 0 {
		text += fmt.Sprintf(", at most %s", document.Rate(m.Bandwidth))
	}
	if m.Active > 0 {
		text += fmt.Sprintf(", %d there now", m.Active)
	}
	return text
}

func configuredText(c *api.Configured) string {
	text := fmt.Sprintf("weight %d", c.Weight)
	if c.Drain {
		text += ", drained"
	}
	return text
}

// outcomes are the words of api.Member.Traffic, in the order in which they are shown.
var outcomes = []string{"answered", "doubtful", "erred", "unreached", "late", "broken"}

func trafficText(m api.Member) string {
	var parts []string
	for _, o := range outcomes {
		if n := m.Traffic[o]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, o))
		}
	}
	if m.InARow > 0 {
		parts = append(parts, fmt.Sprintf("the last %d failed", m.InARow))
	}
	return strings.Join(parts, ", ")
}

func newHealth() *cobra.Command {
	c := &cobra.Command{
		Use: "health", Short: "Look at the health of members, and at what it was",
		Example: "  pharos health history",
		Args:    knownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newHealthHistory())
	return c
}

func newHealthHistory() *cobra.Command {
	c := &cobra.Command{
		Use:   "history [POOL|POOL/MEMBER|ADDRESS]",
		Short: "Show the last changes of health, and why they were made",
		Long: `Show when members changed their state and for which reason, the newest first: all,
those of a pool, of a member, or of an address. A node remembers the last 10,000
changes since its start.`,
		Example: "  pharos health history\n  pharos health history web --limit 5\n  pharos health history 192.0.2.10:8080 -o json",
		Args:    argsBetween(0, 1, "at most one POOL, POOL/MEMBER or ADDRESS"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	limit := c.Flags().Int("limit", 50, "show at most `N` changes")
	c.RunE = func(c *cobra.Command, args []string) error {
		q := url.Values{"limit": {strconv.Itoa(*limit)}}
		if len(args) == 1 {
			q.Set("about", args[0])
		}
		var events []api.HealthEvent
		if err := admin.get(c.Context(), "/api/health/history?"+q.Encode(), &events); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), events, func(w io.Writer) error {
			return table(w, "AT\tMEMBER\tADDRESS\tFROM\tTO\tCAUSE", func(row func(...any)) {
				for _, e := range events {
					row(e.At.UTC().Format(time.DateTime), cmp.Or(strings.Join(e.Members, ", "), "-"), e.Address, e.From, e.To, e.Cause)
				}
			})
		})
	}
	return c
}
