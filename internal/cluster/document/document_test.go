package document

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"pharos/internal/dns/dnsname"
)

// house is a type with every kind of field.
type house struct {
	Name    dnsname.Name     `json:"name" required:"true" example:"a.example"`
	Color   string           `json:"color" enum:"red,green" default:"red"`
	Rooms   int              `json:"rooms" default:"3" min:"1" max:"9"`
	Lit     bool             `json:"lit"`
	Age     Duration         `json:"age" default:"1h" min:"1s" step:"1s"`
	Area    Size             `json:"area" default:"1KiB" max:"1MiB"`
	Doors   []netip.AddrPort `json:"doors" default:"127.0.0.1:1,[::1]:1" max:"2"`
	Fences  []netip.Prefix   `json:"fences"`
	Port    uint16           `json:"port"`
	Garden  garden           `json:"garden"`
	Gardens []garden         `json:"gardens" max:"3"`
	_       int              // not a key: no one can set it
}

type garden struct {
	Trees int `json:"trees" default:"2" min:"0"`
	Birds int `json:"birds"`
}

// Complete: a bird for each tree, unless it is said otherwise.
func (g *garden) Complete() {
	if g.Birds == 0 {
		g.Birds = g.Trees
	}
}

func decode(text string) (house, string) {
	var h house
	root, problems := FromJSON("f", []byte(text))
	if problems.Err() == nil {
		problems = Decode("f", root, &h)
	}
	if err := problems.Err(); err != nil {
		return h, err.Error()
	}
	return h, ""
}

