package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/cluster/document"
)

// This file is what can be asked about what the resolver believes.

func newResolver() *cobra.Command {
	c := &cobra.Command{
		Use:   "resolver",
		Short: "Show and change what the resolver of a running node believes",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAnchors(), newNegative(), newUpstreams())
	return c
}

func newAnchors() *cobra.Command {
	c := &cobra.Command{
		Use:   "anchors",
		Short: "Show the trust anchors, their keys' states and times",
		Long: `Show what chains of trust begin with. Keys come and go by RFC 5011: a new one that
a trusted key has signed is add-pending for 30 days, then valid; one that is not in
its zone is missing, and still trusted; a revoked one never comes back. An anchor
whose key has not been seen yet is configured.`,
		Example: `  pharos resolver anchors
  pharos resolver anchors -o json`,
		Args: noArgs,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var a api.TrustAnchors
		if err := admin.get(c.Context(), "/api/resolver/anchors", &a); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), a, func(w io.Writer) error { return writeAnchors(w, a) })
	}
	return c
}

func writeAnchors(w io.Writer, a api.TrustAnchors) error {
	if !a.Validate {
		fmt.Fprintln(w, "nothing is validated (resolver.validate)")
	}
	for _, p := range a.Points {
		switch {
		case !a.Update:
			fmt.Fprintf(w, "zone %s: as configured, not updated (resolver.trust.update)\n", p.Zone)
		case p.Checked.IsZero():
			fmt.Fprintf(w, "zone %s: its keys have not been seen yet", p.Zone)
		default:
			fmt.Fprintf(w, "zone %s: its keys were verified %s, and are looked at again %s", p.Zone, clockTime(p.Checked), clockTime(p.Next))
		}
		if a.Update && p.Failures > 0 {
			fmt.Fprintf(w, "; %d failures, next try %s: %s", p.Failures, clockTime(p.Next), p.Problem)
		}
		if a.Update {
			fmt.Fprintln(w)
		}
	}
	if r := a.LocalRoot; r != nil {
		writeRoot(w, r)
	}
	err := table(w, "ZONE\tTAG\tALGORITHM\tSTATE\tSINCE\tUNTIL\tTRUSTED", func(row func(...any)) {
		for _, p := range a.Points {
			for _, k := range p.Keys {
				row(p.Zone, strconv.Itoa(int(k.Tag)), k.Algorithm, k.State, timeOrDash(k.Since), timeOrDash(k.Until), yesNo(k.Trusted))
			}
		}
	})
	if err != nil || len(a.Negative) == 0 {
		return err
	}
	fmt.Fprintln(w)
	return writeNegative(w, a)
}

func writeRoot(w io.Writer, r *api.LocalRoot) {
	if r.Used {
		fmt.Fprintf(w, "copy of the root zone: serial %d, good until %s, confirmed %s\n", r.Serial, clockTime(r.Until), timeOrDash(r.Confirmed))
	} else {
		fmt.Fprintln(w, "copy of the root zone: none that can be used, so the root's servers are asked")
	}
	if r.Problem != "" {
		fmt.Fprintf(w, "  problem: %s\n", r.Problem)
	}
}

func writeNegative(w io.Writer, a api.TrustAnchors) error {
	if len(a.Negative) == 0 {
		fmt.Fprintln(w, "no negative trust anchors: everything is validated")
		return nil
	}
	return table(w, "NOT VALIDATED\tSINCE\tUNTIL\tTRIED AGAIN\tLAST TRY\tREASON", func(row func(...any)) {
		for _, n := range a.Negative {
			row(n.Name, clockTime(n.Since), timeOrDash(n.Until), timeOrDash(n.Retry), orDash(n.Tried), orDash(n.Reason))
		}
	})
}

func timeOrDash(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return clockTime(t)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func newNegative() *cobra.Command {
	c := &cobra.Command{
		Use:   "nta",
		Short: "Show negative trust anchors: names that are not validated for a while",
		Long: `Show the names at and below which nothing is validated (RFC 7646), each until its end.

They are for domains whose owners have broken DNSSEC and are known to be mending it.
Their answers carry the extended error 33. Each name is tried without its anchor now
and then, and the anchor goes as soon as the name validates. Those of the
configuration (resolver.negativeTrustAnchors) have no end.`,
		Example: `  pharos resolver nta
  pharos resolver nta add broken.example.com --for 12h --reason "their signer is down, called them"
  pharos resolver nta remove broken.example.com`,
		Args: knownCommand,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var a api.TrustAnchors
		if err := admin.get(c.Context(), "/api/resolver/anchors", &a); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), a.Negative, func(w io.Writer) error { return writeNegative(w, a) })
	}
	c.AddCommand(newNegativeAdd(), newNegativeRemove())
	return c
}

func newNegativeAdd() *cobra.Command {
	c := &cobra.Command{
		Use:   "add NAME",
		Short: "Stop validating a name and what is below it, for a while",
		Long: `Stop validating a name and what is below it, for a day or as --for says, a week at
most. What is known of it is forgotten, so that it works at once. It is on disk when
the command returns.`,
		Example: `  pharos resolver nta add broken.example.com
  pharos resolver nta add broken.example.com --for 2d --reason "ticket 4711"
  pharos resolver nta add broken.example.com --force    # stays, though the name may validate`,
		Args: argsBetween(1, 1, "one NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	lasts := c.Flags().String("for", "1d", "how `long`, a week at most")
	reason := c.Flags().String("reason", "", "why, for who looks at it later")
	force := c.Flags().Bool("force", false, "keep it to its end, though the name validates")
	c.RunE = func(c *cobra.Command, args []string) error {
		var d document.Duration
		if err := d.UnmarshalText([]byte(*lasts)); err != nil {
			return fmt.Errorf("%w: --for: %q %w", errUsage, *lasts, err)
		}
		body, err := json.Marshal(api.NegativeChange{Name: args[0], For: time.Duration(d).String(), Reason: *reason, Force: *force})
		if err != nil {
			return err
		}
		return admin.change(c, *output, request{http.MethodPost, "/api/resolver/negative", body})
	}
	return c
}

func newNegativeRemove() *cobra.Command {
	c := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Validate a name again",
		Example: `  pharos resolver nta remove broken.example.com`,
		Args:    argsBetween(1, 1, "one NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return admin.change(c, *output, request{http.MethodDelete, "/api/resolver/negative/" + url.PathEscape(args[0]), nil})
	}
	return c
}
