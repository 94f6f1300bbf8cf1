package dnsname

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// labelsOf returns the labels of n from left to right, without the root's: the
// naive form that the oracles below work on.
func labelsOf(n Name) [][]byte {
	var labels [][]byte
	for wire := []byte(n.Wire()); len(wire) > 0 && wire[0] != 0; wire = wire[1+wire[0]:] {
		labels = append(labels, wire[1:1+wire[0]])
	}
	return labels
}

// naiveCompare is RFC 4034 §6.1 word by word: "names are sorted first according to
// their rightmost labels", a label by its octets "with the absence of an octet
// sorting before a zero octet".
func naiveCompare(a, b Name) int {
	la, lb := labelsOf(a), labelsOf(b)
	slices.Reverse(la)
	slices.Reverse(lb)
	return slices.CompareFunc(la, lb, bytes.Compare)
}

func naiveIsSubdomain(n, a Name) bool {
	ln, la := labelsOf(n), labelsOf(a)
	return len(ln) >= len(la) && slices.EqualFunc(ln[len(ln)-len(la):], la, bytes.Equal)
}

// randomName makes names that often share suffixes, and labels that look like
// length octets.
func randomName(r *rand.Rand) Name {
	n := Root
	for range r.IntN(6) {
		label := make([]byte, 1+r.IntN(3))
		for i := range label {
			label[i] = []byte{0, 1, 2, 3, 'a', 'b', '.', 'A', 255}[r.IntN(9)]
		}
		child, err := n.Child(string(label))
		if err != nil {
			panic("BUG: " + err.Error())
		}
		n = child
	}
	return n
}

// TestAgainstOracles compares order and ancestry of random names with the naive
// forms.
func TestAgainstOracles(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50000 {
		a, b := randomName(r), randomName(r)
		if got, want := a.Compare(b), naiveCompare(a, b); got != want {
			t.Fatalf("%v.Compare(%v) = %d, want %d", a, b, got, want)
		}
		if got, want := a.IsSubdomainOf(b), naiveIsSubdomain(a, b); got != want {
			t.Fatalf("%v.IsSubdomainOf(%v) = %v, want %v", a, b, got, want)
		}
		if (a.Compare(b) == 0) != (a == b) {
			t.Fatalf("%v and %v: equal in order but not in value, or the reverse", a, b)
		}
		common := a.CommonAncestor(b)
		if !a.IsSubdomainOf(common) || !b.IsSubdomainOf(common) || common.IsZero() {
			t.Fatalf("%v.CommonAncestor(%v) = %v", a, b, common)
		}
		longer := a.Ancestor(common.Labels() + 1)
		if !longer.IsZero() && b.IsSubdomainOf(longer) {
			t.Fatalf("%v.CommonAncestor(%v) = %v, but %v is longer", a, b, common, longer)
		}
	}
}

// TestCanonicalOrder has the example of RFC 4034 §6.1.
func TestCanonicalOrder(t *testing.T) {
	want := []string{
		"example.", "a.example.", "yljkjljk.a.example.", "Z.a.example.", "zABC.a.EXAMPLE.", "z.example.",
		`\001.z.example.`, "*.z.example.", `\200.z.example.`,
	}
	names := make([]Name, len(want))
	for i, text := range want {
		names[i] = MustParse(text)
	}
	got := slices.Clone(names)
	slices.Reverse(got)
	slices.SortFunc(got, Name.Compare)
	if !slices.Equal(got, names) {
		t.Errorf("got %v, want %v", got, names)
	}
	if (Name{}).Compare(Root) != -1 || Root.Compare(Name{}) != 1 || (Name{}).Compare(Name{}) != 0 {
		t.Error("the zero Name must come before the root")
	}
}

