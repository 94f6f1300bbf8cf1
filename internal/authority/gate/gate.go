// Package gate decides whether a version of a zone may go live.
//
// It owns what is looked at before a version takes the place of the one that is
// served, and how strong each objection is. It does not own what makes records a
// zone at all (SOA and NS at the apex, a lone CNAME: package zone refuses to
// build anything else), nor what becomes of a version that is refused: package
// node serves the old one on, and shows every finding.
//
//	serial      content that changed under a serial that did not go forward
//	change      more of the zone changed at once than is allowed, or too little is left
//	size        more records, names, records in an RRset or types at a name than are allowed
//	glue        name servers in the zone without an address
//	aliases     name servers and mail exchangers that are aliases, names below a DNAME
//	signatures  expired or not yet valid, and those of the apex that do not verify
//	zonemd      a digest that is not that of the zone
//
// With the differences between two versions known, only what they touch is looked
// at, so that a small change to a large zone stays cheap.
//
// Entry point: Check.
//
// Concurrency: everything here is a function of its arguments.
//
// Sources: RFC 1034 §4.2, RFC 1982, RFC 2181 §10.3, RFC 4034 §3.1.5, RFC 6672 §2.4,
// RFC 8976 §4.
package gate

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Strength is what a rule does about what it finds.
type Strength uint8

// The strengths.
const (
	Off    Strength = iota // not looked at
	Warn                   // said, and served
	Refuse                 // said, and not served
)

// Rules say how strong each objection is. The zero Rules object to nothing.
type Rules struct {
	Serial     Strength
	Glue       Strength
	Aliases    Strength
	Signatures Strength
	ZONEMD     Strength // a digest of the zone that does not fit
	// RequireZONEMD makes a zone without a digest one whose digest does not fit.
	RequireZONEMD bool
	// MaxChange is which share of the old version's records may be deleted or
	// added in one step; 0: any. DNSSEC's own records do not count, for signing
	// anew changes all of them.
	MaxChange float64
	// MinRecords is how many records a version has at least; 0: any number.
	MinRecords int
	// At the most, 0: as many as fit package zone.
	MaxRecords int // of the zone
	MaxNames   int // of the zone, with those that exist only because of others below them
	MaxRRset   int // records of one type at one name, but signatures
	MaxTypes   int // types at one name
	// Accepted says that the operator has looked at this version: everything is
	// said, nothing is refused.
	Accepted bool
}

// Finding is one objection.
type Finding struct {
	Refused bool
	Rule    string       // the name of the rule, as in the package comment
	Name    dnsname.Name // the owner of the records in question
	Type    rdata.Type   // their type; 0 if it concerns the whole name
	Text    string       // what is wrong, and the remedy
}

// String returns f as one line.
func (f Finding) String() string {
	severity := zone.Warning
	if f.Refused {
		severity = zone.Fatal
	}
	return zone.Problem{Severity: severity, Name: f.Name, Type: f.Type, Text: f.Text}.String()
}

// Refusals joins the findings for which a version is not served; nil if it is.
func Refusals(findings []Finding) error {
	var errs []error
	for _, f := range findings {
		if f.Refused {
			errs = append(errs, errors.New(f.String()))
		}
	}
	return errors.Join(errs...)
}

// maxFindings is how many findings of one rule are returned; the last one then
// says that there were more. The number is arbitrary: a screen.
const maxFindings = 20

// Check says what there is against next taking the place of old, which is nil for
// the first version. diffs lead from old to next, in this order; none if that is not
// known.
func Check(old, next *zone.Zone, diffs []*journal.Difference, rules Rules, now time.Time) []Finding {
	c := &checker{old: old, next: next, diffs: diffs, rules: rules, now: now, counts: map[string]int{}}
	if old == nil || len(diffs) > 0 && (diffs[0].From != old.Serial() || diffs[len(diffs)-1].To != next.Serial()) {
		c.diffs = nil
	}
	c.checkSerial()
	c.checkChange()
	c.checkSize()
	if len(c.diffs) > 0 {
		c.checkTouched()
	} else {
		c.checkAll()
	}
	c.checkApexSignatures()
	c.checkZONEMD()
	return c.findings
}

