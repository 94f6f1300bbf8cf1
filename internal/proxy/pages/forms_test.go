package pages

import (
	"strings"
	"sync"
	"testing"

	"pharos/internal/proxy/compress"
	"pharos/internal/proxy/encoders"
)

// Forms of a file: those that came with it first, others as rules say, each with a validator
// of its own.
func TestForms(t *testing.T) {
	content := []byte(strings.Repeat("body { margin: 0 } ", 200))
	set, err := encoders.New(encoders.Levels{Gzip: 5, Brotli: 4, Zstd: 2}, 4)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := compress.Parse([]string{"zstd", "gzip"}, 1000, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	f := NewFile(content)
	br, _ := set.Pack(compress.Brotli, content)
	if err := f.Accept(compress.Brotli, br); err != nil {
		t.Fatal(err)
	}
	if err := f.Accept(compress.Gzip, br); err == nil {
		t.Error("br is taken for gzip")
	}
	if err := NewFile(content[1:]).Accept(compress.Brotli, br); err == nil {
		t.Error("another version of the file is taken for it")
	}
	css := compress.Message{Status: 200, Length: int64(len(content)), Type: []byte("text/css")}
	png := compress.Message{Status: 200, Length: int64(len(content)), Type: []byte("image/png")}
	for _, c := range []struct {
		name    string
		rules   *compress.Rules
		m       compress.Message
		accepts string
		want    compress.Coding
	}{
		{"ready, and liked as much", rules, css, "gzip, zstd, br", compress.Brotli},
		{"another is liked better", rules, css, "gzip, br;q=0.5", compress.Gzip},
		{"the one that rules like best", rules, css, "gzip, zstd", compress.Zstd},
		{"no rules", nil, css, "gzip, zstd", compress.Identity},
		{"no rules, ready", nil, css, "gzip, br", compress.Brotli},
		{"a type that is left out", rules, png, "gzip", compress.Identity},
		{"a type that is left out, ready", rules, png, "br", compress.Brotli},
		{"nothing is said", rules, css, "", compress.Identity},
		{"as it is, please", rules, css, "identity, br;q=0.1", compress.Identity},
	} {
		form, varies := f.In(c.rules, set, &c.m, accepted(c.accepts))
		if form.Coding != c.want || !varies {
			t.Errorf("%s: got %s, varies %t; want %s", c.name, form.Coding, varies, c.want)
		}
		if form.Coding != compress.Identity && (!encoders.IsPacked(form.Coding, form.Content, content) || form.ETag == f.ETag) {
			t.Errorf("%s: the form is not what the file has, or has its validator %s", c.name, form.ETag)
		}
		if again, _ := f.In(c.rules, set, &c.m, accepted(c.accepts)); again != form {
			t.Errorf("%s: the form was made twice", c.name)
		}
		if !f.IsKnown([]byte(`"x", W/` + form.ETag)) {
			t.Errorf("%s: who has %s does not have the file", c.name, form.ETag)
		}
	}
	if f.IsKnown([]byte(strings.TrimSuffix(f.ETag, `"`) + `-rot13"`)) {
		t.Error("a form that nobody has given out is known")
	}
}

func accepted(value string) [][]byte {
	if value == "" {
		return nil
	}
	return [][]byte{[]byte(value)}
}

// What compression makes longer stays as it is; what has no encoder does this time.
func TestFormsNotWorthIt(t *testing.T) {
	set, err := encoders.New(encoders.Levels{Gzip: 5, Brotli: 4, Zstd: 2}, 1)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := compress.Parse([]string{"gzip"}, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	m := compress.Message{Status: 200, Length: 3, Type: []byte("text/plain")}
	f := NewFile([]byte("abc"))
	busy := set.Get(compress.Gzip, new(strings.Builder))
	for _, state := range []string{"busy", "free", "made"} {
		if form, varies := f.In(rules, set, &m, accepted("gzip")); form.Coding != compress.Identity || form.ETag != f.ETag || !varies {
			t.Errorf("%s: got %+v, varies %t", state, form, varies)
		}
		if state == "busy" {
			set.Put(compress.Gzip, busy)
		}
	}
}

// Many ask at once for a form that is not made yet.
func TestFormsAtOnce(t *testing.T) {
	set, err := encoders.New(encoders.Levels{Gzip: 5, Brotli: 4, Zstd: 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := compress.Parse([]string{"gzip"}, 0, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	content := []byte(strings.Repeat("at once ", 1000))
	f := NewFile(content)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			m := compress.Message{Status: 200, Length: int64(len(content)), Type: []byte("text/plain")}
			form, _ := f.In(rules, set, &m, accepted("gzip"))
			if form.Coding == compress.Gzip && !encoders.IsPacked(compress.Gzip, form.Content, content) {
				t.Error("a form is not what the file has")
			}
		})
	}
	all.Wait()
}
