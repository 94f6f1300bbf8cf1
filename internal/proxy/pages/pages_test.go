package pages

import (
	"encoding/json"
	"html"
	"strings"
	"testing"
)

func mustCompile(t *testing.T, specs ...Spec) *Book {
	t.Helper()
	b, err := Compile(specs, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFind(t *testing.T) {
	b := mustCompile(t,
		Spec{Statuses: []string{"5xx"}, Content: "class"},
		Spec{Statuses: []string{"5xx"}, Content: "class json", Type: "application/json"},
		Spec{Statuses: []string{"404", "410"}, Content: "missing"},
		Spec{Statuses: []string{"503"}, Content: "busy json", Type: "application/problem+json"},
		Spec{Statuses: []string{"503"}, Content: "busy", Type: "text/plain"},
	)
	for _, c := range []struct {
		status int
		accept string
		want   string
	}{
		{404, "", "missing"}, {410, "image/png", "missing"}, {403, "", ""}, {200, "", ""},
		{500, "", "class"}, {500, "application/json", "class json"}, {500, "text/html;level=1, application/json;q=0.9", "class"},
		{500, "application/json, text/html;q=0.9", "class json"}, {502, "*/*", "class"}, {502, "text/*;q=0.1, application/*;q=0.2", "class json"},
		{503, "", "busy json"}, {503, "text/html", "busy json"}, {503, "text/plain", "busy"}, {503, "application/problem+json;q=0, */*", "busy"},
	} {
		got := ""
		if p := b.Find(c.status, []byte(c.accept)); p != nil {
			got = string(p.Append(nil, &Values{}))
		}
		if got != c.want {
			t.Errorf("%d for %q: got %q, want %q", c.status, c.accept, got, c.want)
		}
	}
	if p := (*Book)(nil).Find(404, nil); p != nil {
		t.Error("there is a page where there are none")
	}
}

func TestVariables(t *testing.T) {
	v := &Values{Status: 404, Reason: "Not Found", ID: []byte("id-1"), Host: []byte("h.example"), Method: []byte("GET"), Path: []byte("/a<b>\"'&\x00\xff\\")}
	for _, c := range []struct{ kind, content, want string }{
		{"text/html", "<style>p { color: red }</style>{status} {reason} {requestId} {nobody}", "<style>p { color: red }</style>404 Not Found id-1 {nobody}"},
		{"text/html; charset=utf-8", "{path}", "/a&#60;b&#62;&#34;&#39;&#38;??\\"},
		{"application/xml", "<e>{path}</e>", "<e>/a&#60;b&#62;&#34;&#39;&#38;??\\</e>"},
		{"application/json", `{"status": {status}, "path": "{path}"}`, `{"status": 404, "path": "\u002fa\u003cb\u003e\u0022'\u0026??\u005c"}`},
		{"text/plain", "{method} {host}{path}", "GET h.example/a<b>\"'&??\\"},
		{"text/plain", "{{status}} {", "{404} {"},
	} {
		p := mustCompile(t, Spec{Statuses: []string{"404"}, Type: c.kind, Content: c.content}).Find(404, nil)
		if got := string(p.Append(nil, v)); got != c.want {
			t.Errorf("%s %q: got %q, want %q", c.kind, c.content, got, c.want)
		}
	}
}

func TestCompileRefuses(t *testing.T) {
	for want, s := range map[string]Spec{
		"a file or content":  {Statuses: []string{"404"}},
		"no status of an":    {Statuses: []string{"200"}, Content: "x"},
		"want 400 to 599":    {Statuses: []string{"3xx"}, Content: "x"},
		"it says no status":  {Content: "x"},
		"longer than":        {Statuses: []string{"404"}, Content: strings.Repeat("x", MaxPage+1)},
		"is no media type":   {Statuses: []string{"404"}, Content: "x", Type: "a\r\nb"},
		"there is no page":   {},
		"small.html: longer": {Statuses: []string{"404"}, File: "small.html"},
	} {
		specs := []Spec{s}
		if want == "there is no page" {
			specs = nil
		}
		read := func(string) (func() *File, error) {
			f := NewFile(make([]byte, MaxPage+1))
			return func() *File { return f }, nil
		}
		if _, err := Compile(specs, false, read); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestFile(t *testing.T) {
	a, b := NewFile([]byte("a")), NewFile([]byte("b"))
	for _, c := range []struct {
		tags string
		want bool
	}{
		{a.ETag, true}, {`"x", W/` + a.ETag, true}, {"*", true}, {b.ETag, false}, {"", false},
	} {
		if got := a.IsKnown([]byte(c.tags)); got != c.want {
			t.Errorf("If-None-Match: %s: got %v", c.tags, got)
		}
	}
	for name, want := range map[string]string{"a/B.HTML": "text/html; charset=utf-8", "x.json": "application/json", "x": "application/octet-stream", "x.html.exe": "application/octet-stream"} {
		if got := TypeOf(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// Whatever a client sends is text in a page: a browser and a reader of JSON read back what was
// sent, and nothing else.
func FuzzEscape(f *testing.F) {
	f.Add("/a<script>", true)
	f.Add("\"}\\\u2028\xff", false)
	f.Fuzz(func(t *testing.T, value string, isHTML bool) {
		if len(value) > maxValue {
			return
		}
		clean := strings.Map(func(r rune) rune {
			if r == '\uFFFD' || r < ' ' || r == 0x7f || r == '\u2028' || r == '\u2029' {
				return '?'
			}
			return r
		}, value)
		if isHTML {
			got := string(appendEscaped(nil, markup, []byte(value)))
			if strings.ContainsAny(got, "<>\"'`") || html.UnescapeString(got) != clean {
				t.Errorf("%q: got %q", value, got)
			}
			return
		}
		var got string
		if err := json.Unmarshal(append(appendEscaped([]byte(`"`), object, []byte(value)), '"'), &got); err != nil || got != clean {
			t.Errorf("%q: got %q, %v", value, got, err)
		}
	})
}
