package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// This file is what an operator says of members at run time.

// saying is the flags of a command that says something of members.
type saying struct {
	request api.OverrideRequest
	wait    bool
	timeout time.Duration
	admin   *client
	output  *output
}

// newSaying returns a command for POOL MEMBER [MEMBER...].
func newSaying(c *cobra.Command, do string) (*cobra.Command, *saying) {
	s := &saying{request: api.OverrideRequest{Do: do}, admin: adminFlag(c), output: outputFlag(c)}
	c.Flags().BoolVar(&s.request.Everywhere, "everywhere", false, "in all pools that have a server of that address")
	if c.Args == nil {
		c.Args = argsBetween(2, maxMembers, "a POOL and its MEMBERs")
	}
	c.ValidArgsFunction, c.RunE = s.complete, s.run
	return c, s
}

// maxMembers is how many members a command line may name; arbitrary.
const maxMembers = 1000

func newPoolDrain() *cobra.Command {
	c, s := newSaying(&cobra.Command{
		Use:   "drain POOL MEMBER...",
		Short: "Take members out of use, and let what they are doing finish",
		Long: `Take members out of use: DNS answers no longer name them, and the gateway gives
them no new requests. What is under way goes on, and clients that are kept to a
member (affinity) may come back to it for as long as the pool says. A member is
free when nobody is there any more and no resolver can still hold an answer that
names it. With --deadline, what is left then is closed, and the member is free.

It is kept in the store and goes over what is configured, until "pharos pool
resume" takes it back or the time given by --for is over. The configuration file
is not changed. Times are durations, such as 10m, or times, such as
2026-07-01T22:00:00Z or "2026-07-01 22:00" (UTC); --for and --deadline count from
the beginning.

If nobody else of the pool is up, the command says what would be answered then,
and wants --force.`,
		Example: `  pharos pool drain web a
  pharos pool drain web a --wait --deadline 5m --reason 'new kernel'
  pharos pool drain web a b --at '2026-07-01 22:00' --for 1h --deadline 10m
  pharos pool drain web 192.0.2.10 --everywhere`,
	}, "drain")
	s.stopping(c)
	c.Flags().StringVar(&s.request.Deadline, "deadline", "", "`when` connections that are left are closed")
	return c
}

func newPoolDisable() *cobra.Command {
	c, s := newSaying(&cobra.Command{
		Use:   "disable POOL MEMBER...",
		Short: "Take members out of use at once, and close what they are doing",
		Long: `Take members out of use like "pharos pool drain", without waiting for anybody:
clients that are kept to a member go elsewhere, and what the gateway has under way
on it is closed. A request of which nothing has been answered yet goes to another
member, if it may be repeated.`,
		Example: "  pharos pool disable web a --reason 'it corrupts files'\n  pharos pool disable web a --for 10m",
	}, "disable")
	s.stopping(c)
	return c
}

func newPoolResume() *cobra.Command {
	c, s := newSaying(&cobra.Command{
		Use:   "resume POOL MEMBER...",
		Short: "Take members back into use",
		Long: `Take back what "pharos pool drain" or "disable" has said: members are used again as
their health says. Where the configuration file itself drains a member, --force has
it used nevertheless, until this is taken back by "resume" without it.`,
		Example: "  pharos pool resume web a\n  pharos pool resume web a --force",
	}, "resume")
	c.Flags().BoolVar(&s.request.Force, "force", false, "also if the configuration drains them")
	return c
}

func newPoolWeight() *cobra.Command {
	c, s := newSaying(&cobra.Command{
		Use:   "weight POOL MEMBER... WEIGHT|configured",
		Short: "Give members another weight than the configured one",
		Long: `Give members another weight than the configured one, or that one again. It is kept
in the store; the configuration file is not changed. What an agent says of its
member, slow start and health count on top of it.`,
		Example: "  pharos pool weight web a 10\n  pharos pool weight web a configured",
		Args:    argsBetween(3, maxMembers, "a POOL, its MEMBERs and a WEIGHT"),
	}, "weight")
	c.RunE = func(c *cobra.Command, args []string) error {
		last := args[len(args)-1]
		if last != "configured" {
			weight, err := strconv.Atoi(last)
			if err != nil || weight < 1 {
				return fmt.Errorf("%w: weight %q: want a number from 1 on, or the word configured", errUsage, last)
			}
			s.request.Weight = weight
		}
		return s.run(c, args[:len(args)-1])
	}
	return c
}