func TestDefaults(t *testing.T) {
	got, problem := decode(`{"name":"X.example", "garden": {"trees": 5}, "gardens": [{}, {"birds": 9}], "rooms": null}`)
	want := house{
		Name: dnsname.MustParse("x.example"), Color: "red", Rooms: 3, Age: 3600e9, Area: 1024,
		Doors:   []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[::1]:1")},
		Garden:  garden{5, 5},
		Gardens: []garden{{2, 2}, {2, 9}},
	}
	if problem != "" || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v %s\nwant %+v", got, problem, want)
	}
	if got, _ := decode(`{"name":"x", "doors": []}`); got.Doors == nil || len(got.Doors) != 0 {
		t.Errorf("an empty list became %v, not itself", got.Doors)
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{}`:                                   `f:1:1: "name" is missing; add it, for example name: a.example`,
		`{"name":"x","colour":"red"}`:          `f:1:13: colour: unknown key; did you mean "color"?`,
		`{"name":"x","hidden":1}`:              "f:1:13: hidden: unknown key; known keys here: name, color, rooms, lit, age, area, doors, fences, port, garden, gardens",
		`{"name":"x","color":"gren"}`:          `f:1:21: color: unknown value "gren"; did you mean "green"? Want one of red, green`,
		`{"name":"x",` + "\n" + ` "rooms":10}`: "f:2:10: rooms: 10 is more than the largest value allowed, 9; want 1 to 9",
		`{"name":"x","rooms":1.5}`:             `f:1:21: rooms: "1.5" is not a whole number; want 1 to 9`,
		`{"name":"x","port":-1}`:               "f:1:20: port: -1 does not fit",
		`{"name":"x","age":"1500ms"}`:          "f:1:19: age: 1500ms is not a multiple of 1s",
		`{"name":"x","age":"0"}`:               "f:1:19: age: 0 is less than the smallest value allowed, 1s; want 1s or more",
		`{"name":"x","area":"2MiB"}`:           "f:1:20: area: 2MiB is more than the largest value allowed, 1MiB; want 1MiB or less",
		`{"name":"x","doors":["1.1.1.1:1","1.1.1.1:2","1.1.1.1:3"]}`: "f:1:21: doors: 3 items are more than the 2 allowed",
		`{"name":"x","fences":[["a"]]}`:                              `f:1:23: fences[0]: want an address block, like "192.0.2.0/24" or "2001:db8::/32", got a list`,
		`{"name":"x","garden":7}`:                                    `f:1:22: garden: want a map of keys and values, got "7"; known keys: trees, birds`,
		`{"name":"x","lit":"yes"}`:                                   `f:1:19: lit: "yes" is neither true nor false`,
		`{"name":"x","name":"y"}`:                                    `f:1:20: key "name" stands twice, first on line 1; remove one of them`,
		`{"name":"x"} x`:                                             `f:1:14: there is more after the end of the value; write one value`,
		strings.Repeat("[", 100):                                     "f:1:66: values nest deeper than 64",
	} {
		if _, got := decode(text); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
	for _, text := range []string{``, `{`, `{"name"`, `{"name":}`, `{name:1}`, `]`, `{"a":1]`} {
		if _, got := decode(text); !strings.Contains(got, "this is not JSON") {
			t.Errorf("%q: %s, want it refused as JSON", text, got)
		}
	}
}

// Of many problems the first are told and the others counted.
func TestManyProblems(t *testing.T) {
	_, got := decode(`{"name":"x","fences":[` + strings.Repeat(`"x",`, 99) + `"x"]}`)
	if lines := strings.Count(got, "\n") + 1; lines != MaxProblems+1 || !strings.HasSuffix(got, "and 50 more problems") {
		t.Errorf("%d lines, ending in %q", lines, got[len(got)-40:])
	}
}

func TestAt(t *testing.T) {
	root, _ := FromJSON("", []byte(`{"a": [{"b": 1}, {"b": 2}]}`))
	for path, want := range map[string]int{"": 1, "a": 7, "a[0]": 8, "a[1].b": 24, "a[1].c": 18, "a[5]": 7, "a[x].b": 7, "z[0].y": 1, "a[1].b.c[2]": 24} {
		if got := root.At(path).Column; got != want {
			t.Errorf("At(%q) is at column %d, want %d", path, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"interval", "timeout", "rise", "fall", "web", "a"}
	for word, want := range map[string]string{
		"intervall": "interval", "Interval": "interval", "itnerval": "interval", "timout": "timeout", "rsie": "rise",
		"wbe": "web", "": "", "something": "", "b": "", strings.Repeat("x", 100): "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestValuesRoundTrip(t *testing.T) {
	for _, text := range []string{"0s", "500ms", "1s", "1m", "1m30s", "1h", "1h0m1s", "24h", "1h30m"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != text {
			t.Errorf("duration %q became %q, %v", text, d, err)
		}
	}
	for text, want := range map[string]string{"0d": "0s", "1d": "24h", "90d": "2160h"} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || d.String() != want {
			t.Errorf("duration %q became %q, %v, want %q", text, d, err, want)
		}
	}
	for text, want := range map[string]Size{"0": 0, "1": 1, "1023": 1023, "1KiB": 1 << 10, "1536KiB": 1536 << 10, "3 GiB": 3 << 30, "8388607TiB": 8388607 << 40} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("size %q became %d, %v, want %d", text, s, err, want)
		}
		if got := s.String(); got != strings.ReplaceAll(text, " ", "") {
			t.Errorf("size %q is written %q", text, got)
		}
	}
	for text, want := range map[string]Rate{"0": 0, "1bps": 1, "999bps": 999, "1kbps": 1e3, "1500kbps": 15e5, "3 Gbps": 3e9, "9223372Tbps": 9223372e12} {
		var r Rate
		if err := r.UnmarshalText([]byte(text)); err != nil || r != want {
			t.Errorf("rate %q became %d, %v, want %d", text, r, err, want)
		}
		if got := r.String(); got != strings.ReplaceAll(text, " ", "") {
			t.Errorf("rate %q is written %q", text, got)
		}
	}
	for _, text := range []string{"", "1", "bps", "-1bps", "1.5Gbps", "1GBps", "1Kbps", "100Mbit", "9223373Tbps"} {
		if err := new(Rate).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("rate %q was taken", text)
		}
	}
	for _, text := range []string{"", "1", "s", "-1s", "1 s", "1.5d", "-1d", "d", "1d1h", "65536d", "99999999999h"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("duration %q was taken", text)
		}
	}
	for _, text := range []string{"", "KiB", "-1", "1.5GiB", "1GB", "1kib", "8388608TiB", "99999999999999999999"} {
		if err := new(Size).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q was taken", text)
		}
	}
}
