package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
	"pharos/internal/dns/rdata"
	"pharos/internal/proxy/l4proxy"
	"pharos/internal/resolver/iterate"
	"pharos/internal/traffic/decisions"
)

func newStatus() *cobra.Command {
	c := &cobra.Command{Use: "status", Short: "Show how a running node is, and its problems", Args: noArgs}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var s api.Status
		if err := admin.get(c.Context(), "/api/status", &s); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), s, func(w io.Writer) error {
			fmt.Fprintf(w, "pharos %s, up %v, snapshot %d, store %s\n", s.Version, time.Since(s.Started).Round(time.Second), s.Revision, s.Store)
			fmt.Fprintf(w, "%s, %s, %s; listening on %s\n", api.Counted(s.Zones, "zone"), api.Counted(s.Pools, "pool"), api.Counted(s.Routes, "route"), strings.Join(s.Listeners, ", "))
			for _, x := range s.Certificates {
				fmt.Fprintf(w, "certificate %s for %s, until %s\n  SHA-256 %s, pin %s\n", x.File, strings.Join(x.Names, ", "), x.Until.UTC().Format(time.DateTime), x.Fingerprint, x.Pin)
			}
			if u := s.Updates; u != nil {
				fmt.Fprintf(w, "updates: %d changed a zone, %d nothing, %d with a prerequisite not met, %d refused, %d malformed, %d failed, %d forwarded\n",
					u.Changed, u.Unchanged, u.Prerequisite, u.Refused, u.Malformed, u.Failed, u.Forwarded)
			}
			if len(s.Problems) == 0 {
				fmt.Fprintln(w, "no problems")
			}
			for _, p := range s.Problems {
				fmt.Fprintf(w, "%s %s: %s (for %v)\n", p.Severity, p.Code, p.Text, time.Since(p.Since).Round(time.Second))
			}
			return nil
		})
	}
	return c
}

func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return time.Since(t).Round(time.Second).String()
}

// newZoneList returns the list of zones: "pharos zone list", and "pharos zones"
// for short.
func newZoneList(use string) *cobra.Command {
	c := &cobra.Command{Use: use, Short: "Show the zones of a running node", Args: noArgs}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		var zones []api.Zone
		if err := admin.get(c.Context(), "/api/zones", &zones); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), zones, func(w io.Writer) error {
			inViews := slices.ContainsFunc(zones, func(z api.Zone) bool { return z.View != "" })
			first := "ZONE"
			if inViews {
				first = "ZONE\tVIEW"
			}
			return table(w, first+"\tKIND\tSERIAL\tNAMES\tRECORDS\tFROM\tLAST TRANSFER\tNEXT REFRESH\tPROBLEM", func(row func(...any)) {
				for _, z := range zones {
					from, last, next := z.File, "-", "-"
					if s := z.Secondary; s != nil {
						from, last, next = lastTransfer(s)
					}
					kind := z.Kind
					if z.Catalog != "" {
						kind += " by " + z.Catalog
					}
					name := z.Name
					if inViews {
						name += "\t" + cmp.Or(z.View, "-")
					}
					row(name, kind, z.Serial, z.Names, z.Records, from, last, next, z.Problem)
				}
			})
		})
	}
	return c
}

// table writes lines in columns under a heading.
func table(w io.Writer, heading string, rows func(row func(...any))) error {
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, heading)
	rows(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, cell)
		}
		fmt.Fprintln(tw)
	})
	return tw.Flush()
}

