// Package table turns measurements into the bench's results: medians over rounds,
// ratios to peers, one table as Markdown, rows as JSON, and whether the figures to
// reach were reached.
//
// It owns how results look, how those of one work take the place of those that
// stood before, and the generated section of a document. It measures nothing.
//
// Entry points: Samples, Row, Markdown, Records, Merge, Rows, Verdicts, Replace.
//
// Concurrency: values; a Samples belongs to one goroutine.
package table

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Samples collects what the rounds of one work measured.
type Samples struct {
	servers []string // in the order of their first sample
	values  map[key][]float64
}

type key struct{ server, metric string }

// Add takes one measurement.
func (s *Samples) Add(server, metric string, value float64) {
	if s.values == nil {
		s.values = map[key][]float64{}
	}
	if !slices.Contains(s.servers, server) {
		s.servers = append(s.servers, server)
	}
	k := key{server, metric}
	s.values[k] = append(s.values[k], value)
}

// Mark is how much had been measured at a time. Its zero value is of the beginning.
type Mark struct {
	servers int
	values  map[key]int
}

// Mark returns how much has been measured.
func (s *Samples) Mark() Mark {
	m := Mark{len(s.servers), map[key]int{}}
	for k, v := range s.values {
		m.values[k] = len(v)
	}
	return m
}

// Back forgets what was measured since m.
func (s *Samples) Back(m Mark) {
	s.servers = s.servers[:m.servers]
	for k, v := range s.values {
		s.values[k] = v[:m.values[k]]
	}
}

// Row returns the medians of one metric.
func (s *Samples) Row(work string, m Metric) Row {
	r := Row{Work: work, Metric: m}
	for _, server := range s.servers {
		if v := s.values[key{server, m.Name}]; len(v) > 0 {
			r.Values = append(r.Values, Value{server, Median(v)})
		}
	}
	return r
}

// Median returns the middle one of values, or the mean of the two in the middle;
// NaN of none.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(n-1)/2] + v[n/2]) / 2
}

// Metric is what is measured, with its unit in the name.
type Metric struct {
	Name   string
	More   bool // more is better
	Digits int  // after the point
}

// Row is one metric of one work for each server.
type Row struct {
	Work   string
	Metric Metric
	Values []Value
	From   Origin // when it was measured; zero: just now
}

// Value is what one server reached.
type Value struct {
	Server string
	Value  float64
}

// Own is the server that is compared with the others.
const Own = "Pharos"

func (r Row) own() (float64, bool) { return r.of(Own) }

func (r Row) of(server string) (float64, bool) {
	for _, v := range r.Values {
		if v.Server == server {
			return v.Value, true
		}
	}
	return 0, false
}

// best returns the best of the peers.
func (r Row) best() (best Value, ok bool) {
	for _, v := range r.Values {
		if v.Server != Own && (!ok || (v.Value > best.Value) == r.Metric.More && v.Value != best.Value) {
			best, ok = v, true
		}
	}
	return best, ok
}

func (r Row) text(v float64) string { return strconv.FormatFloat(v, 'f', r.Metric.Digits, 64) }

// Markdown returns all rows as one table.
func Markdown(rows []Row) string {
	var b strings.Builder
	b.WriteString("| work | metric | Pharos | best peer | ratio | each peer | rounds, at most | date |\n|---|---|---:|---:|---:|---|---:|---|\n")
	for _, r := range rows {
		own, best, ratio := "", "", ""
		mine, have := r.own()
		if have {
			own = r.text(mine)
		}
		if peer, ok := r.best(); ok {
			best = r.text(peer.Value) + " " + peer.Server
			if have && peer.Value != 0 {
				ratio = fmt.Sprintf("%.2f", mine/peer.Value)
			}
		}
		var each []string
		for _, v := range r.Values {
			if v.Server != Own {
				each = append(each, v.Server+" "+r.text(v.Value))
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d | %s |\n", r.Work, r.Metric.label(), own, best, ratio, strings.Join(each, ", "), r.From.Rounds, r.From.Date)
	}
	return b.String()
}

func (m Metric) label() string {
	if m.More {
		return m.Name + " (more is better)"
	}
	return m.Name
}

// Figure is a ratio to reach: Pharos divided by a peer, or by the best of them; or
// a value.
type Figure struct {
	Work, Metric string
	Peer         string // "": the best
	Most         float64
	Absolute     bool // of Pharos alone
}

// Verdicts returns a line for each figure: reached, not reached, or not measured.
func Verdicts(figures []Figure, rows []Row) string {
	var b strings.Builder
	b.WriteString("| figure to reach | measured | |\n|---|---:|---|\n")
	for _, f := range figures {
		peer := f.Peer
		if peer == "" {
			peer = "the best peer"
		}
		of := " of " + peer
		if f.Absolute {
			of = ""
		}
		measured, verdict := "", "not measured"
		if ratio, ok := f.ratio(rows); ok {
			measured, verdict = fmt.Sprintf("%.2f", ratio), "reached"
			if ratio > f.Most {
				verdict = "**not reached**"
			}
		}
		fmt.Fprintf(&b, "| %s, %s: at most %.2f%s | %s | %s |\n", f.Work, f.Metric, f.Most, of, measured, verdict)
	}
	return b.String()
}

func (f Figure) ratio(rows []Row) (float64, bool) {
	for _, r := range rows {
		if r.Work != f.Work || r.Metric.Name != f.Metric {
			continue
		}
		own, have := r.own()
		if f.Absolute {
			return own, have
		}
		peer, ok := r.of(f.Peer)
		if f.Peer == "" {
			var best Value
			best, ok = r.best()
			peer = best.Value
		}
		if have && ok {
			return own / peer, true
		}
	}
	return 0, false
}

// Marks around what Replace puts into a document.
const (
	Begin = "<!-- begin: generated by make bench -->"
	End   = "<!-- end: generated by make bench -->"
)

// Replace returns document with section between the marks.
func Replace(document, section string) (string, error) {
	before, rest, ok := strings.Cut(document, Begin)
	_, after, ok2 := strings.Cut(rest, End)
	if !ok || !ok2 {
		return "", fmt.Errorf("the document has no section between %q and %q", Begin, End)
	}
	return before + Begin + "\n\n" + strings.TrimSpace(section) + "\n\n" + End + after, nil
}
