package compress

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

var all = []Coding{Zstd, Brotli, Gzip}

// RFC 9110 §12.5.3: which coding a client gets.
func TestNegotiate(t *testing.T) {
	for accept, want := range map[string]Coding{
		"": Identity, "gzip": Gzip, "GZIP": Gzip, "x-gzip": Gzip, "br": Brotli, "zstd": Zstd, "gzip, deflate, br, zstd": Zstd, "gzip, br": Brotli,
		"br;q=0.9, gzip": Gzip, "br;q=0.9,gzip;q=0.8": Brotli, "gzip;q=0": Identity, "gzip; q=0.001": Gzip, "gzip ; Q=1.000": Gzip,
		"*": Zstd, "*;q=0": Identity, "*, zstd;q=0": Brotli, "gzip;q=0.5, *;q=0.1": Gzip, "gzip;q=0.1, *;q=0.5": Zstd,
		"identity": Identity, "identity;q=0": Identity, "identity;q=0, gzip": Gzip, "identity, gzip;q=0.5": Identity, "identity;q=0.5, gzip": Gzip, "identity, gzip": Gzip,
		"deflate": Identity, "gzip;q=2": Identity, "gzip;q=0.1234": Identity, "gzip;q=": Identity, "gzip;level=9": Identity, "gzip;q=1.001": Identity, ",,gzip,,": Gzip, "br;q=x, gzip": Gzip,
	} {
		if got := Negotiate([][]byte{[]byte(accept)}, all); got != want {
			t.Errorf("%q: got %s, want %s", accept, got, want)
		}
	}
	if got := Negotiate([][]byte{[]byte("gzip;q=0.1"), []byte("br;q=0.2")}, all); got != Brotli {
		t.Errorf("two fields: got %s", got)
	}
	if got := Negotiate([][]byte{[]byte("gzip, br, zstd")}, []Coding{Gzip}); got != Gzip {
		t.Errorf("of one offered: got %s", got)
	}
}

// TestDecide: what is left as it is, and what the response has to say of it.
func TestDecide(t *testing.T) {
	r, err := Parse([]string{"gzip"}, 100, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	open, _ := Parse([]string{"gzip"}, 100, []string{"Application/*+JSON"}, true)
	html := Message{Status: 200, Length: 1000, Type: []byte("Text/HTML; charset=utf-8")}
	with := func(change func(*Message)) Message { m := html; change(&m); return m }
	for name, c := range map[string]struct {
		rules  *Rules
		m      Message
		coded  bool
		varies bool
	}{
		"html":          {r, html, true, true},
		"unknown size":  {r, with(func(m *Message) { m.Length = -1 }), true, true},
		"json":          {r, with(func(m *Message) { m.Type = []byte("application/problem+json") }), true, true},
		"error":         {r, with(func(m *Message) { m.Status = 503 }), true, true},
		"small":         {r, with(func(m *Message) { m.Length = 99 }), false, false},
		"png":           {r, with(func(m *Message) { m.Type = []byte("image/png") }), false, false},
		"no type":       {r, with(func(m *Message) { m.Type = nil }), false, false},
		"a long type":   {r, with(func(m *Message) { m.Type = []byte("text/" + strings.Repeat("x", 200)) }), false, false},
		"grpc":          {open, with(func(m *Message) { m.Type = []byte("application/grpc+json") }), false, false},
		"partial":       {r, with(func(m *Message) { m.Partial = true }), false, false},
		"206":           {r, with(func(m *Message) { m.Status = 206 }), false, false},
		"304":           {r, with(func(m *Message) { m.Status = 304 }), false, false},
		"coded":         {r, with(func(m *Message) { m.Coded = true }), false, false},
		"no-transform":  {r, with(func(m *Message) { m.NoTransform = true }), false, false},
		"digest":        {r, with(func(m *Message) { m.Digest = true }), false, false},
		"secret":        {r, with(func(m *Message) { m.Secret = true }), false, false},
		"secret, asked": {open, with(func(m *Message) { m.Secret, m.Type = true, []byte("application/x+json") }), true, true},
		"another type":  {open, html, false, false},
	} {
		got, varies := c.rules.Decide(&c.m, [][]byte{[]byte("gzip")}, true)
		if (got == Gzip) != c.coded || varies != c.varies {
			t.Errorf("%s: got %s, varies %t", name, got, varies)
		}
	}
	if c, varies := r.Decide(&html, nil, false); c != Identity || !varies {
		t.Errorf("without Accept-Encoding: got %s, varies %t", c, varies)
	}
	if c, varies := r.Decide(&html, [][]byte{[]byte("br")}, true); c != Identity || !varies {
		t.Errorf("without one in common: got %s, varies %t", c, varies)
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ codings, types []string }{
		{[]string{"deflate"}, nil}, {[]string{"identity"}, nil}, {[]string{"gzip", "gzip"}, nil}, {nil, []string{"text"}}, {nil, []string{"*/*"}}, {nil, []string{"text/a*"}}, {nil, []string{"text/html; charset=x"}}, {nil, make([]string, maxTypes+1)},
	} {
		if _, err := Parse(c.codings, 0, c.types, false); err == nil {
			t.Errorf("%v are rules", c)
		}
	}
}

func TestNoAllocs(t *testing.T) {
	r, _ := Parse([]string{"zstd", "br", "gzip"}, 100, nil, false)
	m, accepts := Message{Status: 200, Length: -1, Type: []byte("Application/Ld+JSON; a=b")}, [][]byte{[]byte("gzip, deflate, br;q=0.9, *;q=0.1")}
	if n := testing.AllocsPerRun(100, func() { r.Decide(&m, accepts, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// naive is the same by splitting text.
func naive(accept string) Coding {
	weights, any := map[string]float64{}, -1.0
	for _, item := range strings.Split(strings.ToLower(accept), ",") {
		name, parameter, weighted := strings.Cut(item, ";")
		name, q := strings.Trim(name, " \t"), 1.0
		if weighted {
			text, ok := strings.CutPrefix(strings.Trim(parameter, " \t"), "q=")
			var err error
			if q, err = strconv.ParseFloat(text, 64); !ok || err != nil || len(text) > 5 || !(text[0] == '0' || text[0] == '1') || q > 1 || strings.ContainsAny(text, "_xep+-") || len(text) > 1 && text[1] != '.' {
				continue
			}
		}
		switch name {
		case "":
		case "*":
			any = q
		case "x-gzip":
			weights["gzip"] = q
		default:
			weights[name] = q
		}
	}
	best, most := Identity, 0.0
	for _, c := range all {
		q, known := weights[c.String()]
		if !known {
			q = any
		}
		if q > most {
			best, most = c, q
		}
	}
	if weights["identity"] > most {
		return Identity
	}
	return best
}

func FuzzNegotiate(f *testing.F) {
	for _, seed := range []string{"gzip, br;q=0.5, *;q=0", "identity;q=0, *", "x-gzip;q=0.001 , zstd"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		for _, c := range accept {
			if c > '~' || c < ' ' && c != '\t' {
				return // what no field has
			}
		}
		if got, want := Negotiate([][]byte{[]byte(accept)}, all), naive(accept); got != want {
			t.Errorf("%q: got %s, want %s", accept, got, want)
		}
	})
}

func Example() {
	rules, _ := Parse([]string{"br", "gzip"}, 1024, nil, false)
	c, _ := rules.Decide(&Message{Status: 200, Length: -1, Type: []byte("text/html")}, [][]byte{[]byte("gzip, br")}, true)
	fmt.Println(c)
	// Output: br
}
