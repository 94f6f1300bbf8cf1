package cli

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pharos/internal/authority/gate"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonefile"
)

// This file is what can be done with a master file, without a node.

// isFile reports whether an argument is a master file, and not the name of a zone.
func isFile(arg string) bool {
	st, err := os.Stat(arg)
	return err == nil && !st.IsDir()
}

// originFlag adds the flag for the name of the zone in a file.
func originFlag(c *cobra.Command) *string {
	return c.Flags().String("origin", "", "`name` of the zone in the file (default: that of its SOA record, or of the file)")
}

// unknownOrigin stands for the origin while it is looked for.
var unknownOrigin = dnsname.MustParse("origin.invalid.")

// originOf returns the name of the zone in a file: what the flag says, else the
// owner of the SOA record, else the file's name without what such names end in.
func originOf(flag, file string) (dnsname.Name, error) {
	if flag != "" {
		origin, err := dnsname.Parse(flag)
		if err != nil {
			return origin, fmt.Errorf("%w: --origin: %w", errUsage, err)
		}
		return origin, nil
	}
	found := unknownOrigin
	// Mistakes are for who reads the file for good.
	_ = masterfile.Records(unknownOrigin, file, masterfile.Limits{}, nil, func(r rdata.Record) {
		if r.Type == rdata.TypeSOA && found == unknownOrigin {
			found = r.Name.Clone()
		}
	})
	if found != unknownOrigin {
		return found, nil
	}
	name := strings.TrimPrefix(filepath.Base(file), "db.")
	for _, suffix := range []string{".gz", ".zone", ".db", ".signed", ".txt", ".master"} {
		name = strings.TrimSuffix(name, suffix)
	}
	origin, err := dnsname.Parse(name)
	if err != nil {
		return origin, fmt.Errorf("%w: %s does not say which zone it is; name it with --origin", errUsage, file)
	}
	return origin, nil
}

// readZoneFile reads a master file as a zone; warnings are left to "zone check".
func readZoneFile(flag, file string) (*zone.Zone, error) {
	origin, err := originOf(flag, file)
	if err != nil {
		return nil, err
	}
	z, problems, err := masterfile.Read(origin, file, masterfile.Limits{}, nil)
	if err != nil {
		return nil, err
	}
	if z == nil {
		var fatal []error
		for _, p := range problems {
			if p.Severity == zone.Fatal {
				fatal = append(fatal, fmt.Errorf("%s: %s", file, p))
			}
		}
		return nil, errors.Join(fatal...)
	}
	return z, nil
}

// fileCheck is what "pharos zone check FILE" prints.
type fileCheck struct {
	File     string        `json:"file"`
	Origin   string        `json:"origin"`
	Serial   uint32        `json:"serial"`
	Names    int           `json:"names"`
	Records  int           `json:"records"`
	Signed   bool          `json:"signed"`
	Findings []fileFinding `json:"findings"`
}

// fileFinding is one thing that is wrong with a file.
type fileFinding struct {
	Severity string `json:"severity"` // "fatal": it would not be served; "warning"
	Name     string `json:"name,omitempty"`
	Type     string `json:"type,omitempty"`
	Text     string `json:"text"`
}

