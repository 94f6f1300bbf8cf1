package explain

import (
	"encoding/json"
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
