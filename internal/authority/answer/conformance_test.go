package answer

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnswire"
)

// conformanceCase is a line of authoritative-answers.jsonl.gz: a zone, a
// question, and the distinct responses that four servers gave.
type conformanceCase struct {
	ID     int      `json:"id"`
	Zone   []string `json:"zone"`
	QName  string   `json:"qname"`
	QType  string   `json:"qtype"`
	Tag    string   `json:"tag"`
	Groups []struct {
		Who        []string `json:"who"`
		Rcode      string   `json:"rcode"`
		Flags      []string `json:"flags"`
		Answer     []string `json:"an"`
		Authority  []string `json:"ns"`
		Additional []string `json:"ar"`
	} `json:"groups"`
}

// majority returns the size of the largest group.
func (c conformanceCase) majority() int {
	largest := 0
	for _, g := range c.Groups {
		largest = max(largest, len(g.Who))
	}
	return largest
}

// TestConformance asks each public case of its own zone. The response must be
// that of the largest group of servers; where groups are equally large, that of
// any of them.
func TestConformance(t *testing.T) {
	skips := readSkips(t)
	cases, passed, skipped := 0, 0, 0
	forEachCase(t, func(c conformanceCase) {
		cases++
		if reason := skips[fmt.Sprint(c.ID)]; reason != "" {
			skipped++
			delete(skips, fmt.Sprint(c.ID))
			t.Logf("case %d skipped: %s", c.ID, reason)
			return
		}
		var wants []string
		for _, g := range c.Groups {
			if len(g.Who) == c.majority() {
				wants = append(wants, canonicalResponse(t, g.Rcode, g.Flags, g.Answer, g.Authority, g.Additional))
			}
		}
		got := askCase(t, c)
		if slices.Contains(wants, got) {
			passed++
			return
		}
		t.Errorf("case %d (%s): %s %s in\n  %s\n got %s\nwant %s", c.ID, c.Tag, c.QName, c.QType,
			strings.Join(c.Zone, "\n  "), got, strings.Join(wants, "\n  or "))
	})
	for id, reason := range skips {
		t.Errorf("the skip file names case %s (%s), which does not exist", id, reason)
	}
	t.Logf("authoritative answers: %d cases, %d passed, %d skipped", cases, passed, skipped)
}

// askCase returns the response to a case's question in canonical form.
func askCase(t *testing.T, c conformanceCase) string {
	t.Helper()
	z := buildZone(t, strings.Fields(c.Zone[0])[0], strings.Join(c.Zone, "\n"))
	qtype := dns.StringToType[c.QType]
	m := ask(t, z, c.QName, qtype, 0, dnswire.MaxUDP512)
	return canonicalResponse(t, dns.RcodeToString[m.Rcode], flagsOf(m), texts(m.Answer), texts(m.Ns), texts(m.Extra))
}

// flagsOf returns the flags that are set, without RA.
func flagsOf(m *dns.Msg) []string {
	var flags []string
	for _, f := range []struct {
		on   bool
		name string
	}{{m.Response, "QR"}, {m.Authoritative, "AA"}, {m.Truncated, "TC"}, {m.RecursionDesired, "RD"}} {
		if f.on {
			flags = append(flags, f.name)
		}
	}
	return flags
}

func texts(rrs []dns.RR) []string {
	var lines []string
	for _, rr := range rrs {
		lines = append(lines, rr.String())
	}
	return lines
}

// canonicalResponse writes what is compared of a response: sections as sets of
// lower-cased records, authority only if the answer is empty.
func canonicalResponse(t *testing.T, rcode string, flags, answer, authority, additional []string) string {
	t.Helper()
	flags = slices.DeleteFunc(slices.Clone(flags), func(f string) bool { return f == "RA" })
	slices.Sort(flags)
	if len(answer) > 0 {
		authority = nil
	}
	return fmt.Sprintf("%s %v answer %q authority %q additional %q", rcode, flags,
		recordSet(t, answer), recordSet(t, authority), recordSet(t, additional))
}

func recordSet(t *testing.T, lines []string) []string {
	t.Helper()
	set := []string{}
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatalf("record %q: %v", line, err)
		}
		set = append(set, strings.ToLower(rr.String()))
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// forEachCase reads the shared file of cases.
func forEachCase(t *testing.T, do func(conformanceCase)) {
	t.Helper()
	f := openShared(t, "conformance/authoritative-answers.jsonl.gz")
	zr, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(zr)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c conformanceCase
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatal(err)
		}
		do(c)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}

// readSkips reads testdata/conformance-skips.txt: on each line a case's id and,
// after a space, the reason why it is not held.
func readSkips(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "conformance-skips.txt"))
	if err != nil {
		t.Fatal(err)
	}
	skips := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if reason == "" {
			t.Fatalf("skip of case %s without a reason", id)
		}
		skips[id] = reason
	}
	return skips
}

// openShared opens a file of the shared test material, which lies beside the
// repository or where PHAROS_SHARED says. Without it the test is skipped, except
// in CI.
func openShared(t testing.TB, name string) *os.File {
	t.Helper()
	shared := os.Getenv("PHAROS_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "..", "shared")
	}
	f, err := os.Open(filepath.Join(shared, name))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the shared test material is required in CI: %v", err)
		}
		t.Skipf("the shared test material is absent (set PHAROS_SHARED to its folder): %v", err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