// checkFile finds everything that is wrong with a master file. A digest that does not fit
// is said even where the node would not look.
func checkFile(origin dnsname.Name, file string, rules gate.Rules, limits masterfile.Limits, now time.Time) fileCheck {
	rules.ZONEMD = max(rules.ZONEMD, gate.Warn)
	out := fileCheck{File: file, Origin: origin.String(), Findings: []fileFinding{}}
	z, problems, err := masterfile.Read(origin, file, limits, nil)
	for line := range strings.Lines(errorText(err)) {
		out.Findings = append(out.Findings, fileFinding{Severity: zone.Fatal.String(), Text: strings.TrimSuffix(line, "\n")})
	}
	for _, p := range problems {
		out.add(p)
	}
	if z != nil {
		out.Serial, out.Signed = uint32(z.Serial()), z.IsSigned()
		out.Names, out.Records, _ = z.Stats()
		for _, f := range gate.Check(nil, z, nil, rules, now) {
			severity := zone.Warning
			if f.Refused {
				severity = zone.Fatal
			}
			out.add(zone.Problem{Severity: severity, Name: f.Name, Type: f.Type, Text: f.Text})
		}
	}
	slices.SortStableFunc(out.Findings, func(a, b fileFinding) int { return cmp.Compare(a.Severity, b.Severity) })
	return out
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// add adds a finding, once.
func (c *fileCheck) add(p zone.Problem) {
	f := fileFinding{Severity: p.Severity.String(), Name: p.Name.String(), Text: p.Text}
	if p.Type != 0 {
		f.Type = p.Type.String()
	}
	if !slices.Contains(c.Findings, f) {
		c.Findings = append(c.Findings, f)
	}
}

// count returns how many findings have a severity.
func (c *fileCheck) count(severity string) (n int) {
	for _, f := range c.Findings {
		if f.Severity == severity {
			n++
		}
	}
	return n
}

func (c *fileCheck) writeText(w io.Writer) error {
	for _, f := range c.Findings {
		place := strings.TrimSpace(f.Name + " " + f.Type)
		if place != "" {
			place += ": "
		}
		fmt.Fprintf(w, "%s: %s%s\n", f.Severity, place, f.Text)
	}
	if c.count("fatal") > 0 {
		_, err := fmt.Fprintf(w, "%s: zone %s would not be served\n", c.File, c.Origin)
		return err
	}
	signed := ""
	if c.Signed {
		signed = ", signed"
	}
	_, err := fmt.Fprintf(w, "%s: zone %s: serial %d, %d names, %d records%s\n", c.File, c.Origin, c.Serial, c.Names, c.Records, signed)
	return err
}

// runCheckFile is "pharos zone check FILE".
func runCheckFile(c *cobra.Command, file, originFlag string, of func(dnsname.Name) (gate.Rules, masterfile.Limits, error), strict bool, output output) error {
	origin, err := originOf(originFlag, file)
	if err != nil {
		return err
	}
	rules, limits, err := of(origin)
	if err != nil {
		return err
	}
	check := checkFile(origin, file, rules, limits, clock.Now())
	if err := output.print(c.OutOrStdout(), check, check.writeText); err != nil {
		return err
	}
	fatal, warnings := check.count("fatal"), check.count("warning")
	if fatal > 0 || strict && warnings > 0 {
		return fmt.Errorf("%s: %d fatal findings, %d warnings", file, fatal, warnings)
	}
	return nil
}

// recordChange is a record that only one of two versions has.
type recordChange struct {
	Change string `json:"change"` // "deleted", "added"
	Record string `json:"record"`
}

// newZoneDiff returns "pharos zone diff": for two files, or for two versions of a
// running node's zone.
func newZoneDiff() *cobra.Command {
	c := &cobra.Command{
		Use:   "diff OLD NEW | NAME [SERIAL [SERIAL]]",
		Short: "Show which records differ between two master files, or two versions of a zone",
		Long: `Show the records that only one of two versions of a zone has, in canonical order,
whatever the order, spelling and comments of the files: - deleted, + added. With
--exit-code the exit code is 1 if there are any.

OLD and NEW are master files. With the NAME of a zone of a running node, its newest
version is shown against the one before it, against the one with a SERIAL, or the
second SERIAL against the first; "pharos zone history" shows which there are.`,
		Example: `  pharos zone diff example.com.zone.old example.com.zone
  pharos zone diff example.com                          # the last change
  pharos zone diff example.com 2026112201 2026112205`,
		Args: argsBetween(1, 3, "two files, OLD and NEW, or a zone NAME and serials"),
	}
	admin, output, origin := adminFlag(c), outputFlag(c), originFlag(c)
	code := c.Flags().Bool("exit-code", false, "exit with 1 if there are differences")
	c.RunE = func(c *cobra.Command, args []string) error {
		run := func() (int, error) { return runZoneDiff(c, admin, output, args) }
		if len(args) == 2 && (isFile(args[0]) || isFile(args[1])) {
			run = func() (int, error) { return runFileDiff(c, output, *origin, args) }
		}
		count, err := run()
		if err == nil && *code && count > 0 {
			return fmt.Errorf("%d records differ", count)
		}
		return err
	}
	return c
}

// runFileDiff is "pharos zone diff OLD NEW".
func runFileDiff(c *cobra.Command, output *output, origin string, files []string) (count int, err error) {
	var zones [2]*zone.Zone
	for i, file := range files {
		if zones[i], err = readZoneFile(origin, file); err != nil {
			return 0, err
		}
	}
	if a, b := zones[0].Origin(), zones[1].Origin(); a != b {
		return 0, fmt.Errorf("%s has zone %s, %s has %s; name the zone of both with --origin", files[0], a, files[1], b)
	}
	changes := []recordChange{}
	for r, isAdded := range journal.Changes(zones[0], zones[1]) {
		change := recordChange{"deleted", r.String()}
		if isAdded {
			change.Change = "added"
		}
		changes = append(changes, change)
	}
	return len(changes), output.print(c.OutOrStdout(), changes, func(w io.Writer) error { return writeChanges(w, changes) })
}

func writeChanges(w io.Writer, changes []recordChange) error {
	b := bufio.NewWriter(w)
	for _, c := range changes {
		fmt.Fprintf(b, "%s%s\n", map[string]string{"deleted": "-", "added": "+"}[c.Change], c.Record)
	}
	return b.Flush()
}

// newZoneFormat returns "pharos zone format".
func newZoneFormat() *cobra.Command {
	c := &cobra.Command{
		Use:   "format FILE",
		Short: "Write a master file in canonical order and one spelling",
		Long: `Write the zone of a master file with one record in a line, whole names, the SOA
record first, and names in canonical order (RFC 4034 §6.1): every server reads it.
$INCLUDE and $GENERATE are carried out, comments are left out, duplicates too.`,
		Example: "  pharos zone format example.com.zone > new.zone",
		Args:    argsBetween(1, 1, "one FILE"),
	}
	origin := originFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		z, err := readZoneFile(*origin, args[0])
		if err != nil {
			return err
		}
		return zonefile.Write(c.OutOrStdout(), soaFirst(z))
	}
	return c
}

// soaFirst yields the records of a zone as Records does, but the SOA record first:
// there people look for it, and some programs too.
func soaFirst(z *zone.Zone) iter.Seq[rdata.Record] {
	isSOA := func(r rdata.Record) bool { return r.Type == rdata.TypeSOA && r.Name == z.Origin() }
	return func(yield func(rdata.Record) bool) {
		for _, first := range []bool{true, false} {
			for r := range z.Records() {
				if isSOA(r) == first && !yield(r) {
					return
				}
				if first && r.Name != z.Origin() {
					break
				}
			}
		}
	}
}
