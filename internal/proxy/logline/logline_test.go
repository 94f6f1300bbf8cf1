package logline

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// values is a request of which some values are known.
type values map[Variable]string

func (s values) AppendValue(b []byte, v Variable, name string) []byte {
	if name != "" {
		if s[v] == "" {
			return b
		}
		return append(append(append(b, name...), '='), s[v]...)
	}
	return append(b, s[v]...)
}

var usual = values{
	Time: "2026-11-22T15:04:05.678Z", TimeCommon: "22/Nov/2026:15:04:05 +0000", Client: "192.0.2.7", Method: "GET", Host: "www.example.com",
	Target: "/a?b", Protocol: "HTTP/1.1", Version: "1.1", Status: "200", In: "0", Out: "12", Seconds: "0.001234", ID: "0190-7", Field: "f", Agent: "curl",
}

func mustParse(t testing.TB, f Form) *Format {
	t.Helper()
	format, err := Parse(f)
	if err != nil {
		t.Fatal(err)
	}
	return format
}

func TestForms(t *testing.T) {
	for _, c := range []struct {
		form Form
		want string
	}{
		{Form{Kind: "common"}, `192.0.2.7 - - [22/Nov/2026:15:04:05 +0000] "GET /a?b HTTP/1.1" 200 12`},
		{Form{Kind: "combined"}, `192.0.2.7 - - [22/Nov/2026:15:04:05 +0000] "GET /a?b HTTP/1.1" 200 12 "Referer=f" "User-Agent=f"`},
		{Form{Kind: "json"}, `{"time":"2026-11-22T15:04:05.678Z","client":"192.0.2.7","method":"GET","host":"www.example.com","target":"/a?b","version":"1.1",` +
			`"status":200,"in":0,"out":12,"seconds":0.001234,"id":"0190-7","agent":"curl"}`},
		{Form{Kind: "json", Fields: []string{"pool", "status", "field.X-Tenant", "queue", "id"}}, `{"status":200,"field.X-Tenant":"X-Tenant=f","id":"0190-7"}`},
		{Form{Kind: "template", Template: `{status}`}, `200`},
		{Form{Kind: "template", Template: `at {time}	{pool} "{cookie.user}" x`}, `at 2026-11-22T15:04:05.678Z	- "-" x`},
		{Form{Kind: "template", Template: `no variable`}, `no variable`},
	} {
		if got := string(mustParse(t, c.form).Append(nil, usual)); got != c.want+"\n" {
			t.Errorf("%+v:\n got %s\nwant %s", c.form, got, c.want)
		}
	}
}

func TestBadForms(t *testing.T) {
	for _, c := range []struct {
		form Form
		want string
	}{
		{Form{Kind: "apache"}, `there is no format "apache"; there are common, combined, json and template`},
		{Form{Kind: "template"}, "the template is empty"},
		{Form{Kind: "template", Template: "{status"}, `a "{" that is not closed: {status`},
		{Form{Kind: "template", Template: "{stats}"}, "there is no {stats}; there are time, time.common"},
		{Form{Kind: "template", Template: "a\nb"}, "control character"},
		{Form{Kind: "template", Template: "{field.}"}, `"" is no name of a field`},
		{Form{Kind: "template", Template: "{field.a b}"}, `"a b" is no name of a field`},
		{Form{Kind: "template", Template: "{field.Authorization}"}, "holds secrets"},
		{Form{Kind: "template", Template: "{response.set-cookie}"}, "holds secrets"},
		{Form{Kind: "template", Template: strings.Repeat("a", maxTemplate+1)}, "longer than"},
		{Form{Kind: "json", Fields: []string{"status", "status"}}, "there twice"},
		{Form{Kind: "json", Fields: make([]string, maxFields+1)}, "more than"},
	} {
		if _, err := Parse(c.form); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v, want %s", c.form, err, c.want)
		}
	}
}

// all is every octet, as a value of everything.
type all struct{ octets string }

func (a all) AppendValue(b []byte, v Variable, _ string) []byte {
	if variables[v].isPlain {
		return append(b, '7')
	}
	return append(b, a.octets...)
}

// TestNoForgery: whatever octets values have, a line is one line, has the columns that its
// form has, and gives back what the octets were.
func TestNoForgery(t *testing.T) {
	var every []byte
	for c := range 256 {
		every = append(every, byte(c), '"', '\\', 'u')
	}
	checkColumns(t, string(every))
	checkObject(t, string(every))
}

func checkColumns(t *testing.T, value string) {
	t.Helper()
	if value == "" {
		return
	}
	f := mustParse(t, Form{Kind: "template", Template: `{host} "{target}" {status} "{reason}" {agent}`})
	line := string(f.Append(nil, all{value}))
	columns := strings.Split(strings.TrimSuffix(line, "\n"), " ")
	if strings.Count(line, "\n") != 1 || columns[0] != columns[len(columns)-1] {
		t.Fatalf("value %q makes %q", value, line)
	}
	for _, column := range []string{`"` + columns[0] + `"`, strings.SplitAfter(line[len(columns[0])+1:], `" 7 `)[0]} {
		got, err := strconv.Unquote(strings.TrimSuffix(column, " 7 "))
		if err != nil || got != value {
			t.Fatalf("%q was written as %s, which reads %q, %v", value, column, got, err)
		}
	}
}

func checkObject(t *testing.T, value string) {
	t.Helper()
	line := mustParse(t, Form{Kind: "json", Fields: []string{"status", "target", "queue", "cookie.a"}}).Append(nil, all{value})
	var got struct {
		Status, Queue int
		Target        *string
		Cookie        *string `json:"cookie.a"`
	}
	if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 || got.Status != 7 || got.Queue != 7 {
		t.Fatalf("value %q makes %s: %v", value, line, err)
	}
	if value == "" {
		if got.Target != nil {
			t.Fatalf("nothing was written as %q", *got.Target)
		}
		return
	}
	var octets []byte
	for _, r := range *got.Target {
		octets = append(octets, byte(r)) // each octet is a character of its number
	}
	if string(octets) != value || *got.Cookie != *got.Target {
		t.Fatalf("%q was written as %q", value, *got.Target)
	}
}

func FuzzValues(f *testing.F) {
	f.Add("a\" 200 \"\n\x00\\")
	f.Fuzz(func(t *testing.T, value string) {
		checkColumns(t, value)
		checkObject(t, value)
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add(`{client} "{target}" {field.A}`)
	f.Fuzz(func(t *testing.T, source string) {
		format, err := Parse(Form{Kind: "template", Template: source})
		if err == nil && strings.Count(string(format.Append(nil, all{"a\nb"})), "\n") != 1 {
			t.Errorf("%q makes other than one line", source)
		}
	})
}

func TestNoAllocs(t *testing.T) {
	b := make([]byte, 0, 4096)
	for _, kind := range []string{"combined", "json"} {
		f := mustParse(t, Form{Kind: kind})
		if n := testing.AllocsPerRun(100, func() { f.Append(b, usual) }); n != 0 {
			t.Errorf("%s: %v allocations", kind, n)
		}
	}
	if f := mustParse(t, Form{Kind: "common"}); !f.Needs(TimeCommon) || f.Needs(Time) || (*Format)(nil).Needs(Time) {
		t.Error("what a format needs is wrong")
	}
}
