package cli

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// first is the configuration of the README and its zone: what there is to begin with.
//
//go:embed first
var first embed.FS

func newInit() *cobra.Command {
	c := &cobra.Command{
		Use:   "init [FOLDER]",
		Short: "Write a configuration to begin with",
		Long: `Write pharos.yaml, and the zone that it names, into a folder: a zone, a pool of two
servers, a name and a route that lead to them. Files that are there already are
not touched.`,
		Example: `  pharos init                             # here
  pharos init /etc/pharos`,
		Args: argsBetween(0, 1, "at most one folder"),
	}
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		folder := "."
		if len(args) == 1 {
			folder = args[0]
		}
		written, err := writeFirst(folder)
		if err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), map[string]any{"written": written}, func(w io.Writer) error {
			for _, path := range written {
				fmt.Fprintln(w, "written", path)
			}
			_, err := fmt.Fprintf(w, "Name your servers in it, then: pharos check -c %[1]s && pharos serve -c %[1]s\n", written[len(written)-1])
			return err
		})
	}
	return c
}

// writeFirst writes the first files of a node, and returns their paths: the configuration is
// the last. Nothing is written if one of them is there.
func writeFirst(folder string) (written []string, err error) {
	files, err := first.ReadDir("first")
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		path := filepath.Join(folder, f.Name())
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = errors.New("is there already; name another folder")
			}
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return nil, err
	}
	for _, f := range files {
		text, err := first.ReadFile("first/" + f.Name())
		if err != nil {
			return nil, err
		}
		path := filepath.Join(folder, f.Name())
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return nil, err
		}
		written = append(written, path)
	}
	return written, nil
}
