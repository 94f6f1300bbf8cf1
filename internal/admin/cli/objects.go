package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// kinds are the words for the kinds of objects on the command line.
var kinds = []string{"pool", "steer", "route", "override"}

func newApply() *cobra.Command {
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Change pools, steered names and routes of a running node",
		Long: `Put the pools, steered names and routes of a YAML document into the node's store.
They are checked together, and all of them are applied or none. When the command
returns, the change is on disk and the node answers by it. Applying the same
document again changes nothing.

The document has the keys pools, steer and routes, as the configuration file has
them. What the configuration file itself names cannot be changed this way.`,
		Example: `  pharos apply -f web.yaml
  cat web.yaml | pharos apply -f -`,
		Args: noArgs,
	}
	admin, output := adminFlag(c), outputFlag(c)
	file := c.Flags().StringP("file", "f", "", "`document`; - reads standard input")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *file == "" {
			return fmt.Errorf("%w: name the document with -f; -f - reads standard input", errUsage)
		}
		document, err := readDocument(c, *file)
		if err != nil {
			return err
		}
		var applied api.Applied
		if err := admin.call(c.Context(), http.MethodPost, "/api/objects", document, &applied); err != nil {
			return fmt.Errorf("%s: %w", *file, err)
		}
		return output.print(c.OutOrStdout(), applied, writeApplied(applied))
	}
	return c
}

func readDocument(c *cobra.Command, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(c.InOrStdin())
	}
	return os.ReadFile(file)
}

func newGet() *cobra.Command {
	c := &cobra.Command{
		Use:       "get [KIND [NAME]]",
		Short:     "Show what was applied at run time",
		Example:   "  pharos get\n  pharos get pool web -o json",
		Args:      argsBetween(0, 2, "at most a KIND and a NAME"),
		ValidArgs: kinds,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path := "/api/objects"
		if len(args) > 0 {
			path += "?kind=" + url.QueryEscape(args[0])
		}
		var objects []api.Object
		if err := admin.get(c.Context(), path, &objects); err != nil {
			return err
		}
		if len(args) == 2 {
			var found []api.Object
			for _, o := range objects {
				if o.Name == args[1] {
					found = append(found, o)
				}
			}
			if objects = found; len(found) == 0 {
				return fmt.Errorf("no %s %q was applied; the configuration file's are shown by \"pharos pools\"", args[0], args[1])
			}
		}
		return output.print(c.OutOrStdout(), objects, func(w io.Writer) error {
			return table(w, "KIND\tNAME\tREVISION\tSPEC", func(row func(...any)) {
				for _, o := range objects {
					row(o.Kind, o.Name, o.Revision, string(compact(o.Spec)))
				}
			})
		})
	}
	return c
}

func compact(spec json.RawMessage) []byte {
	var v any
	if json.Unmarshal(spec, &v) != nil {
		return spec
	}
	text, err := json.Marshal(v)
	if err != nil {
		return spec
	}
	return text
}

func newDelete() *cobra.Command {
	c := &cobra.Command{
		Use:       "delete KIND NAME",
		Short:     "Take back what was applied at run time",
		Example:   "  pharos delete pool web\n  pharos delete route 'www.example.com/'",
		Args:      argsBetween(2, 2, "a KIND and a NAME"),
		ValidArgs: kinds,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var applied api.Applied
		path := "/api/objects/" + url.PathEscape(args[0]) + "/" + strings.ReplaceAll(url.PathEscape(args[1]), "%2F", "/")
		if err := admin.call(c.Context(), http.MethodDelete, path, nil, &applied); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), applied, writeApplied(applied))
	}
	return c
}

func newReload() *cobra.Command {
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make a running node read its configuration and zones again",
		Long: `Make a running node read its configuration and zones again, and wait for the
outcome: a version with a mistake is refused, with the mistake, and the old one
goes on serving. The exit code is 1 if anything was refused, be it one zone.`,
		Args: noArgs,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var applied api.Applied
		if err := admin.call(c.Context(), http.MethodPost, "/api/reload", nil, &applied); err != nil {
			return err
		}
		if err := output.print(c.OutOrStdout(), applied, writeApplied(applied)); err != nil || len(applied.Refused) == 0 {
			return err
		}
		return fmt.Errorf("refused; what was served before is served on:\n  %s", strings.Join(applied.Refused, "\n  "))
	}
	return c
}

func writeApplied(a api.Applied) func(io.Writer) error {
	return func(w io.Writer) error {
		for _, changed := range a.Changed {
			fmt.Fprintln(w, "changed", changed)
		}
		if len(a.Changed) == 0 {
			fmt.Fprintln(w, "nothing to change")
		}
		for _, warning := range a.Warnings {
			fmt.Fprintln(w, "warning:", warning)
		}
		_, err := fmt.Fprintln(w, "snapshot", a.Revision)
		return err
	}
}
