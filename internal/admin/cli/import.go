package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pharos/internal/admin/migrate"
)

// newImport returns the commands that read the configuration of other servers.
func newImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import",
		Short: "Write our configuration from that of BIND, NSD or Knot",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		newImportFrom("bind", "named.conf", "BIND", migrate.BIND),
		newImportFrom("nsd", "nsd.conf", "NSD", migrate.NSD),
		newImportFrom("knot", "knot.conf", "Knot", migrate.Knot),
	)
	return c
}

// imported is what an import prints as JSON.
type imported struct {
	Config string         `json:"config"`
	Zones  int            `json:"zones"`
	Notes  []migrate.Note `json:"notes"`
}

func newImportFrom(word, file, program string, read func(string, migrate.Source) (*migrate.Result, error)) *cobra.Command {
	c := &cobra.Command{
		Use:   word + " FILE",
		Short: fmt.Sprintf("Read the %s of %s", file, program),
		Long: fmt.Sprintf(`Read the %s of %s with what it includes, and write zones, keys, primaries, who
may transfer and who is notified as a configuration of ours, on standard output.
Everything that was not carried over is listed on standard error with its place
and the reason, and as comments at the end of the configuration. Nothing is
carried over that would let more people in than before.

Zone files stay where they are. docs/MOVING-FROM-%s.md is the whole way.`, file, program, strings.ToUpper(word)),
		Example: fmt.Sprintf("  pharos import %s /etc/%s > pharos.yaml\n  pharos check -c pharos.yaml", word, file),
		Args:    argsBetween(1, 1, "one "+file),
	}
	output := outputFlag(c)
	strict := c.Flags().Bool("strict", false, "exit with 1 if something was not carried over")
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := filepath.Abs(args[0])
		if err != nil {
			return err
		}
		result, err := read(filepath.ToSlash(path), migrate.Source{Read: os.ReadFile, Glob: filepath.Glob})
		if err != nil {
			return err
		}
		text := result.YAML()
		if result.Notes == nil {
			result.Notes = []migrate.Note{}
		}
		if err := output.print(c.OutOrStdout(), imported{string(text), len(result.Plan.Zones), result.Notes}, func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		}); err != nil {
			return err
		}
		for _, n := range result.Notes {
			fmt.Fprintln(c.ErrOrStderr(), "not carried over:", n)
		}
		if *strict && len(result.Notes) > 0 {
			return fmt.Errorf("%d settings were not carried over", len(result.Notes))
		}
		return nil
	}
	return c
}