func TestIsSubdomainOf(t *testing.T) {
	tests := []struct {
		n, a string
		want bool
	}{
		{"www.example.com.", "example.com.", true},
		{"example.com.", "example.com.", true},
		{"WWW.Example.COM.", "eXAMPLE.com.", true}, // RFC 4343 §3
		{"example.com.", "www.example.com.", false},
		{"badexample.com.", "example.com.", false}, // no label boundary
		{"example.com.", ".", true},
		{".", ".", true},
		{".", "com.", false},
		{`x\007example.com.`, "example.com.", false}, // an octet that looks like a length
		{`\007example.com.`, "example.com.", false},
		{`a\.example.com.`, "example.com.", false},
	}
	for _, test := range tests {
		if got := MustParse(test.n).IsSubdomainOf(MustParse(test.a)); got != test.want {
			t.Errorf("%s is a subdomain of %s: got %v, want %v", test.n, test.a, got, test.want)
		}
	}
	if (Name{}).IsSubdomainOf(Root) || Root.IsSubdomainOf(Name{}) || (Name{}).IsSubdomainOf(Name{}) {
		t.Error("the zero Name has no place in the tree")
	}
}

func TestLabelWalk(t *testing.T) {
	var got []string
	for a := MustParse("www.Example.com."); !a.IsZero(); a = a.Parent() {
		got = append(got, a.Label()+"|"+a.String())
	}
	want := []string{"www|www.example.com.", "example|example.com.", "com|com.", "|."}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	n := MustParse("a.b.c.")
	for labels, want := range []string{".", "c.", "b.c.", "a.b.c.", ""} {
		if got := n.Ancestor(labels).String(); got != want {
			t.Errorf("Ancestor(%d) = %q, want %q", labels, got, want)
		}
	}
	if !n.Ancestor(-1).IsZero() {
		t.Errorf("Ancestor(-1) = %v", n.Ancestor(-1))
	}
	if n.Labels() != 3 || Root.Labels() != 0 || (Name{}).Labels() != 0 {
		t.Error("wrong number of labels")
	}
	if !(Name{}).Parent().IsZero() || (Name{}).Label() != "" || (Name{}).String() != "" {
		t.Error("the zero Name has a parent, a label or a text")
	}
	if !MustParse("*.a.").IsWildcard() || MustParse("**.a.").IsWildcard() || MustParse("a.*.").IsWildcard() || Root.IsWildcard() {
		t.Error("RFC 4592 §2.1.1: a wildcard's leftmost label is just *")
	}
}

// TestEscapes: RFC 1035 §5.1: \DDD and \X. Every octet in a label reads back as it
// was written.
func TestEscapes(t *testing.T) {
	for c := range 256 {
		n, err := Root.Child(string([]byte{'x', byte(c), 'y'}))
		if err != nil {
			t.Fatal(err)
		}
		back, err := Parse(n.String())
		if err != nil || back != n {
			t.Errorf("octet %d: written %s, read %v, %v", c, n, back, err)
		}
		for _, b := range []byte(n.String()) {
			if b <= ' ' || b > '~' {
				t.Errorf("octet %d is written with octet %d", c, b)
			}
		}
	}
	for text, want := range map[string]string{
		`a\.b.c`: "\x03a.b\x01c\x00", `\065.`: "\x01a\x00", `\\.`: "\x01\\\x00", `\@.`: "\x01@\x00", `a\ b.`: "\x03a b\x00",
		`\000\255.`: "\x02\x00\xff\x00", `a\046b`: "\x03a.b\x00",
	} {
		n, err := Parse(text)
		if err != nil || n.Wire() != want {
			t.Errorf("Parse(%q) = %q, %v; want %q", text, n.Wire(), err, want)
		}
	}
}

