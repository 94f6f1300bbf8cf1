package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// This file is what can be asked about what the resolver has learnt.

func newCache() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "Look into the resolver's cache, or have it forget something",
		Args:  knownCommand,
		RunE:  func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newCacheDump(), newCacheFlush(), newCacheStats(), newCacheServers())
	return c
}

// cacheFlags are the flags that select entries.
type cacheFlags struct {
	view, rrtype string
	tree         bool
}

func (f *cacheFlags) add(c *cobra.Command, treeText string) {
	c.Flags().StringVar(&f.view, "view", "", "of the `view` with this name, which has a cache of its own")
	c.Flags().StringVar(&f.rrtype, "type", "", "only this `type` of records")
	c.Flags().BoolVar(&f.tree, "tree", false, treeText)
}

func (f *cacheFlags) query(name string) string {
	q := url.Values{}
	for key, value := range map[string]string{"view": f.view, "type": f.rrtype, "name": name} {
		if value != "" {
			q.Set(key, value)
		}
	}
	if f.tree {
		q.Set("tree", "true")
	}
	return "?" + q.Encode()
}

func newCacheDump() *cobra.Command {
	c := &cobra.Command{
		Use:   "dump [NAME]",
		Short: "Print what is cached",
		Long: `Print what the resolver has learnt: of one name, of it and all below with --tree,
or everything. First the records, with what is left of their TTL, how far they are
trusted (RFC 2181) and what validation has made of them; then the answers that are
ready to be sent. What does not exist, delegations and failures are comments.

Entries come as they lie in memory, in no order, while the node goes on; there may
be millions. With -o json each is an object on a line of its own.`,
		Example: `  pharos cache dump www.example.com
  pharos cache dump example.com --tree --type MX
  pharos cache dump -o json | jq -r 'select(.state == "bogus") | .name'`,
		Args: argsBetween(0, 1, "at most one name"),
	}
	flags := new(cacheFlags)
	flags.add(c, "the name and everything below it")
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		resp, err := admin.do(c.Context(), http.MethodGet, "/api/cache"+flags.query(strings.Join(args, "")), nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if *output == "json" {
			_, err = io.Copy(c.OutOrStdout(), resp.Body)
			return err
		}
		return writeEntries(c.OutOrStdout(), resp.Body)
	}
	return c
}

// writeEntries writes JSON lines as a master file with comments.
func writeEntries(w io.Writer, lines io.Reader) error {
	out := bufio.NewWriter(w)
	for entries := json.NewDecoder(lines); ; {
		var e api.CacheEntry
		if err := entries.Decode(&e); errors.Is(err, io.EOF) {
			return out.Flush()
		} else if err != nil {
			out.Flush()
			return fmt.Errorf("the answer of the admin listener was cut off: %w", err)
		}
		what := e.Kind
		for _, more := range []string{e.Trust, e.State, e.Error} {
			if more != "" {
				what += ", " + more
			}
		}
		if e.DO {
			what += ", DO"
		}
		if e.CD {
			what += ", CD"
		}
		about := strings.TrimSuffix(e.Name+" "+e.Type, " ")
		fmt.Fprintf(out, "; %s %s: %s, %d s left\n", e.Level, about, what, e.TTL)
		for _, r := range e.Records {
			if e.Kind != "records" { // it proves, or leads elsewhere, but is no data of the name
				r = ";   " + r
			}
			fmt.Fprintln(out, r)
		}
	}
}

func newCacheFlush() *cobra.Command {
	c := &cobra.Command{
		Use:   "flush NAME",
		Short: "Have the resolver forget a name",
		Long: `Have the resolver forget what it knows of a name, of all types or of one, in memory
and on disk, with the answers whose aliases lead there. With --tree everything below
as well; "pharos cache flush . --tree" empties the cache.`,
		Example: `  pharos cache flush www.example.com
  pharos cache flush example.com --tree
  pharos cache flush example.com --type MX`,
		Args: argsBetween(1, 1, "one name"),
	}
	flags := new(cacheFlags)
	flags.add(c, "and everything below it")
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var done api.CacheFlushed
		if err := admin.call(c.Context(), http.MethodPost, "/api/cache/flush"+flags.query(args[0]), nil, &done); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), done, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%d entries forgotten\n", done.Flushed)
			return err
		})
	}
	return c
}

