package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
)

// This file is what can be done with the keys of a zone that a node signs.

func newZoneKeys(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "keys NAME",
		Short: "Show the keys of a signed zone, and what comes next for each",
		Long: `Show the keys that a zone is signed with: where each is in its life, how far the
caches of the world know its records, and what comes next.

The states of records are those of RFC 7583: hidden, rumoured (published, but not
known everywhere), omnipresent, unretentive (taken away, but not forgotten
everywhere). No step is taken before the one before is certain: all servers of the
zone and, for DS, of the parent show it, and every cache has let go of what was
before.`,
		Example: `  pharos zone keys example.com
  pharos zone keys example.com -o json
  pharos zone keys import example.com Kexample.com.+013+12345.private --role csk
  pharos zone keys export example.com 12345 -c /etc/pharos/pharos.yaml`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		var k api.ZoneKeys
		if err := admin.get(c.Context(), zonePath(args[0], "keys"), &k); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), k, func(w io.Writer) error { return writeKeys(w, k) })
	}
	c.AddCommand(newKeysImport(), newKeysWithdraw(), newKeysExport(p), newKeysGenerate(), newKeysRequest(), newKeysSign(), newKeysTake())
	return c
}

func writeKeys(w io.Writer, k api.ZoneKeys) error {
	fmt.Fprintf(w, "zone %s, policy %s, serial %d", k.Name, orDash(k.Policy), k.Serial)
	if !k.Renew.IsZero() {
		fmt.Fprintf(w, "; signatures are renewed from %s on, the first would end %s", clockTime(k.Renew), clockTime(k.Expires))
	}
	fmt.Fprintln(w)
	if k.Of > 0 {
		fmt.Fprintf(w, "being signed: %d %%\n", 100*k.Done/k.Of)
	}
	if k.Algorithm != "" {
		fmt.Fprintf(w, "algorithm: %s\n", k.Algorithm)
	}
	for _, s := range k.Waiting {
		fmt.Fprintf(w, "waits for a server: %s\n", s)
	}
	if k.Offline != nil {
		writeOffline(w, k.Offline)
	}
	if k.Problem != "" {
		fmt.Fprintf(w, "problem: %s\n", k.Problem)
	}
	return table(w, "TAG\tROLE\tALGORITHM\tSTATE\tDNSKEY\tSIGNATURES\tDS\tNEXT\tWHEN", func(row func(...any)) {
		for _, key := range k.Keys {
			tag, when := strconv.Itoa(int(key.Tag)), "-"
			if key.Record == "" {
				tag = "-"
			}
			if !key.At.IsZero() {
				when = clockTime(key.At)
			}
			row(tag, key.Role, key.Algorithm, key.State, key.DNSKEY, key.Signatures, key.DS, key.Next, when)
		}
	})
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func clockTime(t time.Time) string { return t.UTC().Format(time.DateTime) }

func newZoneRollover() *cobra.Command {
	c := &cobra.Command{
		Use:   "rollover NAME ROLE",
		Short: "Replace the keys of a zone: zsk, ksk or csk; or show how far another algorithm is",
		Long: `Have new keys made for a role of a signed zone, and the old ones leave when nobody
can need them any more: a ZSK by pre-publication, a KSK or CSK with the old one
beside it until the parent shows the new DS. It takes as long as the caches of the
world do; "pharos zone keys" shows how far it is.

With --compromised the margins of the policy are left out and the old key is never
taken back, but nobody is left without a chain of trust.

Another algorithm begins with the policy: change dnssec.policies[].algorithm and
reload. It then goes on by itself, as RFC 6781 §4.1.4 has it: signatures of the new
algorithm, its keys, its DS at the parent, then the old keys and signatures leave; before
each step all servers of the zone and the parent are looked at. With the word
algorithm this command shows how far that is.`,
		Example: `  pharos zone rollover example.com zsk
  pharos zone rollover example.com algorithm
  pharos zone rollover example.com csk --compromised`,
		Args: argsBetween(2, 2, "a zone NAME and a ROLE: zsk, ksk or csk, or the word algorithm"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	compromised := c.Flags().Bool("compromised", false, "the old keys may be in other hands")
	c.RunE = func(c *cobra.Command, args []string) error {
		query := url.Values{"role": {args[1]}}
		if *compromised {
			query.Set("compromised", "true")
		}
		return admin.change(c, *output, request{http.MethodPost, zonePath(args[0], "rollover") + "?" + query.Encode(), nil})
	}
	return c
}

func newZoneDS() *cobra.Command {
	c := &cobra.Command{
		Use:   "ds NAME",
		Short: "Show what the parent of a signed zone should have, and whether it does",
		Long: `Show the DS records that the parent of a zone should have, the DNSKEY records they
are of, and the CDS and CDNSKEY records by which the zone asks for them. Give the
registrar what it wants of these, if it does not look for CDS by itself.

Whether the parent shows them is what was seen when it was last asked; each call has
it asked again. Where a node cannot ask (no dnssec.policies[].parent, no resolver), or
should not, --submitted says that the parent has them.`,
		Example: `  pharos zone ds example.com
  pharos zone ds example.com --submitted`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	submitted := c.Flags().Bool("submitted", false, "the parent has them: go on")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *submitted {
			return admin.change(c, *output, request{http.MethodPost, zonePath(args[0], "ds"), nil})
		}
		var ds api.ZoneDS
		if err := admin.get(c.Context(), zonePath(args[0], "ds"), &ds); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), ds, func(w io.Writer) error { return writeDS(w, ds) })
	}
	return c
}

func writeDS(w io.Writer, ds api.ZoneDS) error {
	switch {
	case !ds.Ready:
		fmt.Fprintf(w, "; not yet: the keys of %s are not known everywhere; see \"pharos zone keys %s\"\n", ds.Name, ds.Name)
	case ds.Remove:
		fmt.Fprintf(w, "; the parent of %s should have no DS record\n", ds.Name)
	}
	for _, part := range []struct {
		about string
		lines []string
	}{{"what the parent should have", ds.DS}, {"of these keys", ds.DNSKEY}, {"what the zone shows", ds.CDS}} {
		if len(part.lines) > 0 {
			fmt.Fprintf(w, "; %s\n%s\n", part.about, strings.Join(part.lines, "\n"))
		}
	}
	switch {
	case ds.Problem != "":
		fmt.Fprintf(w, "; problem: %s\n", ds.Problem)
	case ds.Shown == "unknown":
		fmt.Fprintln(w, "; whether the parent shows it is not known; say so with --submitted")
	case ds.Shown == "yes":
		fmt.Fprintf(w, "; the parent shows it (asked %s)\n", clockTime(ds.Asked))
	default:
		fmt.Fprintf(w, "; the parent does not show it yet: it shows keys %v (asked %s)\n", ds.Tags, clockTime(ds.Asked))
	}
	writeTold(w, ds.Told)
	return nil
}

// writeTold says what became of telling the parent; nil: there was nothing to tell.
func writeTold(w io.Writer, told *api.ParentTold) {
	switch {
	case told == nil:
	case told.Error != "" && told.Done:
		fmt.Fprintf(w, "; the parent was not told of it: %s\n", told.Error)
	case told.Error != "":
		fmt.Fprintf(w, "; the parent is told of it again later: %s\n", told.Error)
	case told.Done:
		fmt.Fprintf(w, "; the parent was told of it, %s (%s)\n", told.To, clockTime(told.At))
	default:
		fmt.Fprintln(w, "; the parent is being told of it")
	}
}

func newKeysImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import NAME FILE",
		Short: "Take in a key that was made elsewhere",
		Long: `Take a key into a signed zone: to go on with the keys of the server that the zone
comes from, to bring a KSK that was made offline, or to publish the key of another
signer of the zone (RFC 8901).

FILE is K*.private of BIND, Knot's or ldns' tools, with K*.key beside it; or PKCS #8 in
PEM; or, for a key of another signer, a DNSKEY record in master file form. The
key takes over from that of the same role and algorithm as in a rollover. With --offline
a DNSKEY record alone is that of the zone's own KSK, whose private half stays on another
machine (dnssec.policies[].offlineKSK).`,
		Example: `  pharos zone keys import example.com Kexample.com.+013+12345.private
  pharos zone keys import example.com ksk.pem --role ksk --algorithm 13
  pharos zone keys import example.com other-signer.key
  pharos zone keys import example.com Kexample.com.+013+12345.key --offline`,
		Args: argsBetween(2, 2, "a zone NAME and a FILE"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	role := c.Flags().String("role", "", "ksk, zsk or csk (default: by the key's flags and the zone's policy)")
	algorithm := c.Flags().Uint8("algorithm", 0, "`number` of the algorithm of a key in PEM (default: the usual one of its kind)")
	offline := c.Flags().Bool("offline", false, "it is our own KSK, and signs on another machine")
	c.RunE = func(c *cobra.Command, args []string) error {
		k, err := readImport(args[1])
		if err != nil {
			return err
		}
		k.Role, k.Algorithm, k.Offline = *role, *algorithm, *offline
		body, err := json.Marshal(k)
		if err != nil {
			return err
		}
		return admin.change(c, *output, request{http.MethodPost, zonePath(args[0], "keys"), body})
	}
	return c
}

// readImport reads a key in one of its forms, which it is told by its content.
func readImport(file string) (api.KeyImport, error) {
	var k api.KeyImport
	text, err := os.ReadFile(file)
	if err != nil {
		return k, fmt.Errorf("the key: %w", err)
	}
	switch {
	case strings.Contains(string(text), "-----BEGIN"):
		k.PEM = string(text)
	case strings.Contains(string(text), "Private-key-format"):
		public, err := os.ReadFile(strings.TrimSuffix(file, ".private") + ".key")
		if err != nil {
			return k, fmt.Errorf("the public half, which lies beside the private one: %w", err)
		}
		k.Private, k.Public = string(text), string(public)
	default:
		k.Public = string(text)
	}
	return k, nil
}

func newKeysWithdraw() *cobra.Command {
	c := &cobra.Command{
		Use:     "withdraw NAME TAG",
		Short:   "No longer publish a key of another signer",
		Example: "  pharos zone keys withdraw example.com 54321",
		Args:    argsBetween(2, 2, "a zone NAME and the TAG of a key"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		return admin.change(c, *output, request{http.MethodPost, zonePath(args[0], "withdraw") + "?tag=" + url.QueryEscape(args[1]), nil})
	}
	return c
}

func newKeysExport(p Programs) *cobra.Command {
	c := &cobra.Command{
		Use:   "export NAME TAG",
		Short: "Print a private key of a zone",
		Long: `Print a key of a signed zone with its private half, to be taken to another server or
into a safe. It is read from the data folder, so it needs the rights to that and to
the key that it is encrypted with; no running node gives it away.`,
		Example: `  pharos zone keys export example.com 12345 -c /etc/pharos/pharos.yaml > key.pem
  pharos zone keys export example.com 12345 --form bind > Kexample.com.+013+12345.private`,
		Args: argsBetween(2, 2, "a zone NAME and the TAG of a key"),
	}
	config := configFlag(c)
	form := c.Flags().String("form", "pem", "`form`: pem (PKCS #8) or bind (as in a file K*.private)")
	c.RunE = func(c *cobra.Command, args []string) error {
		tag, err := strconv.ParseUint(args[1], 10, 16)
		if err != nil || *form != "pem" && *form != "bind" {
			return fmt.Errorf("%w: want a zone NAME, the TAG of a key, and --form pem or bind", errUsage)
		}
		text, err := p.ExportKey(*config, args[0], uint16(tag), *form)
		if err != nil {
			return err
		}
		_, err = c.OutOrStdout().Write(text)
		return err
	}
	return c
}
