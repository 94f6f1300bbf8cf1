package explain

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"
)

func example() *Explanation {
	e := &Explanation{Question: "www.example.com. A", Client: "192.0.2.9", At: time.Unix(0, 0), Revision: 7}
	e.Add(Zone, "example.com. is ours", "serial 3")
	e.Add(Steer, "answered from pool web", "a  up    in", "b  down  out: connection refused")
	e.Outcome, e.Result = "NOERROR", []string{"www.example.com.\t5\tIN\tA\t192.0.2.1"}
	e.Warnings = []string{"pool web has one member left"}
	return e
}

func TestWriteText(t *testing.T) {
	var b strings.Builder
	if err := example().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	const want = `www.example.com. A  for 192.0.2.9  (snapshot 7, 1970-01-01T00:00:00Z)
  1. zone      example.com. is ours
               serial 3
  2. steer     answered from pool web
               a  up    in
               b  down  out: connection refused
  => NOERROR
     www.example.com.  5  IN  A  192.0.2.1
  !  pool web has one member left
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestJSONRoundTrip(t *testing.T) {
	var b strings.Builder
	if err := example().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got Explanation
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Steps) != 2 || got.Steps[1].Stage != Steer || got.Revision != 7 {
		t.Errorf("%+v", got)
	}
}

// TestWriteSVG: the picture is well-formed, and has every step; what comes from outside
// stays text.
func TestWriteSVG(t *testing.T) {
	e := example()
	e.Steps = append(e.Steps,
		Step{Stage: Resolve, Text: "ask <script>", At: time.Millisecond},
		Step{Stage: Resolve, Text: "timeout", At: 3 * time.Millisecond, Took: 2 * time.Millisecond, Depth: 1, Bad: true})
	var b strings.Builder
	if err := e.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	var texts []string
	bars := 0
	d := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch x := token.(type) {
		case xml.CharData:
			texts = append(texts, string(x))
		case xml.StartElement:
			if x.Name.Local == "rect" {
				bars++
			}
			if x.Name.Local == "script" {
				t.Error("an element from outside")
			}
		}
	}
	all := strings.Join(texts, "\n")
	for _, want := range []string{"www.example.com. A", "example.com. is ours", "serial 3", "ask <script>", "timeout", "=> NOERROR", "one member left"} {
		if !strings.Contains(all, want) {
			t.Errorf("the picture has no %q", want)
		}
	}
	if bars != 2 {
		t.Errorf("%d bars, want 2", bars)
	}
}
