package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/config"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/sim"
)

// This file is the simulation: what a policy, a check or a TTL would do, before it is put in
// force.

// simFlags are what was asked for on the command line.
type simFlags struct {
	config, pool, svg string
	policies          []string
	seed              int
	example           bool
}

func newSim() *cobra.Command {
	c := &cobra.Command{
		Use:   "sim [FILE]",
		Short: "Play a day of traffic, to see what a policy, a check or a TTL would do",
		Long: `Play a day of traffic in some seconds, in a time of its own, against the code that
decides in a node: policies, weights and tiers, checks and verdicts, steering and its
TTLs. The file says what stands around them: how servers work and when they fail, who
asks, and how long resolvers and programs keep answers. It prints what failed, how
evenly servers were used, and how long it took until traffic had left those that were
gone; --svg plots all of that over the day.

Several ways are played side by side over the same day ("compare" in the file, or
--policies), and beside them plain DNS round robin, which knows nothing of health.

With --config and --pool the pool, its steered name and the place of the node come
from a node's own configuration; without a FILE servers and clients are then as in the
example. Nothing is asked of a running node, and nothing is changed.`,
		Example: `  pharos sim --example > shop.yaml
  pharos sim shop.yaml --svg shop.svg
  pharos sim shop.yaml --policies roundRobin,leastConnections,twoChoices
  pharos sim -c /etc/pharos/pharos.yaml --pool web      # try a change before making it`,
		Args: argsBetween(0, 1, "at most one FILE"),
	}
	var f simFlags
	flags := c.Flags()
	flags.StringVarP(&f.config, "config", "c", "", "take the pool and its name from this configuration `file`")
	flags.StringVar(&f.pool, "pool", "", "`name` of the pool that is played; without it the first one")
	flags.StringVar(&f.svg, "svg", "", "plot into this `file`")
	flags.StringSliceVar(&f.policies, "policies", nil, "compare these `policies` of the gateway, parted by commas")
	flags.IntVar(&f.seed, "seed", -1, "`number` that chance begins with, in place of that of the file")
	flags.BoolVar(&f.example, "example", false, "print a file to begin with, and end")
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if f.example {
			_, err := io.WriteString(c.OutOrStdout(), sim.Example)
			return err
		}
		plan, err := f.plan(args)
		if err != nil {
			return err
		}
		results := playAll(plan)
		if f.svg != "" {
			if err := plotInto(f.svg, plan, results); err != nil {
				return err
			}
		}
		return output.print(c.OutOrStdout(), results, func(w io.Writer) error { return writeResults(w, plan, results) })
	}
	return c
}

// plan returns what is to be played.
func (f *simFlags) plan(args []string) (*sim.Plan, error) {
	name, text := "example", []byte(sim.Example)
	switch {
	case len(args) == 1:
		name = args[0]
		var err error
		if text, err = readPlan(name); err != nil {
			return nil, err
		}
	case f.config == "":
		return nil, fmt.Errorf("%w: name a FILE, or a configuration with --config; \"pharos sim --example\" prints a file to begin with", errUsage)
	}
	var own *config.Config
	if f.config != "" {
		var err error
		if own, err = config.Load(f.config); err != nil {
			return nil, err
		}
	}
	plan := new(sim.Plan)
	err := config.ParseDocument(name, text, plan, func(report state.Report) {
		if f.pool != "" {
			plan.Pool = f.pool
		}
		if own != nil {
			plan.Adopt(own.Resources, own.Place, len(args) == 0)
			plan.Gateway = sim.Gateway{Connect: own.Gateway.Timeouts.Connect, Response: own.Gateway.Timeouts.Response, Retries: own.Gateway.Limits.Retries}
		}
		if f.seed >= 0 {
			plan.Seed = f.seed
		}
		plan.Check(report)
	})
	if err != nil {
		return nil, err
	}
	return plan, f.choosePolicies(plan)
}

// readPlan reads a file, but no more of it than a plan can have.
func readPlan(name string) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w; \"pharos sim --example\" prints a file to begin with", err)
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, config.MaxFileSize+1)) // one more is refused as too large
}

