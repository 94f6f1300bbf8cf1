package zone

import (
	"fmt"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Severity says whether a zone can be served in spite of a Problem.
type Severity uint8

// The severities.
const (
	Warning Severity = iota // served, but somebody should look
	Fatal                   // not served: Build returns no Zone
)

// String returns "warning" or "fatal".
func (s Severity) String() string { return [...]string{"warning", "fatal"}[s] }

// Problem is something wrong with the records of a zone.
type Problem struct {
	Severity Severity
	Name     dnsname.Name // the owner of the records in question
	Type     rdata.Type   // their type; 0 if it concerns the whole name
	Text     string       // what is wrong, and the remedy
}

// String returns p as one line.
func (p Problem) String() string {
	if p.Type == 0 {
		return fmt.Sprintf("%s: %s: %s", p.Severity, p.Name, p.Text)
	}
	return fmt.Sprintf("%s: %s %s: %s", p.Severity, p.Name, p.Type, p.Text)
}

// maxProblems is how many problems of one severity Build reports, so that a zone
// with a million mistakes does not become a million messages; the last one then
// says that there were more. The number is arbitrary: more than anybody reads.
const maxProblems = 100

// problems collects up to maxProblems of each severity.
type problems struct {
	list   []Problem
	counts [2]int
}

func (ps *problems) add(s Severity, n dnsname.Name, t rdata.Type, format string, args ...any) {
	ps.counts[s]++
	switch count := ps.counts[s]; {
	case count > maxProblems:
		return
	case count == maxProblems:
		format += "; there are more of this severity, not shown"
	}
	ps.list = append(ps.list, Problem{s, n.Clone(), t, fmt.Sprintf(format, args...)})
}

// fatal reports whether a Fatal one was added.
func (ps *problems) fatal() bool { return ps.counts[Fatal] > 0 }
