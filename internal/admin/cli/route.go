package cli

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/admin/explain"
)

func newRoute(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use: "route", Short: "Try which way requests take",
		Example: "  pharos route test http://www.example.com/users/7 -c pharos.yaml\n  pharos route test http://www.example.com/ --field 'Cookie: beta=on'",
		Args:    knownCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newRouteTest(p))
	return c
}

func newRouteTest(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "test URL",
		Short: "Show which route a request takes, and why not another",
		Long: `Show which route a request takes: the host and the paths that were looked at, each
condition that does not hold, and what becomes of the request. With --config the
routes of that file are tried, without a node, so that a change can be tried before it
is made; otherwise the running node is asked. Nothing is sent to any server.`,
		Example: `  pharos route test http://www.example.com/users/7
  pharos route test http://www.example.com/users/7 -c pharos.yaml --method POST
  pharos route test http://www.example.com/ --field 'Cookie: beta=on' --client 192.0.2.7
  pharos route test http://www.example.com/ --method POST --field 'Content-Type: application/json' --content '{"region":"eu"}'`,
		Args: argsBetween(1, 1, "a URL"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	config := c.Flags().StringP("config", "c", "", "configuration `file` whose routes are tried (default: those of the running node)")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // the flag is there
	t := api.ExplainRequest{}
	c.Flags().StringVar(&t.Method, "method", "GET", "`method` of the request")
	client := c.Flags().String("client", "", "`address` of the client (default: this machine's)")
	c.Flags().StringArrayVar(&t.Fields, "field", nil, "`line` of the request, 'name: value'; may be given many times")
	c.Flags().StringVar(&t.Content, "content", "", "`content` of the request, for routes that go by it (with --field 'Content-Type: ...')")
	c.RunE = func(c *cobra.Command, args []string) error {
		t.URL = args[0]
		var err error
		if t.From, err = netip.ParseAddr(cmp.Or(*client, "127.0.0.1")); err != nil {
			return fmt.Errorf("%w: --client: %w", errUsage, err)
		}
		e := new(explain.Explanation)
		if *config != "" {
			e, err = p.TestRoute(*config, t)
		} else {
			q := url.Values{"url": {t.URL}, "method": {t.Method}, "from": {*client}, "field": t.Fields, "content": {t.Content}, "route": {"only"}}
			err = admin.get(c.Context(), "/api/explain?"+q.Encode(), e)
		}
		if err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), e, e.WriteText)
	}
	return c
}