func newCacheStats() *cobra.Command {
	c := &cobra.Command{
		Use:     "stats",
		Short:   "Show how full the cache is, and how it outlives the process",
		Example: "  pharos cache stats\n  pharos cache stats -o json",
		Args:    noArgs,
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var all []api.CacheStats
		if err := admin.get(c.Context(), "/api/cache/stats", &all); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), all, func(w io.Writer) error { return writeCacheStats(w, all) })
	}
	return c
}

func writeCacheStats(w io.Writer, all []api.CacheStats) error {
	err := table(w, "VIEW\tWHAT\tENTRIES\tMEMORY\tOF\tMADE ROOM", func(row func(...any)) {
		for _, s := range all {
			view := s.View
			if view == "" {
				view = "-"
			}
			row(view, "records", s.Records, mebibytes(s.RecordOctets), mebibytes(s.RecordLimit), s.RecordsEvicted)
			row(view, "answers", s.Answers, mebibytes(s.AnswerOctets), mebibytes(s.AnswerLimit), s.AnswersEvicted)
			row(view, "servers", s.Servers, "-", "-", "-")
		}
	})
	for _, s := range all {
		var k api.CacheKept
		if err != nil || len(s.Kept) == 0 {
			continue
		}
		if err = json.Unmarshal(s.Kept, &k); err != nil {
			continue
		}
		fmt.Fprintf(w, "\nkept in %s\n", k.File)
		fmt.Fprintf(w, "  restored at the start: %d entries, %d servers, in %v\n", k.Restored, k.Servers, k.RestoredIn.Round(time.Millisecond))
		if k.Problem != "" {
			fmt.Fprintf(w, "  not restored: %s\n", k.Problem)
		}
		fmt.Fprintf(w, "  last saved: %s, %s; %v of work since the start\n", timeOrDash(k.Saved), mebibytes(k.Octets), k.Busy.Round(time.Millisecond))
		if k.SaveError != "" {
			fmt.Fprintf(w, "  not saved: %s\n", k.SaveError)
		}
	}
	return err
}

func mebibytes(octets int) string { return fmt.Sprintf("%.1f MiB", float64(octets)/(1<<20)) }

func newCacheServers() *cobra.Command {
	c := &cobra.Command{
		Use:   "servers",
		Short: "Show what the resolver knows of the servers that it asks",
		Long: `Show how fast servers answer, which of them do not, which understand no EDNS or do
not repeat upper and lower case, and for which zones they are lame.`,
		Example: "  pharos cache servers\n  pharos cache servers -o json",
		Args:    noArgs,
	}
	view := c.Flags().String("view", "", "of the `view` with this name, which has a resolver of its own")
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var all []api.CacheServer
		if err := admin.get(c.Context(), "/api/cache/servers?view="+url.QueryEscape(*view), &all); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), all, func(w io.Writer) error {
			return table(w, "SERVER\tOVER\tRTT\tTIMEOUTS\tNOTES", func(row func(...any)) {
				for _, s := range all {
					rtt := "-"
					if s.RTT > 0 {
						rtt = s.RTT.Round(100 * time.Microsecond).String()
					}
					row(s.Address, s.Transport, rtt, s.Timeouts, serverNotes(s))
				}
			})
		})
	}
	return c
}

func serverNotes(s api.CacheServer) string {
	var notes []string
	if !s.Dead.IsZero() {
		notes = append(notes, "dead until "+clockTime(s.Dead))
	}
	if !s.NoEDNS.IsZero() {
		notes = append(notes, "no EDNS")
	}
	if !s.NoCase.IsZero() {
		notes = append(notes, "does not repeat case")
	}
	if len(s.Lame) > 0 {
		notes = append(notes, "lame for "+strings.Join(s.Lame, " "))
	}
	if len(s.Suspect) > 0 {
		notes = append(notes, "gave what is bogus for "+strings.Join(s.Suspect, " "))
	}
	return strings.Join(notes, "; ")
}
