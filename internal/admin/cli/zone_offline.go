package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/admin/api"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/skr"
	"pharos/internal/clock"
	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
)

// This file is what is done for a zone whose KSK is on a machine without a network:
// ksr and import-skr where the node is, generate and sign-ksr where the KSK is.

func writeOffline(w io.Writer, o *api.Offline) {
	if !o.Until.IsZero() {
		fmt.Fprintf(w, "offline KSK: what it has signed ends %s\n", clockTime(o.Until))
	}
	if o.Lacks != "" {
		fmt.Fprintf(w, "offline KSK: %s\n", o.Lacks)
	}
}

func newKeysGenerate() *cobra.Command {
	c := &cobra.Command{
		Use:   "generate NAME",
		Short: "Make a KSK in files, on a machine without a network",
		Long: `Make a key with the flag SEP for a zone, and write K<zone>+<algorithm>+<tag>.key and
.private, as other tools have them. No node is asked. For a KSK that stays where this
command is run: take the .key file to the node, and import it with --offline.`,
		Example: `  pharos zone keys generate example.com --algorithm ecdsap256sha256 --folder /media/vault`,
		Args:    argsBetween(1, 1, "one zone NAME"),
	}
	algorithm := c.Flags().String("algorithm", "ecdsap256sha256", "mnemonic or `number`; that of the zone's policy")
	folder := c.Flags().String("folder", ".", "where the files are written")
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		zone, err := dnsname.Parse(args[0])
		if err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		a, err := parseAlgorithm(*algorithm)
		if err != nil {
			return fmt.Errorf("%w: --algorithm: %w", errUsage, err)
		}
		k, err := sign.Generate(sign.KSK, a, 0)
		if err != nil {
			return err
		}
		now := clock.Now()
		pair := sign.Pair{Key: k, Owner: zone, Times: map[string]time.Time{"Created": now}}
		if err := writePair(*folder, pair); err != nil {
			return err
		}
		made := struct {
			Name string `json:"name"` // of both files, without what is behind the last dot
			Tag  uint16 `json:"tag"`
		}{pair.FileName(), k.Tag()}
		return output.print(c.OutOrStdout(), made, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, made.Name)
			return err
		})
	}
	return c
}

func newKeysRequest() *cobra.Command {
	c := &cobra.Command{
		Use:   "ksr NAME",
		Short: "Make a key signing request for a KSK that is elsewhere",
		Long: `Make the keys that a zone will need for some time, and write what its offline KSK has
to sign for that: every DNSKEY, CDS and CDNSKEY RRset that may be wanted, whichever
rollover comes early or late. Take the file to the machine with the KSK, sign it there
with "pharos zone keys sign-ksr", and bring the response back with "pharos zone keys
import-skr". What was signed before stays good beside it.

The fingerprint that is printed is the one that sign-ksr shows: compare them.

With --format knot or bind the request is for "keymgr sign-ksr" or "dnssec-ksr sign": the
KSK and what the parent is asked for are then theirs to add. Their policy needs the
algorithm, the TTL of keys and at least the signatureLifetime of this zone's policy, and has
to publish CDS and CDNSKEY always. import-skr reads what they write.`,
		Example: `  pharos zone keys ksr example.com --for 365d --out example.com.ksr
  pharos zone keys ksr example.com --for 90d --format knot --out example.com.ksr
  pharos zone keys ksr example.com --from 2027-01-01T00:00:00Z --for 180d --out 2027a.ksr`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	span := c.Flags().String("for", "365d", "the `time` that is to be signed for, such as 180d")
	from := c.Flags().String("from", "", "when it begins, as in RFC 3339 (default: now)")
	out := c.Flags().String("out", "-", "the `file` of the request; -: standard output")
	form := c.Flags().String("format", "pharos", "who is to sign: `pharos|knot|bind`")
	c.RunE = func(c *cobra.Command, args []string) error {
		if f := skr.Form(*form); f != "pharos" && f != skr.Knot && f != skr.BIND {
			return fmt.Errorf("%w: --format %s: want pharos, knot or bind", errUsage, *form)
		}
		var d document.Duration
		if err := d.UnmarshalText([]byte(*span)); err != nil {
			return fmt.Errorf("%w: --for: %q %w", errUsage, *span, err)
		}
		query := url.Values{"for": {d.String()}}
		if *from != "" {
			query.Set("from", *from)
		}
		var r api.KeyRequest
		if err := admin.call(c.Context(), http.MethodPost, zonePath(args[0], "ksr")+"?"+query.Encode(), nil, &r); err != nil {
			return err
		}
		if *form != "pharos" {
			if err := rewriteRequest(&r, skr.Form(*form)); err != nil {
				return err
			}
		}
		if *out == "-" {
			return output.print(c.OutOrStdout(), r, func(w io.Writer) error {
				fmt.Fprintln(c.ErrOrStderr(), "fingerprint", r.Fingerprint)
				_, err := io.WriteString(w, r.File)
				return err
			})
		}
		if err := os.WriteFile(*out, []byte(r.File), 0o644); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), r, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s: %d RRsets, each with %d signatures, from %s until %s\nfingerprint %s\n",
				*out, r.Sets, r.Signatures/max(r.Sets, 1), clockTime(r.From), clockTime(r.Until), r.Fingerprint)
			return err
		})
	}
	return c
}

