package zonefile

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// tool is a program of another server that reads zone files.
type tool struct {
	program string
	// arguments for a zone; folder is for what else the tool needs.
	arguments func(t *testing.T, folder, origin, file string) []string
	// prints reports whether the tool writes the zone that it read to its output.
	prints bool
	// leavesOut has what the tool refuses whatever its form, with the reason.
	leavesOut map[string]string
}

// compileArguments has named-compilezone write in a style. Only reading is asked
// for, so every judgement on the content is off.
func compileArguments(style string) func(t *testing.T, folder, origin, file string) []string {
	return func(t *testing.T, folder, origin, file string) []string {
		return []string{
			"-i", "none", "-k", "ignore", "-n", "ignore", "-m", "ignore", "-M", "ignore", "-r", "ignore",
			"-S", "ignore", "-T", "ignore", "-W", "ignore", "-s", style, "-o", "-", origin, file,
		}
	}
}

var refusedByBIND = map[string]string{
	"MD": "BIND refuses it as obsolete (RFC 1035 §3.3.4)", "MF": "the same (RFC 1035 §3.3.5)",
	"nsec3-2": "BIND wants a hash of SHA-1's length",
}

var tools = []tool{
	{"named-compilezone", compileArguments("full"), true, refusedByBIND},
	// With $ORIGIN, $TTL, owners left out, and an SOA record over several lines.
	{"named-compilezone", compileArguments("relative"), true, refusedByBIND},
	{"nsd-checkzone", func(t *testing.T, folder, origin, file string) []string {
		return []string{"-p", origin, file}
	}, true, map[string]string{"key-1": "NSD writes a key of no octets as 0"}},
	{"ldns-read-zone", func(t *testing.T, folder, origin, file string) []string { return []string{file} }, true, map[string]string{
		"NXT":                          "ldns writes its bit map after \\#, where no length and no name belong",
		"NSAP-PTR":                     "ldns writes its name as a string",
		"cname-1":                      "ldns writes a quote in a name without the escape it needs",
		"a.b\\c\"d;e(f)g@h$i\x00\xff ": "the same",
	}},
	{"kzonecheck", func(t *testing.T, folder, origin, file string) []string {
		return []string{"-o", origin, "-d", "off", file}
	}, false, nil},
	{"knotc", func(t *testing.T, folder, origin, file string) []string {
		config := filepath.Join(folder, "knot.conf")
		text := fmt.Sprintf("server:\n  rundir: %q\ndatabase:\n  storage: %q\nzone:\n  - domain: %q\n    file: %q\n    semantic-checks: off\n", folder, folder, origin, file)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return []string{"-c", config, "zone-check", origin}
	}, false, nil},
}

// TestToolsReadOurs: other servers' tools accept what the Writer writes, and what
// they write of it is the same set of records to us.
func TestToolsReadOurs(t *testing.T) {
	zones := map[string][]rdata.Record{
		"types.example.": typesZone(t),
		"example.com.":   readAll(t, string(hostZone(200)), Options{}),
	}
	text, err := io.ReadAll(sharedFile(t, "root-2020-10-19-signed.zone.gz"))
	if err != nil {
		t.Fatal(err)
	}
	zones["."] = readAll(t, string(text), Options{})
	for _, tool := range tools {
		t.Run(tool.program, func(t *testing.T) {
			path, err := exec.LookPath(tool.program)
			if err != nil {
				if os.Getenv("PHAROS_REQUIRE_PEERS") == "1" {
					t.Fatalf("%s must be there: %v", tool.program, err)
				}
				t.Skipf("%s is not installed", tool.program)
			}
			for origin, records := range zones {
				records := slices.DeleteFunc(slices.Clone(records), tool.refuses)
				t.Run(origin, func(t *testing.T) { tool.check(t, path, origin, records) })
			}
		})
	}
}

// refuses reports whether record is one that the tool leaves out.
func (tool tool) refuses(record rdata.Record) bool {
	return tool.leavesOut[record.Type.String()] != "" || tool.leavesOut[record.Name.Label()] != ""
}

func (tool tool) check(t *testing.T, path, origin string, records []rdata.Record) {
	folder := t.TempDir()
	file := filepath.Join(folder, "written.zone")
	var written bytes.Buffer
	if err := Write(&written, slices.Values(records)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, written.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, path, tool.arguments(t, folder, origin, file)...)
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	if err := command.Run(); err != nil {
		t.Fatalf("%v: %v\n%s%s", command, err, complaints.Bytes(), firstLines(output.String()))
	}
	if !tool.prints {
		return
	}
	back := readAll(t, output.String(), Options{Origin: dnsname.MustParse(origin), File: tool.program})
	compareRecords(t, sorted(back), sorted(records))
}

func firstLines(text string) string {
	lines := strings.SplitN(text, "\n", 20)
	return strings.Join(lines[:min(len(lines), 19)], "\n")
}

// sorted returns records in a fixed order, each once, the owners' case and the
// RDATA names' case apart: tools may write names in the case in which they saw
// them first.
func sorted(records []rdata.Record) []rdata.Record {
	records = slices.Clone(records)
	for i, record := range records {
		if layout := rdata.LayoutOf(record.Type); layout.Names > 0 && layout.Prefix >= 0 {
			records[i].Data = slices.Clone(record.Data)
			at := layout.Prefix
			for range layout.Names {
				name, n, _ := dnsname.FromWire(record.Data[at:])
				copy(records[i].Data[at:], name.Wire())
				at += n
			}
		}
	}
	slices.SortFunc(records, func(a, b rdata.Record) int {
		if c := a.Name.Compare(b.Name); c != 0 {
			return c
		}
		if a.Type != b.Type {
			return int(a.Type) - int(b.Type)
		}
		return bytes.Compare(a.Data, b.Data)
	})
	return slices.CompactFunc(records, sameRecord)
}

// typesZone reads testdata/types.zone, which has every type that miekg/dns knows
// and a zone can hold.
func typesZone(t *testing.T) []rdata.Record {
	t.Helper()
	text, err := os.ReadFile("testdata/types.zone")
	if err != nil {
		t.Fatal(err)
	}
	records := readAll(t, string(text), Options{File: "types.zone"})
	for number := range dns.TypeToRR {
		rrtype := rdata.Type(number)
		has := slices.ContainsFunc(records, func(r rdata.Record) bool { return r.Type == rrtype })
		if !has && !rrtype.IsMeta() && rrtype != rdata.TypeNULL {
			t.Errorf("types.zone has no record of type %v", rrtype)
		}
	}
	return records
}

// TestTypesRoundTrip: the Writer's form of every type is read as the same record.
func TestTypesRoundTrip(t *testing.T) {
	records := typesZone(t)
	var written bytes.Buffer
	if err := Write(&written, slices.Values(records)); err != nil {
		t.Fatal(err)
	}
	compareRecords(t, readAll(t, written.String(), Options{}), records)
}
