// Package cli is the command line: what an operator types, and how answers are
// printed, for people and, with -o json, for programs.
//
// It owns flags, help, completion, the DNS client of "pharos query" and the
// client of the admin listener. It does not own what a node does: serving,
// checking and the lab are given to Run as functions, because nothing but
// cmd/pharos joins this package with the node.
//
// Entry point: Run.
//
// Concurrency: one command at a time.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/masterfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
)

// Asker resolves names: see outbound.Driver.
type Asker interface {
	Ask(name dnsname.Name, t rdata.Type, o outbound.Options, done func(iterate.Answer)) bool
	Close()
}

// Programs are the parts of the program that a command starts.
type Programs struct {
	Serve func(ctx context.Context, config string, reload <-chan struct{}) error
	// Stub runs a node with the configuration that load returns, again whenever file changes.
	Stub  func(ctx context.Context, file string, load func() (string, error), reload <-chan struct{}) error
	Check func(config string, report io.Writer) error
	// Rules returns what the gate holds the first version of a zone to, and how much of its
	// file is read, by a configuration, or, without one, if nothing is said of it.
	Rules func(config string, zone dnsname.Name) (gate.Rules, masterfile.Limits, error)
	Lab   Lab
	// Resolver returns a resolver as the node of a configuration has it; the caller ends it.
	Resolver func(config string) (Asker, error)
	// ExportKey returns a private key of a zone, in the form pem or bind.
	ExportKey func(config, zone string, tag uint16, form string) ([]byte, error)
	// TestRoute tells which route of a configuration a request would take.
	TestRoute func(config string, r api.ExplainRequest) (*explain.Explanation, error)
}

// Exit codes, as shells and scripts expect them.
const (
	exitFailed = 1 // what was asked for did not work out; the message is on standard error
	exitUsage  = 2 // the command line is wrong
)

// errUsage marks an error of the command line.
var errUsage = errors.New("usage")

// Run carries out the command line args (without the program's name) and returns
// the exit code.
func Run(args []string, out, errOut io.Writer, p Programs) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // who asks a second time does not want to wait: the signal ends the process
	root := newRoot(p)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(errOut, "pharos:", err)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

func newRoot(p Programs) *cobra.Command {
	root := &cobra.Command{
		Use:   "pharos",
		Short: "DNS and load balancing from one view of health",
		Long: `Pharos answers one question for every client, by every road: where?

Names become addresses of servers that are healthy now, and connections are
carried to them. It is an authoritative DNS server, a recursive resolver, an
HTTP gateway and a proxy for TCP and UDP that share one view of which server is
alive, and it can explain every decision.`,
		Example: `  pharos lab                              # an internet in one process, with a tour
  pharos lab --list                       # the other tours
  pharos init                             # a configuration to begin with
  pharos serve -c pharos.yaml             # run a node
  pharos check -c pharos.yaml             # look for mistakes before that
  pharos query www.example.com --trace    # every step of a lookup, from the root
  pharos explain www.example.com          # why does the node answer what it answers?
  pharos sim --example                    # a day of traffic, to try a change before making it`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          knownCommand,

		DisableFlagsInUseLine:      true,
		SuggestionsMinimumDistance: 2,
		RunE:                       func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see %q", errUsage, err, c.CommandPath()+" --help")
	})
	root.AddCommand(
		newServe(p), newStub(p), newInit(), newCheck(p), newLab(p),
		newQuery(), newResolve(p), newExplain(),
		newStatus(), newPoolList("pools"), newPool(), newHealth(), newZoneList("zones"), newZone(p),
		newApply(), newGet(), newDelete(), newReload(), newImport(), newResolver(), newCache(),
		newSim(), newRoute(p),
		newVersion(), newReadZone(),
	)
	return root
}

func newServe(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run a node until it is told to stop",
		Long: `Run a node with the zones, resolver, pools and routes of a configuration file.

SIGHUP reads the file again; so does a change of the file or of a zone file. A
version with a mistake is refused as a whole and shown as a problem, while the old
one goes on serving. SIGTERM and Ctrl-C let requests under way finish first.`,
		Example: "  pharos serve -c /etc/pharos/pharos.yaml",
		Args:    noArgs,
	}
	config := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		hup := make(chan os.Signal, 1)
		signal.Notify(hup, syscall.SIGHUP)
		defer signal.Stop(hup)
		reload := make(chan struct{}, 1)
		go func() { // ends with the command's context
			for {
				select {
				case <-hup:
					reload <- struct{}{}
				case <-c.Context().Done():
					return
				}
			}
		}()
		return p.Serve(c.Context(), *config, reload)
	}
	return c
}

func newCheck(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "check",
		Short: "Look for mistakes in a configuration file and its zones",
		Long: `Read a configuration file and every zone it names as "pharos serve" would, and
report all mistakes with file, line and remedy. Nothing is listened on and nothing
is written. The exit code is 0 when a node would start with it.`,
		Example: "  pharos check -c pharos.yaml",
		Args:    noArgs,
	}
	config := configFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return p.Check(*config, c.OutOrStdout()) }
	return c
}

func newVersion() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: noArgs}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		v := map[string]string{"version": api.Version(), "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
		return output.print(c.OutOrStdout(), v, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "pharos %s %s %s\n", v["version"], v["go"], v["platform"])
			return err
		})
	}
	return c
}

// newReadZone is what a node starts to have a large zone read beside it. It is no command
// for people.
func newReadZone() *cobra.Command {
	return &cobra.Command{
		Use: "read-zone", Short: "Read a zone for a node that is running", Args: noArgs, Hidden: true,
		RunE: func(c *cobra.Command, _ []string) error { return masterfile.ReadAside(os.Stdin, c.OutOrStdout()) },
	}
}

func configFlag(c *cobra.Command) *string {
	config := c.Flags().StringP("config", "c", "/etc/pharos/pharos.yaml", "configuration `file`; docs/CONFIG.md is its manual")
	if err := c.MarkFlagFilename("config", "yaml", "yml"); err != nil {
		panic("BUG: " + err.Error())
	}
	return config
}

// knownCommand refuses what the root command is given: only an unknown command
// gets there.
func knownCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	remedy := fmt.Sprintf("see %q", c.CommandPath()+" --help")
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		remedy = fmt.Sprintf("did you mean %q?", near[0])
	}
	return fmt.Errorf("%w: unknown command %q; %s", errUsage, args[0], remedy)
}

// noArgs is cobra's, with our exit code.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%w: %q takes no argument, got %q", errUsage, c.CommandPath(), args[0])
	}
	return nil
}

func argsBetween(least, most int, want string) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return fmt.Errorf("%w: %q wants %s; see %q", errUsage, c.CommandPath(), want, c.CommandPath()+" --help")
		}
		return nil
	}
}

// output is how a command prints: for people or as JSON.
type output string

func outputFlag(c *cobra.Command) *output {
	o := output("text")
	c.Flags().VarP(&o, "output", "o", "`format`: text or json")
	err := c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return &o
}

func (o *output) String() string { return string(*o) }
func (o *output) Type() string   { return "format" }

// Set refuses other formats before the command does anything.
func (o *output) Set(format string) error {
	if format != "text" && format != "json" {
		return errors.New("want text or json")
	}
	*o = output(format)
	return nil
}

func (o *output) print(w io.Writer, value any, text func(io.Writer) error) error {
	if *o == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(value)
	}
	return text(w)
}