// rewriteRequest has the file of a request be in the form of another program.
func rewriteRequest(r *api.KeyRequest, form skr.Form) error {
	request, err := skr.ParseRequest([]byte(r.File))
	if err != nil {
		return err
	}
	file, err := request.EncodeAs(form)
	if err != nil {
		return err
	}
	r.File, r.Fingerprint = string(file), skr.Fingerprint(file)
	return nil
}

func newKeysSign() *cobra.Command {
	c := &cobra.Command{
		Use:   "sign-ksr FILE --key KEY",
		Short: "Sign a key signing request, on the machine with the KSK",
		Long: `Sign what a key signing request asks for with one or several KSKs, and write the
signed key response. No node is asked and nothing is looked up: this is for a machine
without a network. Before the response leaves it, compare the fingerprint of the
request with that which "pharos zone keys ksr" has printed, and look at the keys.

A KSK is K*.private with K*.key beside it, as BIND, Knot's and ldns' tools have it.`,
		Example: `  pharos zone keys sign-ksr example.com.ksr --key Kexample.com.+013+12345 --out example.com.skr`,
		Args:    argsBetween(1, 1, "the FILE of a request"),
	}
	files := c.Flags().StringArray("key", nil, "a KSK: `K*`.private, with K*.key beside it; again for more")
	out := c.Flags().String("out", "", "the `file` of the response; -: standard output (required)")
	output := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(*files) == 0 || *out == "" {
			return fmt.Errorf("%w: want the FILE of a request, --key and --out", errUsage)
		}
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		r, err := skr.ParseRequest(text)
		if err != nil {
			return err
		}
		keys, err := readKSKs(*files, r.Zone)
		if err != nil {
			return err
		}
		response, err := skr.Sign(r, skr.Fingerprint(text), keys)
		if err != nil {
			return err
		}
		file, err := response.Encode()
		if err != nil {
			return err
		}
		if *out == "-" {
			_, err := c.OutOrStdout().Write(file)
			return err
		}
		if err := os.WriteFile(*out, file, 0o644); err != nil {
			return err
		}
		said := describeSigned(r, response)
		return output.print(c.OutOrStdout(), said, said.write)
	}
	return c
}

// ceremony is what has been signed, for those who watch.
type ceremony struct {
	Zone        string    `json:"zone"`
	Fingerprint string    `json:"fingerprint"` // of the request
	From        time.Time `json:"from"`
	Until       time.Time `json:"until"`
	Sets        int       `json:"sets"`
	Signatures  int       `json:"signatures"`
	Tags        []uint16  `json:"tags"` // of the keys that the request speaks of
}

func describeSigned(r *skr.Request, response *skr.Response) ceremony {
	said := ceremony{Zone: r.Zone.String(), Fingerprint: response.Request, From: r.Row.From, Until: r.Row.Until, Sets: len(response.Sets)}
	for _, s := range response.Sets {
		said.Signatures += len(s.Signatures)
	}
	for _, k := range r.Keys {
		said.Tags = append(said.Tags, dnssec.KeyTag(k))
	}
	return said
}

func (s ceremony) write(w io.Writer) error {
	_, err := fmt.Fprintf(w, "zone %s, from %s until %s\nkeys %d\n%d RRsets, %d signatures\nfingerprint of the request %s\n",
		s.Zone, clockTime(s.From), clockTime(s.Until), s.Tags, s.Sets, s.Signatures, s.Fingerprint)
	return err
}

func readKSKs(files []string, zone dnsname.Name) ([]*sign.Key, error) {
	var keys []*sign.Key
	for _, file := range files {
		pair, err := readPair(file)
		if err != nil {
			return nil, err
		}
		if pair.Owner != zone {
			return nil, fmt.Errorf("%s is a key of zone %s, the request is for %s", file, pair.Owner, zone)
		}
		keys = append(keys, pair.Key)
	}
	return keys, nil
}

func newKeysTake() *cobra.Command {
	c := &cobra.Command{
		Use:   "import-skr NAME FILE",
		Short: "Take in what an offline KSK has signed",
		Long: `Take in a signed key response of "pharos zone keys sign-ksr", of Knot's "keymgr sign-ksr"
or of BIND's "dnssec-ksr sign". Every signature in it is verified with the keys of the
zone first; one that is not good has the whole file refused. They are used when their time
comes. "pharos zone keys" shows until when they last, and the problem
dnssec-offline-ending warns before that.`,
		Example: `  pharos zone keys import-skr example.com example.com.skr`,
		Args:    argsBetween(2, 2, "a zone NAME and the FILE of a response"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[1])
		if err != nil {
			return err
		}
		body, err := json.Marshal(api.KeyResponse{File: string(text)})
		if err != nil {
			return err
		}
		return admin.change(c, *output, request{http.MethodPost, zonePath(args[0], "skr"), body})
	}
	return c
}
