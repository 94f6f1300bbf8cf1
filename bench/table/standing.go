package table

import (
	"math"
	"slices"
)

// Origin is where the rows of one work come from.
type Origin struct {
	Group   string `json:"group"`   // the name of the work, as the command line has it
	Date    string `json:"date"`    // YYYY-MM-DD
	Rounds  int    `json:"rounds"`  // the median is of so many
	Machine string `json:"machine"` // processor, kernel, Go
}

// Record is one comparison with one peer, as it stands in results.json; without a
// peer it is what Pharos reached alone.
type Record struct {
	Work      string  `json:"work"`
	Metric    string  `json:"metric"`
	Pharos    float64 `json:"pharos"`
	Peer      string  `json:"peer,omitempty"`
	Version   string  `json:"version,omitempty"` // of the peer
	PeerValue float64 `json:"peer_value,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"` // pharos / peer_value
	More      bool    `json:"more,omitempty"`  // more is better
	Digits    int     `json:"digits,omitempty"`
	Origin
}

// Records returns the records of rows: one for each peer, or one for Pharos alone. A
// row without Pharos has none.
func Records(rows []Row, from Origin) []Record {
	records := []Record{}
	for _, r := range rows {
		own, ok := r.own()
		if !ok {
			continue
		}
		alone := Record{Work: r.Work, Metric: r.Metric.Name, Pharos: rounded(own), More: r.Metric.More, Digits: r.Metric.Digits, Origin: from}
		peers := len(records)
		for _, v := range r.Values {
			if v.Server != Own {
				record := alone
				record.Peer, record.PeerValue = v.Server, rounded(v.Value)
				if v.Value != 0 { // beside nothing there is no ratio
					record.Ratio = rounded(own / v.Value)
				}
				records = append(records, record)
			}
		}
		if len(records) == peers {
			records = append(records, alone)
		}
	}
	return records
}

func rounded(v float64) float64 { return math.Round(v*1000) / 1000 }

// Rows returns the rows that records were made of, each with its Origin.
func Rows(records []Record) []Row {
	var rows []Row
	for _, r := range records {
		last := len(rows) - 1
		if last < 0 || rows[last].Work != r.Work || rows[last].Metric.Name != r.Metric {
			rows = append(rows, Row{Work: r.Work, Metric: Metric{Name: r.Metric, More: r.More, Digits: r.Digits}, Values: []Value{{Own, r.Pharos}}, From: r.Origin})
			last++
		}
		if r.Peer != "" {
			rows[last].Values = append(rows[last].Values, Value{r.Peer, r.PeerValue})
		}
	}
	return rows
}

// Merge returns standing with what was measured anew in the place of what stood for
// it: each row of the same work and metric, or, if the whole group was measured,
// all of its group. Groups stand in the order given.
func Merge(standing, measured []Record, whole bool, groups []string) []Record {
	replaced := func(old Record) bool {
		return slices.ContainsFunc(measured, func(m Record) bool {
			return m.Group == old.Group && (whole || m.Work == old.Work && m.Metric == old.Metric)
		})
	}
	merged := slices.Concat(slices.DeleteFunc(slices.Clone(standing), replaced), measured)
	place := func(r Record) int { return slices.Index(groups, r.Group) }
	merged = slices.DeleteFunc(merged, func(r Record) bool { return place(r) < 0 }) // a work that is no longer measured
	slices.SortStableFunc(merged, func(a, b Record) int { return place(a) - place(b) })
	return merged
}
