package zonefile

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// endless is a file without an end.
type endless string

func (e endless) Read(b []byte) (n int, err error) { return copy(b, e), nil }

// TestLimits: what passes a limit of a reading ends it, with the place where it does; as
// much as the limit says is read.
func TestLimits(t *testing.T) {
	record := "a 60 A 192.0.2.1\n"
	many := &files{text: map[string]string{"many": strings.Repeat("$INCLUDE empty\n", MaxIncludes/10), "empty": ""}}
	for _, test := range []struct {
		what    string
		text    io.Reader
		o       Options
		records int
		is      error
		want    string
	}{
		{"as many records as may be", strings.NewReader(strings.Repeat(record, 3)), Options{MaxRecords: 3}, 3, nil, ""},
		{"a record too many", strings.NewReader(strings.Repeat(record, 9)), Options{MaxRecords: 3}, 3, ErrTooManyRecords, "main.zone:4:1: more records than 3; divide the zone, or raise the limit (zones[].gate.maxRecords)"},
		{"a record too many, of those made", strings.NewReader("\n$GENERATE 1-9 a$ 60 A 192.0.2.1\n"), Options{MaxRecords: 3}, 3, ErrTooManyRecords, "main.zone:2:1: more records than 3; divide the zone, or raise the limit (zones[].gate.maxRecords)"},
		{"a file without an end", endless("; nothing\n"), Options{MaxOctets: 1 << 20}, 0, ErrTooLarge, "too much text for one zone; look for a file that includes itself, or that unpacks without end"},
		{"text that grows by its includes", strings.NewReader(strings.Repeat("$INCLUDE inner\n", 50)), Options{MaxOctets: 10_000, Open: (&files{text: map[string]string{"inner": strings.Repeat("; comment\n", 100)}}).open}, 0, ErrTooLarge, "too much text for one zone"},
		{"files included again and again", strings.NewReader(strings.Repeat("$INCLUDE many\n", 12)), Options{Open: many.open}, 0, ErrTooManyIncludes, fmt.Sprintf("too many files included: \"empty\"; look for files that include each other; %d may be read for one zone", MaxIncludes)},
	} {
		test.o.Origin, test.o.File = example, "main.zone"
		got, errs := lines(test.text, test.o)
		if len(got) != test.records {
			t.Errorf("%s: %d records, want %d", test.what, len(got), test.records)
		}
		switch {
		case test.is == nil && len(errs) == 0:
		case len(errs) != 1 || !errors.Is(errs[0], test.is) || !strings.Contains(errs[0].Error(), test.want):
			t.Errorf("%s: got %v, want one error: %s", test.what, errs, test.want)
		}
	}
	if many.opened != many.closed {
		t.Errorf("opened %d files, closed %d", many.opened, many.closed)
	}
}
