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
	list    []Problem
	counts  [2]int
	lasting warnings
	excused []uint32 // members of a targetSet: see cutMember
}

// warnings is those problems that a zone has for as long as its records are what
// they are, so that an edit can tell of them without looking at all records again.
type warnings struct {
	list []warning
	more bool // there are others, of which nothing is known but that
}

type warning struct {
	Problem
	about about
}

// about is what a lasting warning depends on.
type about uint8

const (
	aboutNode about = iota // the records of its name
	aboutGlue              // these, and whether name servers have addresses
	aboutZone              // the records of the apex, and the chain that denies
)

// keep is add for a warning that lasts.
func (ps *problems) keep(a about, n dnsname.Name, t rdata.Type, format string, args ...any) {
	listed := len(ps.list)
	ps.add(Warning, n, t, format, args...)
	if len(ps.list) == listed {
		ps.lasting.more = true
		return
	}
	ps.lasting.list = append(ps.lasting.list, warning{ps.list[listed], a})
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