func newExplain() *cobra.Command {
	c := &cobra.Command{
		Use:   "explain NAME [TYPE] | URL | ID | --stream NAME",
		Short: "Show why the running node answers what it answers",
		Long: `Ask the running node to make one decision as it would make it now, and show every
step: the zone or the servers that answered, what the cache had, the pool, what
each filter took in and left, each member with its state and the evidence behind
it, what its weight is made of, who was picked, and what would change that.

An ID is of the past, for a day. One such as servfail-0k3m9x2q is what clients find
in the extended error of a SERVFAIL: it shows what was tried then. One such as
steer-0k3m9x2q is of an answer of a steered name: the answer is decided again, from
what was recorded. A client is told it if it asks by an EDNS option
(dig +ednsopt=65313) and steering.decisions.tell lets it. A UUID is the id of a
request (X-Request-Id, the access log): which route it took, through which filters,
who could be picked, who was asked, and why that was not the end. Those that failed,
were refused, waited or were tried again are kept, and a sample of the others
(gateway.past). With --request an id of another form is taken for one, too. One such
as conn-0k3m9x2q is of a connection of a stream (log.connections): who its members
were then, how one was chosen, who was not reached, and why it ended.

With --stream it is told to which pool and member a stream (layer 4) carries a client, by
the server name that it asks for by TLS, if that matters (--server-name).

With --resolve the name is resolved as if nothing were known of it, so that every
server that has a part in the answer is asked and shown, with its round-trip time,
the zone cuts and the proofs.`,
		Example: `  pharos explain www.example.com
  pharos explain www.example.com AAAA --client 192.0.2.7
  pharos explain www.example.com --resolve --svg answer.svg
  pharos explain --resolve example.com MX
  pharos explain servfail-0k3m9x2q
  pharos explain steer-0k3m9x2q
  pharos explain conn-0k3m9x2q
  pharos explain 01939a5c-7f4e-7c31-9d2a-5b6c7d8e9f00
  pharos explain www.example.com --client 192.0.2.53 --ecs 10.1.2.0/24
  pharos explain http://www.example.com/shop/cart -o json
  pharos explain --stream postgres --client 192.0.2.7 --server-name db.example.com
  pharos explain http://www.example.com/ --method POST --cookie user=7 --field 'X-Tenant: a'`,
		Args: argsBetween(0, 2, "a NAME, perhaps with a TYPE, a URL or an ID; or --stream"),
	}
	x := explaining{admin: adminFlag(c), output: outputFlag(c)}
	c.Flags().StringVarP(&x.qtype, "type", "t", "", "RR `type` of a NAME (default A)")
	c.Flags().StringVar(&x.method, "method", "GET", "request `method` of a URL")
	c.Flags().StringArrayVar(&x.fields, "field", nil, "field of a request for a URL, \"`name: value`\"")
	c.Flags().StringArrayVar(&x.cookies, "cookie", nil, "cookie of a request for a URL, `name=value`")
	c.Flags().StringVar(&x.from, "from", "", "`address` of the client to decide for (default: this machine's)")
	c.Flags().StringVar(&x.subnet, "subnet", "", "`network` that the client asks for (EDNS client subnet), if it is trusted")
	c.Flags().StringVar(&x.from, "client", "", "the same as --from")
	c.Flags().StringVar(&x.subnet, "ecs", "", "the same as --subnet")
	c.Flags().BoolVar(&x.resolve, "resolve", false, "resolve with an empty cache, and show every server asked")
	c.Flags().BoolVar(&x.request, "request", false, "the ID is that of a request, though it is no UUID")
	c.Flags().StringVar(&x.stream, "stream", "", "`name` of a stream, in place of a NAME, URL or ID")
	c.Flags().StringVar(&x.serverName, "server-name", "", "`name` that the client of a stream asks for by TLS (SNI)")
	c.Flags().StringVar(&x.picture, "svg", "", "also write the steps as a picture to this `file`")
	c.RunE = x.run
	return c
}

// explaining is what "pharos explain" was asked.
type explaining struct {
	admin           *client
	output          *output
	qtype, method   string
	fields, cookies []string
	from, subnet    string
	resolve         bool
	request         bool
	picture         string

	stream, serverName string
}

// isUUID reports whether text has the form of a request id that the gateway makes.
func isUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i, c := range text {
		isHyphen := i == 8 || i == 13 || i == 18 || i == 23
		if isHyphen != (c == '-') || !isHyphen && !strings.ContainsRune("0123456789abcdefABCDEF", c) {
			return false
		}
	}
	return true
}

func (x *explaining) run(c *cobra.Command, args []string) error {
	q := url.Values{"from": {x.from}, "subnet": {x.subnet}}
	if err := x.ask(q, args); err != nil {
		return err
	}
	var e explain.Explanation
	if err := x.admin.get(c.Context(), "/api/explain?"+q.Encode(), &e); err != nil {
		return err
	}
	if x.picture != "" {
		if err := replaceFile(x.picture, 0o644, e.WriteSVG); err != nil {
			return err
		}
	}
	return x.output.print(c.OutOrStdout(), &e, e.WriteText)
}

// ask puts what was asked for into q.
func (x *explaining) ask(q url.Values, args []string) error {
	switch {
	case x.stream != "" && len(args) > 0:
		return fmt.Errorf("%w: --stream stands in place of %q", errUsage, args[0])
	case x.serverName != "" && x.stream == "":
		return fmt.Errorf("%w: --server-name is of a client of a stream: give --stream", errUsage)
	case x.stream != "":
		q.Set("stream", x.stream)
		q.Set("serverName", x.serverName)
		return nil
	case len(args) == 0:
		return fmt.Errorf("%w: want a NAME, perhaps with a TYPE, a URL or an ID; or --stream", errUsage)
	}
	_, noFailure := iterate.ParseFailureID(args[0])
	_, noAnswer := decisions.ParseID(args[0])
	isURL := strings.Contains(args[0], "://")
	isName := noFailure != nil && noAnswer != nil && l4proxy.ParseID(args[0]) != nil && !isURL && !x.request && !isUUID(args[0])
	switch {
	case len(args) == 2 && (!isName || x.qtype != ""):
		return fmt.Errorf("%w: %q: a type belongs to a NAME, and to be said once", errUsage, args[1])
	case !isURL && len(x.fields)+len(x.cookies) > 0:
		return fmt.Errorf("%w: --field and --cookie are of a request: give a URL", errUsage)
	case isURL:
		q.Set("url", args[0])
		q.Set("method", x.method)
		q["field"] = x.fields
		if len(x.cookies) > 0 {
			q.Add("field", "Cookie: "+strings.Join(x.cookies, "; "))
		}
	case isName:
		if _, known := rdata.ParseType(strings.Join(args[1:], "")); len(args) == 2 && !known {
			return fmt.Errorf("%w: %q is no RR type", errUsage, args[1])
		}
		q.Set("name", args[0])
		q.Set("type", cmp.Or(strings.Join(args[1:], ""), x.qtype, "A"))
	default:
		q.Set("id", args[0])
	}
	if x.resolve {
		q.Set("resolve", "yes")
	}
	return nil
}