// TestLimits: RFC 1035 §2.3.4: labels of 63 octets or less, names of 255 or less.
func TestLimits(t *testing.T) {
	label63 := strings.Repeat("a", 63)
	longest := strings.Repeat(label63+".", 3) + strings.Repeat("a", 61) + "." // 3*64 + 62 + 1 = 255
	most := strings.Repeat("a.", MaxLabels)                                   // 127*2 + 1 = 255
	for _, text := range []string{label63 + ".", longest, most, ".", "a", "a.b"} {
		n, err := Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
			continue
		}
		back, length, err := FromWire([]byte(n.Wire()))
		if err != nil || back != n || length != n.Len() {
			t.Errorf("FromWire of %q = %v, %d, %v", text, back, length, err)
		}
	}
	if n := MustParse(longest); n.Len() != MaxLen {
		t.Errorf("the longest name has %d octets", n.Len())
	}
	for text, want := range map[string]error{
		label63 + "a.":                        ErrLabelTooLong,
		label63 + `\097.`:                     ErrLabelTooLong,
		longest[:len(longest)-1] + "a.":       ErrNameTooLong,
		strings.Repeat("a.", MaxLabels+1):     ErrNameTooLong,
		strings.Repeat("a.", MaxLabels) + "a": ErrNameTooLong,
		"":                                    ErrEmptyLabel,
		"..":                                  ErrEmptyLabel,
		".a":                                  ErrEmptyLabel,
		"a..b":                                ErrEmptyLabel,
		"a..":                                 ErrEmptyLabel,
		`a\`:                                  ErrEscape,
		`a\1`:                                 ErrEscape,
		`a\12`:                                ErrEscape,
		`a\256`:                               ErrEscape,
		`a\1x2`:                               ErrEscape,
	} {
		if n, err := Parse(text); !errors.Is(err, want) || !n.IsZero() {
			t.Errorf("Parse(%q) = %v, %v; want %v", text, n, err, want)
		}
	}
}

func TestParseIn(t *testing.T) {
	origin := MustParse("example.com.")
	for text, want := range map[string]string{
		"www": "www.example.com.", "www.": "www.", "@": "example.com.", ".": ".", `\@`: `\@.example.com.`, `a\.`: `a\..example.com.`,
	} {
		if got, err := ParseIn(text, origin); err != nil || got.String() != want {
			t.Errorf("ParseIn(%q) = %v, %v; want %s", text, got, err, want)
		}
	}
	for text, want := range map[string]error{"": ErrEmptyLabel, strings.Repeat("a.", 125) + "a": ErrNameTooLong} {
		if got, err := ParseIn(text, origin); !errors.Is(err, want) {
			t.Errorf("ParseIn(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"www", "@"} {
		if got, err := ParseIn(text, Name{}); !errors.Is(err, ErrNoOrigin) || !got.IsZero() {
			t.Errorf("ParseIn(%q) without an origin = %v, %v; want %v", text, got, err, ErrNoOrigin)
		}
	}
	if got, err := ParseIn("a.", Name{}); err != nil || got != MustParse("a.") {
		t.Errorf("an absolute name needs no origin: got %v, %v", got, err)
	}
}

func TestFromWire(t *testing.T) {
	n, length, err := FromWire([]byte("\x03WwW\x00rest"))
	if err != nil || n != MustParse("www.") || length != 5 {
		t.Errorf("got %v, %d, %v", n, length, err)
	}
	tooLong := append(bytes.Repeat([]byte{1, 'a'}, 127), 1, 'a', 0)
	for wire, want := range map[string]error{
		"": ErrTruncated, "\x03ab": ErrTruncated, "\x01a": ErrTruncated, "\xC0\x00": ErrCompressed, "\x01a\xC0\x00": ErrCompressed,
		"\x40a": ErrCompressed, string(tooLong): ErrNameTooLong,
		strings.Repeat("\x3f"+strings.Repeat("a", 63), 3) + "\x3e" + strings.Repeat("a", 62) + "\x00": ErrNameTooLong,
	} {
		if got, _, err := FromWire([]byte(wire)); !errors.Is(err, want) {
			t.Errorf("FromWire(%q) = %v, %v; want %v", wire, got, err, want)
		}
	}
	// The name must not share memory with a packet that is used again.
	packet := []byte("\x01a\x00")
	n, _, _ = FromWire(packet)
	packet[1] = 'b'
	if n != MustParse("a.") {
		t.Error("a name from the wire changed with the packet")
	}
}

func TestChild(t *testing.T) {
	n := MustParse("example.")
	if got, err := n.Child("W.w"); err != nil || got.String() != `w\.w.example.` {
		t.Errorf("got %v, %v", got, err)
	}
	long := MustParse(strings.Repeat("a.", 126))
	for label, want := range map[string]error{"": ErrEmptyLabel, strings.Repeat("a", 64): ErrLabelTooLong, "aa": ErrNameTooLong} {
		if got, err := long.Child(label); !errors.Is(err, want) {
			t.Errorf("Child(%q) = %v, %v; want %v", label, got, err, want)
		}
	}
	if _, err := (Name{}).Child("a"); err == nil {
		t.Error("the zero Name has a child")
	}
}

// TestReplaceSuffix has the examples of RFC 6672 §2.2's table 1.
func TestReplaceSuffix(t *testing.T) {
	tests := []struct{ n, from, to, want string }{
		{"a.example.com.", "example.com.", "example.net.", "a.example.net."},
		{"a.b.example.com.", "example.com.", "example.net.", "a.b.example.net."},
		{"cyc.example.com.", "example.com.", "example.com.", "cyc.example.com."},
		{"shortloop.x.x.", "x.", ".", "shortloop.x."},
		{"shortloop.x.", "x.", ".", "shortloop."},
		{"a.x.", ".", "y.", "a.x.y."},
	}
	for _, test := range tests {
		got, err := MustParse(test.n).ReplaceSuffix(MustParse(test.from), MustParse(test.to))
		if err != nil || got.String() != test.want {
			t.Errorf("%s with %s replaced by %s: got %v, %v; want %s", test.n, test.from, test.to, got, err, test.want)
		}
	}
	long := MustParse(strings.Repeat("a.", 120))
	if _, err := long.ReplaceSuffix(Root, MustParse("a-long-target-name.")); !errors.Is(err, ErrNameTooLong) {
		t.Errorf("RFC 6672 §2.2: a result of more than 255 octets: got %v, want %v", err, ErrNameTooLong)
	}
}

func TestMarshal(t *testing.T) {
	n := MustParse(`a\.b.example.`)
	text, err := n.MarshalText()
	var back Name
	if err != nil || back.UnmarshalText(text) != nil || back != n {
		t.Errorf("got %v by way of %q", back, text)
	}
	if text, err = (Name{}).MarshalText(); err != nil || len(text) != 0 {
		t.Errorf("the zero Name: got %q, %v", text, err)
	}
	if err := back.UnmarshalText(nil); err != nil || !back.IsZero() {
		t.Errorf("empty text: got %v, %v", back, err)
	}
	if err := n.UnmarshalText([]byte("a..b")); err == nil || n.IsZero() {
		t.Errorf("a bad name: got %v, %v; want an error and the name as it was", n, err)
	}
}

// TestNoAllocs: what the path of a query does with names takes no memory.
func TestNoAllocs(t *testing.T) {
	n, zone := MustParse("a.b.c.www.example.com."), MustParse("example.com.")
	other := MustParse("a.b.d.www.example.com.")
	zones := map[Name]int{zone: 1}
	packet := []byte(n.Wire())
	buffer := make([]byte, 0, MaxLen)
	sum := 0
	tests := map[string]func(){
		"IsSubdomainOf":  func() { _ = n.IsSubdomainOf(zone) },
		"Compare":        func() { sum += n.Compare(other) },
		"CommonAncestor": func() { sum += n.CommonAncestor(other).Len() },
		"Ancestor":       func() { sum += n.Ancestor(2).Len() },
		"AppendWire":     func() { buffer = n.AppendWire(buffer[:0]) },
		"AppendText":     func() { buffer = n.AppendText(buffer[:0]) },
		"a walk of Parent with a map": func() {
			for a := View(packet); !a.IsZero(); a = a.Parent() {
				sum += zones[a]
			}
		},
	}
	for what, f := range tests {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s: %v allocations, want 0", what, got)
		}
	}
	if zones[View(packet).Ancestor(2)] != 1 {
		t.Error("a view does not find its name in a map")
	}
}

func TestViewAndClone(t *testing.T) {
	packet := []byte("\x01a\x00")
	view := View(packet)
	kept := view.Clone()
	packet[1] = 'b'
	if view != MustParse("b.") || kept != MustParse("a.") {
		t.Errorf("got view %v and clone %v, want b. and a.", view, kept)
	}
}
