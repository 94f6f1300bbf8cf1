package dnsname

import (
	"strings"
	"testing"
)

func TestFileName(t *testing.T) {
	label := strings.Repeat("a", 60)
	long := strings.Repeat(label+".", 4)
	for _, tt := range []struct{ name, want string }{
		{".", "=2E"},
		{"example.org.", "example.org"},
		{"_tcp.Host-1.example.", "_tcp.host-1.example"},
		{"a/b.", "a=2Fb"},
		{`\046\046.`, "=5C.=5C."},
		{`a\000b.`, "a=5C000b"},
		{label + "." + label + ".", label + "." + label},
	} {
		if got := MustParse(tt.name).FileName(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
	got := MustParse(long).FileName()
	if other := MustParse("b" + long[1:]).FileName(); !strings.HasPrefix(got, "=sha256-") || len(got) != 72 || other == got {
		t.Errorf("long names: got %q and %q", got, other)
	}
}

// FuzzFileName: names of files stay within their folder, are short enough, and differ
// where the names differ.
func FuzzFileName(f *testing.F) {
	f.Add("example.org.", "EXAMPLE.org.")
	f.Add(`..\047.`, `\046.`)
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := Parse(a)
		if err != nil {
			return
		}
		name := x.FileName()
		if len(name) == 0 || len(name) > 200 || strings.ContainsAny(name, "/\\\x00") || name[0] == '.' {
			t.Errorf("%q: file name %q", a, name)
		}
		if y, err := Parse(b); err == nil && (y == x) != (y.FileName() == name) {
			t.Errorf("%q and %q: file names %q and %q", a, b, name, y.FileName())
		}
	})
}
