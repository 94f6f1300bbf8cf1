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
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// This file is the commands about the records of a zone of a running node.

func newZoneGet() *cobra.Command {
	c := &cobra.Command{
		Use:   "get NAME [OWNER [TYPE]]",
		Short: "Show records of a zone as it is served",
		Long: `Show the records of a zone, of one owner name of it, or of one type at that name. The
owner is relative to the zone; "@" is its apex. Without --serial it is what is served
now, with signatures and all that is put into the zone here.`,
		Example: `  pharos zone get example.com www
  pharos zone get example.com @ MX
  pharos zone get example.com www A --serial 2026112201   # as it was`,
		Args: argsBetween(1, 3, "a zone NAME, and an OWNER and a TYPE if need be"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	serial := c.Flags().String("serial", "", "of the version with this `serial`; \"pharos zone history\" shows those there are")
	c.RunE = func(c *cobra.Command, args []string) error {
		q := url.Values{}
		for i, key := range []string{"", "owner", "type"} {
			if i > 0 && i < len(args) {
				q.Set(key, args[i])
			}
		}
		q.Set("serial", *serial)
		var records api.ZoneRecords
		if err := admin.get(c.Context(), zonePath(args[0], "records")+"?"+q.Encode(), &records); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), records, func(w io.Writer) error {
			for _, r := range records.Records {
				if _, err := fmt.Fprintf(w, "%s\t%d\tIN\t%s\t%s\n", r.Name, r.TTL, r.Type, r.Data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return c
}

func newZoneSet() *cobra.Command {
	c := &cobra.Command{
		Use:   "set NAME OWNER TTL TYPE RDATA...",
		Short: "Add, replace or delete records of a zone",
		Long: `Add a record to a zone of kind store. When the command returns, the change is on disk
and answered by; its serial is a new one, by the zone's key serial. The records of one
name and type have one TTL, so the one given is that of all.

With --replace the record takes the place of all records of its name and type. With
--delete no TTL is given; records are deleted that have the OWNER, the TYPE if given,
and the RDATA if given. The RDATA is as in a master file; names in it are relative to
the zone unless they end in a dot.`,
		Example: `  pharos zone set example.com www 1h A 192.0.2.1
  pharos zone set example.com @ 1d MX "10 mail"
  pharos zone set example.com www 5m A 192.0.2.9 --replace
  pharos zone set example.com www A 192.0.2.1 --delete    # this record
  pharos zone set example.com www A --delete              # all addresses
  pharos zone set example.com www --delete                # the whole name`,
		Args: argsBetween(2, 1<<16, "a zone NAME, an OWNER, a TTL, a TYPE and RDATA, or --delete and fewer"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	remove := c.Flags().Bool("delete", false, "delete records")
	replace := c.Flags().Bool("replace", false, "take the place of all records of the name and type")
	dryRun := c.Flags().Bool("dry-run", false, "show what would change, and change nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		edit, err := editOf(args[1:], *remove, *replace)
		if err != nil {
			return err
		}
		body, err := json.Marshal([]api.RecordEdit{edit})
		if err != nil {
			return err
		}
		var change api.ZoneChange
		if err := admin.call(c.Context(), http.MethodPost, zonePath(args[0], "records")+"?"+changeQuery(*dryRun).Encode(), body, &change); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), change, writeChange(change))
	}
	return c
}

// editOf reads OWNER TTL TYPE RDATA..., or OWNER [TYPE [RDATA...]] of a deletion.
func editOf(args []string, remove, replace bool) (api.RecordEdit, error) {
	e := api.RecordEdit{Do: "add", Owner: args[0]}
	rest := args[1:]
	switch {
	case remove && replace:
		return e, fmt.Errorf("%w: --delete and --replace do not go together", errUsage)
	case remove:
		e.Do = "delete"
		if len(rest) > 1 { // a TTL that was left in, out of habit
			if _, isType := rdata.ParseType(rest[0]); !isType {
				if _, isTTL := rdata.ParseTTL([]byte(rest[0])); isTTL {
					rest = rest[1:]
				}
			}
		}
	default:
		if len(rest) < 3 {
			return e, fmt.Errorf("%w: want OWNER TTL TYPE RDATA..., as in: pharos zone set example.com www 1h A 192.0.2.1", errUsage)
		}
		ttl, ok := rdata.ParseTTL([]byte(rest[0]))
		if !ok {
			return e, fmt.Errorf("%w: %q is no TTL; write seconds, or 1h, 30m, 1d", errUsage, rest[0])
		}
		e.TTL, rest = uint32(ttl), rest[1:]
		if replace {
			e.Do = "replace"
		}
	}
	if len(rest) > 0 {
		if _, ok := rdata.ParseType(rest[0]); !ok {
			return e, fmt.Errorf("%w: %q is no type of records; write for example A, TXT or TYPE65280", errUsage, rest[0])
		}
		e.Type, e.Data = rest[0], strings.Join(rest[1:], " ")
	}
	return e, nil
}

func newZoneImport() *cobra.Command {
	c := &cobra.Command{
		Use:   "import NAME FILE",
		Short: "Make the records of a master file the newest version of a zone",
		Long: `Make the records of a master file (RFC 1035 §5) the newest version of a zone of kind
store: what the zone has and the file has not is deleted, what only the file has is
added, all at once. The file's serial is taken if it is above the zone's; else the
zone's next one. $INCLUDE reaches files in the same folder and below. The version
before can be gone back to with "pharos zone rollback".`,
		Example: `  pharos zone import example.com example.com.zone --dry-run   # what would change?
  pharos zone import example.com example.com.zone`,
		Args: argsBetween(2, 2, "a zone NAME and a FILE"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	dryRun := c.Flags().Bool("dry-run", false, "show what would change, and change nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		if _, err := dnsname.Parse(args[0]); err != nil {
			return fmt.Errorf("%w: %w", errUsage, err)
		}
		if !isFile(args[1]) {
			if _, err := os.Stat(args[1]); err != nil {
				return err
			}
			return fmt.Errorf("%s is no file", args[1])
		}
		z, err := readZoneFile(args[0], args[1])
		if err != nil {
			return err
		}
		body, writer := io.Pipe()
		go func() { writer.CloseWithError(zonefile.Write(writer, soaFirst(z))) }() // ends with the call, which closes body
		var change api.ZoneChange
		if err := admin.send(c.Context(), zonePath(args[0], "import")+"?"+changeQuery(*dryRun).Encode(), body, &change); err != nil {
			return err
		}
		return output.print(c.OutOrStdout(), change, writeChange(change))
	}
	return c
}

func newZoneExport() *cobra.Command {
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a zone as a master file",
		Long: `Write a zone as a master file that every server reads: one record in a line, whole
names, the SOA record first. Without --serial it is what is served now, with
signatures and all that is put into the zone here.`,
		Example: `  pharos zone export example.com > example.com.zone
  pharos zone export example.com --serial 2026112201`,
		Args: argsBetween(1, 1, "one zone NAME"),
	}
	admin, output := adminFlag(c), outputFlag(c)
	serial := c.Flags().String("serial", "", "the version with this `serial`; \"pharos zone history\" shows those there are")
	c.RunE = func(c *cobra.Command, args []string) error {
		q := url.Values{"serial": {*serial}}
		if *output == "json" {
			var records api.ZoneRecords
			if err := admin.get(c.Context(), zonePath(args[0], "records")+"?"+q.Encode(), &records); err != nil {
				return err
			}
			return output.print(c.OutOrStdout(), records, nil)
		}
		return admin.download(c.Context(), zonePath(args[0], "export")+"?"+q.Encode(), c.OutOrStdout())
	}
	return c
}
