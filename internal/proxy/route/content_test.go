package route

import (
	"strings"
	"testing"
)

// sent is a request with content.
type sent struct {
	asked
	kind, coding, content string
	cut                   bool
}

func (s sent) Field(name string) []byte {
	switch {
	case name == "Content-Type":
		return []byte(s.kind)
	case name == "Content-Encoding" && s.coding != "":
		return []byte(s.coding)
	}
	return nil
}
func (s sent) Content() ([]byte, bool) { return []byte(s.content), !s.cut }

// TestContent: requests go by values in their content, as far as it was read; what is not
// there for sure is not there.
func TestContent(t *testing.T) {
	table, errs := Compile([]Rule{
		{Name: "json", Path: "/", When: When{JSON: []Condition{{Name: "order.items.0.region", Value: "eu"}}}, Pools: []Share{{Pool: "p", Weight: 1}}},
		{Name: "number", Path: "/", When: When{JSON: []Condition{{Name: "version", Regexp: "[2-9]"}}}, Pools: []Share{{Pool: "p", Weight: 1}}},
		{Name: "form", Path: "/", When: When{Form: []Condition{{Name: "plan", Prefix: "gold"}}}, Pools: []Share{{Pool: "p", Weight: 1}}},
		{Name: "rest", Path: "/", Pools: []Share{{Pool: "p", Weight: 1}}},
	}, []string{"p"})
	if errs != nil {
		t.Fatal(errs)
	}
	const json, form = "application/json", "application/x-www-form-urlencoded"
	order := `{"id":7,"order":{"note":"{\"items\":1}","items":[{"region":"eu","n":null}]}}`
	for _, c := range []struct {
		s    sent
		want string
	}{
		{sent{kind: json, content: order}, "json"}, {sent{kind: "Application/Vnd.api+JSON; charset=utf-8", content: order}, "json"}, {sent{kind: json, coding: "identity", content: order}, "json"},
		{sent{kind: json, content: order[:strings.Index(order, `,"n"`)], cut: true}, "json"}, {sent{kind: json, content: order[:strings.Index(order, `u",`)], cut: true}, "rest"},
		{sent{kind: "text/json", content: order}, "rest"}, {sent{kind: json, coding: "gzip", content: order}, "rest"}, {sent{kind: json}, "rest"}, {sent{kind: json, content: "[]"}, "rest"},
		{sent{kind: json, content: `{"order":{"items":[{"region":"us"},{"region":"eu"}]}}`}, "rest"}, {sent{kind: json, content: `{"order":{"items":{"0":{"region":"eu"}}}}`}, "json"},
		{sent{kind: json, content: `{"order":{"items":[{"region":{"x":"eu"}}]}}`}, "rest"}, {sent{kind: json, content: `{"order.items.0.region":"eu"}`}, "rest"},
		// A name that is there twice: servers take the first or the last.
		{sent{kind: json, content: `{"order":{"items":[{"region":"eu","region":"us"}]}}`}, "rest"}, {sent{kind: json, content: `{"order":{"items":[{"region":"us","region":"eu"}]}}`}, "rest"},
		{sent{kind: json, content: `{"order":{},"order":{"items":[{"region":"eu"}]}}`}, "rest"}, {sent{kind: json, content: `{"order":{"items":[{"region":"eu"}]},"order":1}`}, "rest"},
		{sent{kind: json, content: `{"order":{"items":[{"\u0072egion":"eu","region":"us"}]}}`}, "rest"}, {sent{kind: json, content: `{"order":{"items":[{"\u0072egion":"\u0065u"}]}}`}, "json"},
		{sent{kind: json, content: strings.Repeat(`{"order":`, 100) + "1"}, "rest"}, {sent{kind: json, content: "\xff\xfe{"}, "rest"},
		{sent{kind: json, content: `{"version":3}`}, "number"}, {sent{kind: json, content: `{"version":"3"}`}, "number"}, {sent{kind: json, content: `{"version":13}`}, "rest"}, {sent{kind: json, content: `{"version":null}`}, "rest"},
		{sent{kind: form, content: "a=b&plan=gold+one"}, "form"}, {sent{kind: form + "; charset=utf-8", content: "%70lan=%67old"}, "form"}, {sent{kind: form, content: "plan=silver&plan=gold"}, "rest"},
		{sent{kind: form, content: "a=b&plan=gold", cut: true}, "rest"}, {sent{kind: form, content: "plan=gold&a=", cut: true}, "form"}, {sent{kind: form, content: "plan=gold", cut: true}, "rest"}, {sent{kind: json, content: "plan=gold"}, "rest"},
	} {
		c.s.method = "POST"
		r, ok := table.Match([]byte("h"), []byte("/"), c.s)
		if !ok || r.Name != c.want {
			t.Errorf("%s %q: %v, want %s", c.s.kind, c.s.content, r, c.want)
		}
	}
	trace := table.Explain("h", "/", sent{kind: json, content: `{"order`, cut: true}, Policy{})
	for _, want := range []string{`JSON value order.items.0.region is not "eu"; only the first 7 octets of the content are looked at`, "form value plan does not begin with \"gold\"; the content is not said to be of that kind"} {
		found := false
		for _, step := range trace.Steps {
			found = found || strings.Contains(step.Why, want)
		}
		if !found {
			t.Errorf("%q is not said in %+v", want, trace.Steps)
		}
	}
	if err := Check(Rule{When: When{JSON: []Condition{{Name: "a..b"}}}, Pools: []Share{{Pool: "p", Weight: 1}}}); err == nil || !strings.Contains(err.Error(), "no path") {
		t.Errorf("a..b: %v", err)
	}
}

func FuzzJSONValue(f *testing.F) {
	f.Add(`{"a":{"b":[1,"x"]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		// What was found in the beginning of a text is found in all of it, or was there twice.
		whole := jsonValue([]byte(text), []string{"a", "b", "1"})
		for i := range len(text) {
			if part := jsonValue([]byte(text[:i]), []string{"a", "b", "1"}); part != nil && whole != nil && string(part) != string(whole) {
				t.Fatalf("%q: %q in the first %d octets, %q in all", text, part, i, whole)
			}
		}
	})
}