type checker struct {
	old, next *zone.Zone
	diffs     []*journal.Difference
	rules     Rules
	now       time.Time
	findings  []Finding
	counts    map[string]int // findings of each rule
}

// add adds a finding of a rule with the given strength.
func (c *checker) add(s Strength, rule string, n dnsname.Name, t rdata.Type, format string, args ...any) {
	if s == Off {
		return
	}
	c.counts[rule]++
	switch count := c.counts[rule]; {
	case count > maxFindings:
		return
	case count == maxFindings:
		format += "; there are more of this kind, not shown"
	}
	c.findings = append(c.findings, Finding{
		Refused: s == Refuse && !c.rules.Accepted, Rule: rule, Name: n.Clone(), Type: t, Text: fmt.Sprintf(format, args...),
	})
}

// checkSerial: secondaries see a change by its serial alone (RFC 1982, RFC 1996).
func (c *checker) checkSerial() {
	if c.rules.Serial == Off || c.old == nil || c.old == c.next {
		return
	}
	from, to := c.old.Serial(), c.next.Serial()
	switch {
	case from.Less(to):
	case from != to:
		c.add(c.rules.Serial, "serial", c.next.Origin(), rdata.TypeSOA,
			"the serial went from %d to %d, which is backwards (RFC 1982): secondaries do not see the change; raise it above %d", from, to, from)
	case !journal.Same(c.old, c.next):
		c.add(c.rules.Serial, "serial", c.next.Origin(), rdata.TypeSOA,
			"the records have changed but not the serial, %d: secondaries do not see the change; raise it", to)
	}
}

// isContent reports whether r counts as a change: what DNSSEC adds does not.
func isContent(r rdata.Record) bool {
	switch r.Type {
	case rdata.TypeRRSIG, rdata.TypeNSEC, rdata.TypeNSEC3, rdata.TypeNSEC3PARAM, rdata.TypeDNSKEY, rdata.TypeCDS, rdata.TypeCDNSKEY, rdata.TypeZONEMD:
		return false
	}
	return true
}

// changed returns how many records were deleted and added.
func (c *checker) changed() (deleted, added int) {
	if len(c.diffs) == 0 {
		return journal.Count(c.old, c.next, isContent)
	}
	for _, d := range c.diffs {
		deleted += count(d.Deleted())
		added += count(d.Added())
	}
	return deleted, added
}

func count(records iter.Seq[rdata.Record]) (n int) {
	for r := range records {
		if isContent(r) {
			n++
		}
	}
	return n
}

// checkChange: a truncated export or a wrong template changes half of a zone.
func (c *checker) checkChange() {
	if c.rules.MaxChange == 0 || c.old == nil || c.old == c.next {
		return
	}
	_, records, _ := c.old.Stats()
	deleted, added := c.changed()
	if most := max(deleted, added); float64(most) > c.rules.MaxChange*float64(records) {
		c.add(Refuse, "change", c.next.Origin(), 0,
			"%d of %d records deleted and %d added, more than the %.4g %% that zones[].gate.maxChange lets change at once; if that is meant: pharos zone accept %s %d",
			deleted, records, added, 100*c.rules.MaxChange, c.next.Origin(), c.next.Serial())
	}
}

// checkSize: an empty zone is well formed, and denies everything.
func (c *checker) checkSize() {
	names, records, _ := c.next.Stats()
	if records < c.rules.MinRecords {
		c.add(Refuse, "change", c.next.Origin(), 0,
			"%d records, fewer than zones[].gate.minRecords, %d; if that is meant: pharos zone accept %s %d",
			records, c.rules.MinRecords, c.next.Origin(), c.next.Serial())
	}
	if most := c.rules.MaxRecords; most > 0 && records > most {
		c.add(Refuse, "size", c.next.Origin(), 0, "%d records, more than zones[].gate.maxRecords, %d; divide the zone, or raise the limit", records, most)
	}
	if most := c.rules.MaxNames; most > 0 && names > most {
		c.add(Refuse, "size", c.next.Origin(), 0, "%d names, more than zones[].gate.maxNames, %d; divide the zone, or raise the limit", names, most)
	}
}
