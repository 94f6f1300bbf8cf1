package table

import (
	"encoding/json"
	"flag"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite testdata/table.golden")

var (
	cost = Metric{Name: "us per answer", Digits: 2}
	rate = Metric{Name: "answers per second", More: true}
)

// rows are three rounds of a work with two peers, and a work that nobody else did.
func rows() []Row {
	var s Samples
	for _, round := range [][3]float64{{3.0, 4.2, 5.0}, {9.9, 4.0, 5.2}, {3.2, 4.1, 5.1}} {
		for i, server := range []string{Own, "Knot", "NSD"} {
			s.Add(server, cost.Name, round[i])
			s.Add(server, rate.Name, 1e6/round[i])
		}
	}
	var alone Samples
	alone.Add(Own, cost.Name, 1)
	return []Row{s.Row("answers", cost), s.Row("answers", rate), alone.Row("alone", cost), s.Row("nothing", Metric{Name: "not measured"})}
}

func TestGolden(t *testing.T) {
	figures := []Figure{
		{Work: "answers", Metric: cost.Name, Peer: "Knot", Most: 1},
		{Work: "answers", Metric: cost.Name, Most: 0.5},
		{Work: "answers", Metric: cost.Name, Peer: "BIND", Most: 1},
	}
	got := Markdown(rows()) + "\n" + Verdicts(figures, rows())
	const path = "testdata/table.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRecords(t *testing.T) {
	from := Origin{Group: "dns", Date: "2000-01-01", Rounds: 3, Machine: "m"}
	records := Records(rows(), from)
	if len(records) != 5 {
		t.Fatalf("%d records, want one for each metric and peer, and one for Pharos alone: 5", len(records))
	}
	text, err := json.Marshal(records[0])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"work":"answers","metric":"us per answer","pharos":3.2,"peer":"Knot","peer_value":4.1,"ratio":0.78,"digits":2,"group":"dns","date":"2000-01-01","rounds":3,"machine":"m"}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if text, err := json.Marshal(Records(nil, from)); err != nil || string(text) != "[]" {
		t.Errorf("no rows: %s, %v", text, err)
	}
}

// What is written can be read: the rows of records are the rows they are of.
func TestRows(t *testing.T) {
	from := Origin{Group: "dns", Date: "2000-01-01", Rounds: 3}
	back := Rows(Records(rows(), from))
	if got, want := Markdown(back), Markdown(rows()[:3]); got != strings.ReplaceAll(want, "| 0 |  |", "| 3 | 2000-01-01 |") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestMerge(t *testing.T) {
	record := func(group, work, metric string, value float64) Record {
		return Record{Work: work, Metric: metric, Pharos: value, Origin: Origin{Group: group}}
	}
	standing := []Record{record("gone", "x", "us", 1), record("b", "w1", "us", 1), record("b", "w2", "us", 1), record("a", "w3", "us", 1)}
	measured := []Record{record("b", "w2", "us", 2)}
	for whole, want := range map[bool][]Record{
		false: {record("a", "w3", "us", 1), record("b", "w1", "us", 1), record("b", "w2", "us", 2)},
		true:  {record("a", "w3", "us", 1), record("b", "w2", "us", 2)},
	} {
		if got := Merge(standing, measured, whole, []string{"a", "b"}); !slices.Equal(got, want) {
			t.Errorf("whole %v: got %v, want %v", whole, got, want)
		}
	}
	if standing[0].Group != "gone" {
		t.Error("Merge wrote to what it was given")
	}
}

func TestMedian(t *testing.T) {
	for want, values := range map[float64][]float64{2: {3, 1, 2}, 2.5: {1, 4, 3, 2}, 7: {7}} {
		if got := Median(values); got != want {
			t.Errorf("Median(%v) = %v, want %v", values, got, want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("Median of nothing = %v", got)
	}
}

func TestReplace(t *testing.T) {
	document := "before\n" + Begin + "\nold\n" + End + "\nafter\n"
	got, err := Replace(document, "new\n")
	if want := "before\n" + Begin + "\n\nnew\n\n" + End + "\nafter\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	again, err := Replace(got, "new\n")
	if err != nil || again != got {
		t.Errorf("a second time changes it: %q", again)
	}
	if _, err := Replace("nothing", "new"); err == nil || !strings.Contains(err.Error(), Begin) {
		t.Errorf("a document without marks: %v", err)
	}
}

// TestBack: what a round has added that does not count is gone, servers that it has met first included.
func TestBack(t *testing.T) {
	var s Samples
	s.Add("Pharos", "us", 1)
	m := s.Mark()
	s.Add("Pharos", "us", 100)
	s.Add("Pharos", "MiB", 3)
	s.Add("nginx", "us", 2)
	s.Back(m)
	if got := s.Row("w", Metric{Name: "us"}).Values; len(got) != 1 || got[0] != (Value{"Pharos", 1}) {
		t.Errorf("us: %v", got)
	}
	if got := s.Row("w", Metric{Name: "MiB"}).Values; len(got) != 0 {
		t.Errorf("MiB: %v", got)
	}
	s.Add("nginx", "us", 5)
	if got := s.Row("w", Metric{Name: "us"}).Values; len(got) != 2 || got[1] != (Value{"nginx", 5}) {
		t.Errorf("us after it: %v", got)
	}
	s.Back(Mark{})
	if got := s.Row("w", Metric{Name: "us"}).Values; len(got) != 0 {
		t.Errorf("after all was taken back: %v", got)
	}
}
