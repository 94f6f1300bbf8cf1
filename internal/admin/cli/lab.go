package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Lab is what "pharos lab" starts.
type Lab struct {
	Tours []Tour
	// Origin serves as a tiny origin server until ctx ends.
	Origin func(ctx context.Context, listen, name string, takes time.Duration, workers int) error
}

// Tour is one of the tours of the lab. The first is taken unless another is named.
type Tour struct {
	Name  string `json:"name"`
	Short string `json:"short"` // what it shows, in a line
	// Run takes the tour. With once it ends after it; else it may stay up to be tried, until
	// ctx ends. The error says what did not go as it should.
	Run func(ctx context.Context, once bool, out io.Writer) error `json:"-"`
}

func newLab(p Programs) *cobra.Command {
	var names []string
	for _, t := range p.Lab.Tours {
		names = append(names, t.Name)
	}
	c := &cobra.Command{
		Use:   "lab [TOUR]",
		Short: "Start an internet in one process and take a tour of it",
		Long: `Start servers on loopback addresses and free ports, and show them at work. Each tour
says in plain words what happens and which commands would show it, and ends with an
error if something did not go as it should.

Without a name: root, TLD and authoritative servers, a resolver, a gateway and three
origin servers in one process: one lookup step by step, a page fetched through the
gateway, a server lost under load and brought back, and the explanation of an answer.
That one stays up to be tried, until Ctrl-C, unless --once is given; the others end by
themselves. "pharos lab --list" names them.`,
		Example:   "  pharos lab\n  pharos lab --once        # end after the tour; exit code 0 if all went well\n  pharos lab --list\n  pharos lab autoscaling\n  pharos lab --list -o json",
		Args:      argsBetween(0, 1, "at most one TOUR"),
		ValidArgs: names,
	}
	once := c.Flags().Bool("once", false, "end after the tour")
	list := c.Flags().Bool("list", false, "name the tours and end")
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if *list {
			return output.print(c.OutOrStdout(), p.Lab.Tours, func(w io.Writer) error {
				return table(w, "TOUR\tSHOWS", func(row func(...any)) {
					for _, t := range p.Lab.Tours {
						row(t.Name, t.Short)
					}
				})
			})
		}
		at := 0
		if len(args) == 1 {
			if at = slices.Index(names, args[0]); at < 0 {
				return fmt.Errorf("%w: there is no tour %q; there are: %s", errUsage, args[0], strings.Join(names, ", "))
			}
		}
		return p.Lab.Tours[at].Run(c.Context(), *once, c.OutOrStdout())
	}
	c.AddCommand(newLabOrigin(p))
	return c
}

// newLabOrigin is a program that pools can scale with: the tours do.
func newLabOrigin(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "origin",
		Short: "Be a tiny origin server, for tours and for trying things out",
		Long: `Answer HTTP requests until SIGTERM: /health with 200, everything else with the name of
the server, after a while. Where to listen comes from PHAROS_ADDRESS, as it is set for
members that are processes (scale.process), unless --listen is given.`,
		Example: "  pharos lab origin --listen 127.0.0.1:8080\n  pharos lab origin --listen 127.0.0.1:8080 --takes 50ms --workers 4",
		Args:    noArgs,
	}
	listen := c.Flags().String("listen", os.Getenv("PHAROS_ADDRESS"), "`address` and port")
	name := c.Flags().String("name", "", "its `name`, which it answers with; by default its address")
	takes := c.Flags().Duration("takes", 0, "how long each request takes")
	workers := c.Flags().Int("workers", 0, "requests that it works at at once, the others wait; 0: any number")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *listen == "" {
			return fmt.Errorf("%w: say where to listen, as --listen 127.0.0.1:8080", errUsage)
		}
		return p.Lab.Origin(c.Context(), *listen, *name, *takes, *workers)
	}
	return c
}
