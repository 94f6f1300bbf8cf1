package zonefile

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pharos/internal/dns/rdata"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestErrorMessages reads each testdata/errors/*.zone: what is read and every
// message, in order, stands in the golden file beside it. Each file has correct
// records between its errors, which must all be read.
func TestErrorMessages(t *testing.T) {
	zones, err := filepath.Glob("testdata/errors/*.zone")
	if err != nil || len(zones) == 0 {
		t.Fatalf("no zones: %v", err)
	}
	for _, zone := range zones {
		text, err := os.ReadFile(zone)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		for record, err := range Read(bytes.NewReader(text), Options{Origin: example, File: filepath.Base(zone), MaxErrors: 100}) {
			if err != nil {
				got.WriteString(err.Error() + "\n")
				checkError(t, err)
				continue
			}
			got.WriteString("    " + strings.ReplaceAll(record.String(), "\t", " ") + "\n")
		}
		golden := strings.TrimSuffix(zone, ".zone") + ".golden"
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s:\ngot:\n%s\nwant:\n%s", zone, got.Bytes(), want)
		}
	}
}

// checkError: every error says where, what and what to do.
func checkError(t *testing.T, err error) {
	t.Helper()
	var wrong *Error
	if !errors.As(err, &wrong) || wrong.Line < 1 || wrong.Column < 1 || wrong.Err == nil || wrong.Remedy == "" {
		t.Errorf("%#v lacks a place, a cause or a remedy", err)
	}
}

// TestTooManyErrors: a file that is no zone file does not flood the screen.
func TestTooManyErrors(t *testing.T) {
	text := strings.Repeat("this is no record\n", 100)
	_, errs := lines(strings.NewReader(text), Options{Origin: example, File: "z"})
	if len(errs) != MaxErrors+1 || !errors.Is(errs[MaxErrors], ErrTooManyErrors) {
		t.Errorf("got %d errors, the last %v; want %d and %v", len(errs), errs[len(errs)-1], MaxErrors+1, ErrTooManyErrors)
	}
	if _, errs = lines(strings.NewReader(text), Options{Origin: example, MaxErrors: 1}); len(errs) != 2 {
		t.Errorf("got %d errors, want 2", len(errs))
	}
}

// TestEntryTooLong: what passes MaxEntryBytes is an error, and reading goes on
// after it.
func TestEntryTooLong(t *testing.T) {
	long := strings.Repeat("x ", MaxEntryBytes)
	records := "a 60 A 192.0.2.1\nb 60 A 192.0.2.2\n"
	tests := []struct {
		what, text string
		line       int
	}{
		{"a long line", long + "\n" + records, 1},
		{"a long line in the middle", "c 60 A 192.0.2.3\n" + long + "\n" + records, 2},
		{"a long last line", records + long, 3},
		{"a parenthesis left open at the top", "c 60 TXT (\n" + records + strings.Repeat("; comment\n", MaxEntryBytes/8), 1},
	}
	for _, test := range tests {
		got, errs := lines(strings.NewReader(test.text), Options{Origin: example, File: "z"})
		if len(errs) != 1 || !errors.Is(errs[0], ErrEntryTooLong) {
			t.Errorf("%s: got %v, want %v", test.what, errs, ErrEntryTooLong)
			continue
		}
		var wrong *Error
		if errors.As(errs[0], &wrong); wrong.Line != test.line || len(errs[0].Error()) > 300 {
			t.Errorf("%s: got %v", test.what, errs[0])
		}
		if last := got[len(got)-1]; last != "b.example.com. 60 IN A 192.0.2.2" {
			t.Errorf("%s: reading ended with %s", test.what, last)
		}
	}
}

// TestLongestRecord: the largest RDATA, every octet escaped, fits.
func TestLongestRecord(t *testing.T) {
	text := "a 60 TXT (" + strings.Repeat("\n\""+strings.Repeat(`\007`, 255)+"\"", 255) + ")\n"
	records := readAll(t, text, Options{Origin: example})
	if len(records) != 1 || len(records[0].Data) != 255*256 {
		t.Errorf("got %d records", len(records))
	}
	_, errs := lines(strings.NewReader("a 60 TXT "+strings.Repeat(" "+strings.Repeat("x", 255), 256)+"\n"), Options{Origin: example})
	if len(errs) != 1 || !errors.Is(errs[0], rdata.ErrDataTooLong) {
		t.Errorf("65536 octets of RDATA: got %v", errs)
	}
}