// choosePolicies has policies of the gateway compared, in place of what the file says.
func (f *simFlags) choosePolicies(plan *sim.Plan) error {
	if len(f.policies) == 0 {
		return nil
	}
	plan.Compare = nil
	for _, name := range f.policies {
		var p pool.Policy
		if err := p.UnmarshalText([]byte(name)); err != nil || name == "" {
			return fmt.Errorf("%w: --policies: %w", errUsage, err)
		}
		plan.Compare = append(plan.Compare, sim.Variant{By: sim.ByGateway, Policy: name})
	}
	return nil
}

// playAll plays all variants, as many at once as there are processors: the runtime sees to that.
func playAll(plan *sim.Plan) []*sim.Result {
	variants := plan.Variants()
	results := make([]*sim.Result, len(variants))
	var wg sync.WaitGroup
	for i, v := range variants {
		wg.Go(func() { results[i] = sim.Run(plan, v) })
	}
	wg.Wait()
	return results
}

func plotInto(name string, plan *sim.Plan, results []*sim.Result) error {
	file, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("--svg: %w", err)
	}
	return errors.Join(sim.WriteSVG(file, plan, results), file.Close())
}

// writeResults writes the tables of a simulation.
func writeResults(w io.Writer, plan *sim.Plan, results []*sim.Result) error {
	title := ""
	if plan.Title != "" {
		title = plan.Title + ": "
	}
	fmt.Fprintf(w, "%spool %s, %s, %d requests, seed %d\n\n", title, plan.Pool, plan.Length, results[0].Requests, plan.Seed)
	err := table(w, "PLAYED\tFAILED\tOF ALL\tTRIED AGAIN\tIMBALANCE (MAX/MEAN)\t90 % LEFT AFTER\tALL LEFT AFTER\tP50\tP99", func(row func(...any)) {
		for _, r := range results {
			left, leaves, gone, ends := r.Converged()
			row(r.Name, r.Failed, fmt.Sprintf("%.3g %%", r.FailedPercent()), r.Retried, fmt.Sprintf("%.2f, worst %.2f", r.Imbalance, r.WorstImbalance),
				after(left, leaves), after(gone, ends), fmt.Sprintf("%.0f ms", r.P50), fmt.Sprintf("%.0f ms", r.P99))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := writeServers(w, results); err != nil {
		return err
	}
	return writeEvents(w, results)
}

// after tells how long something took, or that it never came.
func after(d time.Duration, came bool) string {
	if !came {
		return "never"
	}
	if d < 10*time.Second {
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func writeServers(w io.Writer, results []*sim.Result) error {
	return table(w, "SERVER\tPLAYED\tSENT\tSHARE\tFAILED\tBUSY", func(row func(...any)) {
		for k := range results[0].Servers {
			for i, r := range results {
				s, name, sent := r.Servers[k], "", uint64(0)
				if i == 0 {
					name = s.Name
				}
				for _, o := range r.Servers {
					sent += o.Sent
				}
				row(name, r.Name, s.Sent, fmt.Sprintf("%.1f %%", 100*float64(s.Sent)/float64(max(sent, 1))), s.Failed, fmt.Sprintf("%.1f %%", s.Busy))
			}
		}
	})
}

// maxShown is how many events are told in the table; -o json has all.
const maxShown = 40

func writeEvents(w io.Writer, results []*sim.Result) error {
	if len(results[0].Events) == 0 {
		return nil
	}
	order := make([]int, len(results[0].Events))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(results[0].Events[a].At - results[0].Events[b].At) })
	fmt.Fprintln(w)
	err := table(w, "AT\tEVENT\tPLAYED\tOUT AFTER\t90 % LEFT AFTER\tALL LEFT AFTER\tSENT TO IT\tFAILED", func(row func(...any)) {
		for _, k := range order[:min(len(order), maxShown)] {
			for i, r := range results {
				e, at, what := r.Events[k], "", ""
				if i == 0 {
					at, what = e.At.String(), fmt.Sprintf("%s: %s for %s", e.Member, e.Does, e.For)
				}
				row(at, what, r.Name, after(ofMillis(e.Seen), e.Seen >= 0), after(ofMillis(e.Left), e.Leaves), after(ofMillis(e.Gone), e.Ends), e.Sent, e.Failed)
			}
		}
	})
	if err == nil && len(order) > maxShown {
		_, err = fmt.Fprintf(w, "and %d more events; -o json has them\n", len(order)-maxShown)
	}
	return err
}

func ofMillis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