// stopping adds the flags of what takes members out of use.
func (s *saying) stopping(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&s.request.From, "at", "", "`when` it begins (default: now)")
	f.StringVar(&s.request.Until, "for", "", "for how long, or until `when`; then members are used again by themselves")
	f.StringVar(&s.request.Reason, "reason", "", "`text` that is shown as the reason")
	f.BoolVar(&s.request.Force, "force", false, "even if nobody else of the pool is up")
	f.BoolVar(&s.wait, "wait", false, "wait until the members are free, and tell who is still there")
	f.DurationVar(&s.timeout, "timeout", 0, "with --wait: give up after this `time`, with exit code 1 (0: never)")
}

// run says it, and waits for what comes of it if it was asked to.
func (s *saying) run(c *cobra.Command, args []string) error {
	s.request.Pool, s.request.Members = args[0], args[1:]
	body, err := json.Marshal(s.request)
	if err != nil {
		return err
	}
	var done api.Overridden
	if err := s.admin.call(c.Context(), http.MethodPost, "/api/overrides", body, &done); err != nil {
		return err
	}
	if s.wait {
		err = s.await(c, &done)
	}
	printed := s.output.print(c.OutOrStdout(), done, func(w io.Writer) error {
		if s.wait {
			return nil // it was told while it came
		}
		return writeOverridden(w, done)
	})
	if err != nil {
		return err
	}
	return printed
}

func writeOverridden(w io.Writer, done api.Overridden) error {
	for _, m := range done.Members {
		fmt.Fprintf(w, "%s/%s: %s\n", m.Pool, m.Member, m.Text)
	}
	for _, warning := range done.Warnings {
		fmt.Fprintln(w, "warning:", warning)
	}
	return nil
}

// askAgain is how often somebody who waits looks again.
const askAgain = 250 * time.Millisecond

// await returns when all members are free, or nothing is said of them any more, and tells
// of each what changes meanwhile.
func (s *saying) await(c *cobra.Command, done *api.Overridden) error {
	ctx := c.Context()
	if s.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	told := make([]string, len(done.Members))
	if *s.output == "text" {
		for _, warning := range done.Warnings {
			fmt.Fprintln(c.OutOrStdout(), "warning:", warning)
		}
	}
	for {
		waiting := 0
		for i := range done.Members {
			m := &done.Members[i]
			if m.Text != told[i] && *s.output == "text" {
				fmt.Fprintf(c.OutOrStdout(), "%s/%s: %s\n", m.Pool, m.Member, m.Text)
				told[i] = m.Text
			}
			if m.Stage == "planned" || m.Stage == "draining" {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d members are not free yet; they go on draining", waiting)
		case <-time.After(askAgain):
		}
		if err := s.look(c.Context(), done); err != nil {
			return err
		}
	}
}

// look brings what is known of the members up to date.
func (s *saying) look(ctx context.Context, done *api.Overridden) error {
	var all []api.Override
	if err := s.admin.get(ctx, "/api/overrides", &all); err != nil {
		return err
	}
	now := map[string]api.Override{}
	for _, o := range all {
		now[o.Pool+"/"+o.Member] = o
	}
	for i, m := range done.Members {
		o, there := now[m.Pool+"/"+m.Member]
		if !there {
			o = m
			o.Stage, o.Text = "used", "in use; what was said of it was taken back"
		}
		done.Members[i] = o
	}
	return nil
}

// complete completes the pool first, then its members.
func (s *saying) complete(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var words []string
	if len(args) == 0 {
		return s.admin.completePools(c, args)
	}
	var p api.Pool
	if s.admin.get(c.Context(), "/api/pools/"+url.PathEscape(args[0]), &p) == nil {
		for _, m := range p.Members {
			words = append(words, m.Name+"\t"+m.Address+", "+m.State)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completePools completes the name of a pool.
func (c *client) completePools(cmd *cobra.Command, args []string) (words []string, _ cobra.ShellCompDirective) {
	var pools []api.Pool
	if len(args) == 0 && c.get(cmd.Context(), "/api/pools", &pools) == nil {
		for _, p := range pools {
			words = append(words, p.Name)
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}
