package zonefile

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

var example = dnsname.MustParse("example.com.")

// lines returns the records of a zone file as Record.String shows them, fields
// parted by one blank, and its errors.
func lines(r io.Reader, o Options) (records []string, errs []error) {
	for record, err := range Read(r, o) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		records = append(records, strings.ReplaceAll(record.String(), "\t", " "))
	}
	return records, errs
}

func TestSyntax(t *testing.T) {
	tests := []struct {
		rule, text string
		want       []string
	}{
		{"RFC 1035 §5.1: <domain-name><rr>, TTL then class", "www 300 IN A 192.0.2.1\n",
			[]string{"www.example.com. 300 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: class then TTL", "www IN 300 A 192.0.2.1\n",
			[]string{"www.example.com. 300 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: class and TTL may be left out", "$TTL 60\nwww A 192.0.2.1\n",
			[]string{"www.example.com. 60 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: type mnemonics are read in any case", "$TTL 60\nwww in a 192.0.2.1\n",
			[]string{"www.example.com. 60 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: an owner may be named as a type or a class is", "$TTL 60\na in ns ns\nin a 192.0.2.1\n",
			[]string{"a.example.com. 60 IN NS ns.example.com.", "in.example.com. 60 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: and as a number", "$TTL 60\n1 PTR host\n",
			[]string{"1.example.com. 60 IN PTR host.example.com."}},
		{"RFC 1035 §5.1: begins with a blank: owned by the last stated owner", "$TTL 60\nwww A 192.0.2.1\n A 192.0.2.2\n\tA 192.0.2.3\n",
			[]string{"www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN A 192.0.2.2", "www.example.com. 60 IN A 192.0.2.3"}},
		{"RFC 1035 §5.1: blank lines, with or without comments, are allowed anywhere", "\n  \n; comment\n\t; comment\n$TTL 60 ; comment\n\nwww A 192.0.2.1 ; comment\n\n",
			[]string{"www.example.com. 60 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: @ denotes the current origin", "$TTL 60\n@ MX 10 @\n",
			[]string{"example.com. 60 IN MX 10 example.com."}},
		{"RFC 1035 §5.1: names that end in a dot are absolute", "$TTL 60\nwww.example.net. CNAME .\n",
			[]string{"www.example.net. 60 IN CNAME ."}},
		{"RFC 1035 §5.1: \\DDD and \\X", "$TTL 60\na\\.b\\\\\\065\\032 TXT \\\"x\\;\\010\n",
			[]string{`a\.b\\a\032.example.com. 60 IN TXT "\"x;\010"`}},
		{"RFC 1035 §5.1: parentheses group data that crosses a line boundary", "$TTL 60\n@ SOA ns hostmaster ( ; comment )\n 1 ; serial\n\n 2\n3 (4) 5 )\nwww A 192.0.2.1\n",
			[]string{"example.com. 60 IN SOA ns.example.com. hostmaster.example.com. 1 2 3 4 5", "www.example.com. 60 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: parentheses need no blanks around them", "$TTL 60\n@ MX(10\nmail)\n",
			[]string{"example.com. 60 IN MX 10 mail.example.com."}},
		{"RFC 1035 §5.1: a quoted string may hold blanks, semicolons, parentheses", "$TTL 60\n@ TXT \"a b ; (c) @\" \"\" x\n",
			[]string{`example.com. 60 IN TXT "a b ; (c) @" "" "x"`}},
		{"RFC 1035 §5.1: strings side by side", `@ 60 TXT "a""b"` + "\n",
			[]string{`example.com. 60 IN TXT "a" "b"`}},
		{"RFC 1035 §5.1: $ORIGIN", "$TTL 60\n$ORIGIN sub\nwww A 192.0.2.1\n$origin example.net.\nwww A 192.0.2.2\n@ NS www\n",
			[]string{"www.sub.example.com. 60 IN A 192.0.2.1", "www.example.net. 60 IN A 192.0.2.2", "example.net. 60 IN NS www.example.net."}},
		{"RFC 1035 §5.1: a blank owner keeps its name when the origin changes", "$TTL 60\nwww A 192.0.2.1\n$ORIGIN example.net.\n A 192.0.2.2\n",
			[]string{"www.example.com. 60 IN A 192.0.2.1", "www.example.com. 60 IN A 192.0.2.2"}},
		{"RFC 4343 §3: owners in lower case; RDATA as it was written, the origin too", "$TTL 60\n$ORIGIN Example.NET.\nWWW CNAME Host\n",
			[]string{"www.example.net. 60 IN CNAME Host.Example.NET."}},
		{"RFC 3597 §5: unknown types, classes and RDATA", "a 60 CLASS32 TYPE731 \\# 6 abcd (\n ef 01 23 45 )\n",
			[]string{`a.example.com. 60 CLASS32 TYPE731 \# 6 ABCDEF012345`}},
		{"RFC 3597 §5: the generic form of a known type", "a 60 IN TYPE1 192.0.2.1\ne IN 60 A \\# 4 0A000001\n",
			[]string{"a.example.com. 60 IN A 192.0.2.1", "e.example.com. 60 IN A 10.0.0.1"}},
		{"RFC 9460 §2.1: a value in quotes after =", "a 60 HTTPS 1 . alpn=\"h2,h3\" key667=\"x y\"\n",
			[]string{`a.example.com. 60 IN HTTPS 1 . alpn=h2,h3 key667="x y"`}},
		{"line ends of CR LF, tabs, and a last line without an end", "$TTL 60\r\nwww\tA\t192.0.2.1\r\n\tTXT\t\"x\"\r\n\r\nlast A 192.0.2.2",
			[]string{"www.example.com. 60 IN A 192.0.2.1", `www.example.com. 60 IN TXT "x"`, "last.example.com. 60 IN A 192.0.2.2"}},
		{"a byte order mark before the first line", "\xEF\xBB\xBFwww 60 A 192.0.2.1\n",
			[]string{"www.example.com. 60 IN A 192.0.2.1"}},
		{"octets above 127 in names and strings", "\xC3\xA9 60 TXT \xC3\xA9\n",
			[]string{`\195\169.example.com. 60 IN TXT "\195\169"`}},
		{"RFC 1035 §3.2.4: another class, the same for the whole file", "a 60 CH TXT x\nb 60 TXT y\n",
			[]string{`a.example.com. 60 CH TXT "x"`, `b.example.com. 60 CH TXT "y"`}},
		{"an empty file", "", nil},
	}
	for _, test := range tests {
		got, errs := lines(strings.NewReader(test.text), Options{Origin: example})
		if len(errs) > 0 {
			t.Errorf("%s: %v", test.rule, errs[0])
		}
		checkLines(t, test.rule, got, test.want)
		// However the octets come in, the records are the same.
		got, _ = lines(iotest.OneByteReader(strings.NewReader(test.text)), Options{Origin: example})
		checkLines(t, test.rule+", octet by octet", got, test.want)
	}
}

func checkLines(t *testing.T, rule string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%s:\ngot:\n%s\nwant:\n%s", rule, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestMissingTTL has the rules for records without a TTL, in the order in which
// BIND applies them.
func TestMissingTTL(t *testing.T) {
	const soa = "@ SOA ns hostmaster 1 2 3 4 900\n"
	tests := []struct {
		rule, text string
		o          Options
		want       []rdata.TTL
	}{
		{"RFC 2308 §4: $TTL is for the records after it, up to the next", "$TTL 1h\na A 192.0.2.1\n$TTL 2h30m\nb A 192.0.2.1\n", Options{}, []rdata.TTL{3600, 9000}},
		{"RFC 2308 §4: it comes before the last stated TTL", "$TTL 60\na 5 A 192.0.2.1\nb A 192.0.2.1\n", Options{}, []rdata.TTL{5, 60}},
		{"RFC 1035 §5.1: without $TTL, the last stated one", "a 5 A 192.0.2.1\nb A 192.0.2.1\nc 7 A 192.0.2.1\nd A 192.0.2.1\n", Options{}, []rdata.TTL{5, 5, 7, 7}},
		{"an SOA record that comes first has its MINIMUM, and so have the others", soa + "a A 192.0.2.1\nb 5 A 192.0.2.1\nc A 192.0.2.1\n", Options{}, []rdata.TTL{900, 900, 5, 900}},
		{"an SOA record with a TTL: the others have that, not MINIMUM", "@ 77 SOA ns hostmaster 1 2 3 4 900\na A 192.0.2.1\n", Options{}, []rdata.TTL{77, 77}},
		{"the caller's TTL counts as a $TTL before the file", soa + "a A 192.0.2.1\n$TTL 8\nb A 192.0.2.1\n", Options{TTL: 42}, []rdata.TTL{42, 42, 8}},
		{"a TTL of 0 is a TTL", "$TTL 0\na A 192.0.2.1\nb 0 A 192.0.2.1\n", Options{}, []rdata.TTL{0, 0}},
		{"RFC 2181 §8: MINIMUM above 2147483647 is no TTL: the largest is taken", "@ SOA ns hostmaster 1 2 3 4 4294967295\n", Options{}, []rdata.TTL{rdata.MaxTTL}},
	}
	for _, test := range tests {
		test.o.Origin = example
		var got []rdata.TTL
		for _, record := range readAll(t, test.text, test.o) {
			got = append(got, record.TTL)
		}
		if len(got) != len(test.want) {
			t.Errorf("%s: got %v, want %v", test.rule, got, test.want)
			continue
		}
		for i := range got {
			if got[i] != test.want[i] {
				t.Errorf("%s: got %v, want %v", test.rule, got, test.want)
				break
			}
		}
	}
}

// TestRecordsStay: the records read so far do not change while reading goes on.
func TestRecordsStay(t *testing.T) {
	text := string(hostZone(5000))
	var early []string
	var records []rdata.Record
	for record, err := range Read(strings.NewReader(text), Options{}) {
		if err != nil {
			t.Fatal(err)
		}
		records, early = append(records, record), append(early, record.String())
	}
	for i, record := range records {
		if late := record.String(); late != early[i] {
			t.Fatalf("record %d was %s and became %s", i, early[i], late)
		}
	}
}

// TestReaderError: a file that cannot be read to its end is no short file.
func TestReaderError(t *testing.T) {
	broken := errors.New("disk on fire")
	r := io.MultiReader(strings.NewReader("a 60 A 192.0.2.1\nb 60 A 192.0.2.2\n"), iotest.ErrReader(broken))
	records, errs := lines(r, Options{Origin: example, File: "zone"})
	if len(records) != 2 || len(errs) != 1 || !errors.Is(errs[0], broken) {
		t.Errorf("got %v and %v, want two records and the error", records, errs)
	}
}

// TestStopEarly: a caller may stop at any record.
func TestStopEarly(t *testing.T) {
	closed := 0
	o := Options{Origin: example, Open: func(string) (io.ReadCloser, error) {
		return closeCounter{strings.NewReader("a 60 A 192.0.2.1\nb 60 A 192.0.2.1\n"), &closed}, nil
	}}
	for range Read(strings.NewReader("$INCLUDE x\n"), o) {
		break
	}
	if closed != 1 {
		t.Errorf("the included file was closed %d times, want 1", closed)
	}
}

type closeCounter struct {
	io.Reader
	count *int
}

func (c closeCounter) Close() error {
	*c.count++
	return nil
}
