package zonefile

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
)

// files is an Options.Open over a map; closed counts.
type files struct {
	text           map[string]string
	opened, closed int
}

func (f *files) open(path string) (io.ReadCloser, error) {
	text, ok := f.text[path]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	f.opened++
	return closeCounter{strings.NewReader(text), &f.closed}, nil
}

func TestInclude(t *testing.T) {
	tests := []struct {
		rule, main, inner string
		want              []string
	}{
		{"RFC 1035 §5.1: the file is inserted", "a 60 A 192.0.2.1\n$INCLUDE inner\nc 60 A 192.0.2.3\n", "b 60 A 192.0.2.2",
			[]string{"a.example.com. 60 IN A 192.0.2.1", "b.example.com. 60 IN A 192.0.2.2", "c.example.com. 60 IN A 192.0.2.3"}},
		{"RFC 1035 §5.1: a domain name sets the origin of the included file", "$INCLUDE inner sub ; comment\na 60 A 192.0.2.1\n", "b 60 A 192.0.2.2\n",
			[]string{"b.sub.example.com. 60 IN A 192.0.2.2", "a.example.com. 60 IN A 192.0.2.1"}},
		{"RFC 1035 §5.1: it never changes the origin of the parent file", "$INCLUDE inner\na 60 A 192.0.2.1\n", "$ORIGIN example.net.\nb 60 A 192.0.2.2\n",
			[]string{"b.example.net. 60 IN A 192.0.2.2", "a.example.com. 60 IN A 192.0.2.1"}},
		{"the owner of the parent file is restored", "a 60 A 192.0.2.1\n$INCLUDE inner\n 60 A 192.0.2.3\n", "b 60 A 192.0.2.2\n",
			[]string{"a.example.com. 60 IN A 192.0.2.1", "b.example.com. 60 IN A 192.0.2.2", "a.example.com. 60 IN A 192.0.2.3"}},
		{"the included file begins with the owner of the parent", "a 60 A 192.0.2.1\n$INCLUDE inner\n", " 60 A 192.0.2.2\n",
			[]string{"a.example.com. 60 IN A 192.0.2.1", "a.example.com. 60 IN A 192.0.2.2"}},
		{"$TTL goes in and comes out", "$TTL 1\n$INCLUDE inner\nc A 192.0.2.3\n", "a A 192.0.2.1\n$TTL 2\nb A 192.0.2.2\n",
			[]string{"a.example.com. 1 IN A 192.0.2.1", "b.example.com. 2 IN A 192.0.2.2", "c.example.com. 2 IN A 192.0.2.3"}},
		{"a file name in quotes", "$INCLUDE \"inner\" @\n", "b 60 A 192.0.2.2\n", []string{"b.example.com. 60 IN A 192.0.2.2"}},
	}
	for _, test := range tests {
		f := &files{text: map[string]string{"inner": test.inner}}
		got, errs := lines(strings.NewReader(test.main), Options{Origin: example, Open: f.open})
		if len(errs) > 0 {
			t.Errorf("%s: %v", test.rule, errs[0])
		}
		checkLines(t, test.rule, got, test.want)
		if f.opened != 1 || f.closed != 1 {
			t.Errorf("%s: opened %d, closed %d files, want 1 and 1", test.rule, f.opened, f.closed)
		}
	}
}

func TestIncludeRefusals(t *testing.T) {
	read := func(text string, o Options) []error {
		o.Origin, o.File = example, "main.zone"
		records, errs := lines(strings.NewReader(text+"\na 60 A 192.0.2.1\n"), o)
		if len(records) != 1 {
			t.Errorf("%q: reading did not go on", text)
		}
		return errs
	}
	tests := []struct {
		text string
		f    *files
		is   error
		want string
	}{
		{"$INCLUDE secret.zone", nil, ErrIncludeRefused, `main.zone:1:10: $INCLUDE is not allowed here: "secret.zone"; put the records into this file`},
		{"$INCLUDE none", &files{}, fs.ErrNotExist, `main.zone:1:10: open none: file does not exist: "none"; correct the path, or the permissions of the file`},
		{"$INCLUDE", &files{}, ErrMissingArgument, `main.zone:1:1: directive without its argument: "$INCLUDE"; write $INCLUDE file [origin]`},
		{"$INCLUDE a b c", &files{}, ErrExtraArgument, `main.zone:1:14: directive with an argument too many: "c"; write $INCLUDE file [origin]`},
		{"$INCLUDE a b..", &files{}, nil, `main.zone:1:12: empty label: "b.."; put at least one octet between two dots`},
		{"$INCLUDE self", &files{text: map[string]string{"self": "$INCLUDE self"}}, ErrIncludeDepth, `self:1:10: $INCLUDE nested too deep: "self"; look for a file that includes itself`},
		{"$INCLUDE bad", &files{text: map[string]string{"bad": "\n\nb 60 A x"}}, nil, `bad:3:8: A, field 1: malformed field: "x"; write an IPv4 address such as 192.0.2.1`},
	}
	for _, test := range tests {
		var o Options
		if test.f != nil {
			o.Open = test.f.open
		}
		errs := read(test.text, o)
		if len(errs) != 1 || errs[0].Error() != test.want {
			t.Errorf("%q:\ngot  %v\nwant %s", test.text, errs, test.want)
			continue
		}
		if test.is != nil && !errors.Is(errs[0], test.is) {
			t.Errorf("%q: the error does not wrap %v", test.text, test.is)
		}
		if test.f != nil && test.f.opened != test.f.closed {
			t.Errorf("%q: opened %d files, closed %d", test.text, test.f.opened, test.f.closed)
		}
	}
}

// TestIncludeDepth: MaxIncludeDepth files inside each other are read.
func TestIncludeDepth(t *testing.T) {
	f := &files{text: map[string]string{}}
	for i := range MaxIncludeDepth {
		f.text[string(rune('a'+i))] = "$INCLUDE " + string(rune('b'+i)) + "\n"
	}
	f.text[string(rune('a'+MaxIncludeDepth-1))] = "x 60 A 192.0.2.1\n"
	got, errs := lines(strings.NewReader("$INCLUDE a\n"), Options{Origin: example, Open: f.open})
	if len(got) != 1 || len(errs) > 0 {
		t.Errorf("got %v, %v, want one record", got, errs)
	}
}
