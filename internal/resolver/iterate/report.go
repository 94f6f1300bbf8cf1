package iterate

import (
	"strconv"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// This file is how owners of zones learn that names of theirs do not resolve here
// (RFC 9567): their servers name an agent, and what fails is asked for below the
// agent's name,
//
//	_er.TYPE.NAME.CODE._er.AGENT  TXT
//
// which is the whole report.

// Limits of reports. Chosen, not derived.
const (
	reportTime = time.Hour // in which the same is not reported again: resolvers cache the agent's answer for about that long
	// reportEvery is how often a report leaves in the long run, and reportBurst how many
	// may at once. What is too many is not reported: the owner knows by then.
	reportEvery = time.Second
	reportBurst = 10
)

// reportToken marks the tokens of reports, which are nobody's questions.
const reportToken = 1 << 63

// reports is what there is to report, and to whom.
type reports struct {
	agents bounded[dnsname.Name, dnsname.Name] // by zone
	sent   bounded[dnsname.Name, time.Time]    // until when it is not sent again, by the report's name
	full   time.Time                           // when the account of reports is full again
	due    []dnsname.Name
}

// learnAgent remembers the agent that a server of l's zone names, if it does.
// Who is asked by a route says nothing about the owners of names.
func (r *Resolver) learnAgent(l *lookup, m *dnswire.Message) {
	if !r.cfg.Reports || l.route != nil {
		return
	}
	data, ok := m.EDNS.Find(dnswire.OptionReport)
	if !ok {
		return
	}
	agent, length, err := dnsname.FromWire(data)
	if err != nil || length != len(data) || agent.IsRoot() { // RFC 9567 §5: a name, and not the root
		r.reports.agents.drop(l.cut.Zone)
		return
	}
	zone := l.cut.Zone.Clone()
	r.reports.agents.put(zone, agent, zone.Len()+agent.Len())
}

// report has the failure of a question reported, if the zone that the name is in
// has an agent, and it has not been told lately.
func (r *Resolver) report(c *client, f failure) {
	if r.reports.agents.len() == 0 || !isReportable(f) || c.ask.Token&reportToken != 0 || c.ask.Anew {
		return
	}
	cut := r.cache.Delegation(r.now, c.name)
	if cut == nil {
		return
	}
	agent := r.reports.agents.get(cut.Zone)
	// RFC 9567 §6.1: nothing about reports, nor about the agent's own name.
	if agent.IsZero() || c.name.IsSubdomainOf(agent) || c.name.Label() == "_er" {
		return
	}
	name, ok := reportName(c.name, c.ask.Type, f.ede, agent)
	if !ok || r.now.Before(r.reports.sent.get(name)) || !r.mayReport() {
		return
	}
	r.reports.sent.put(name, r.now.Add(reportTime), name.Len())
	r.reports.due = append(r.reports.due, name)
}

// isReportable reports whether a failure is of those who serve the name: not a limit
// of ours, nor a policy.
func isReportable(f failure) bool {
	switch f.ede {
	case dnswire.EDENoReachableAuthority, dnswire.EDENetworkError, dnswire.EDEInvalidData, dnswire.EDENotAuthoritative:
		return f.over == NoLimit
	}
	return isBogus(f.ede) && f.over == NoLimit
}

func (r *Resolver) mayReport() bool {
	full := r.reports.full
	if full.Before(r.now) {
		full = r.now
	}
	if full.Sub(r.now) > (reportBurst-1)*reportEvery {
		return false
	}
	r.reports.full = full.Add(reportEvery)
	return true
}

// reportName returns what is asked for (RFC 9567 §6.1.1); false if it is too long.
func reportName(name dnsname.Name, t rdata.Type, code dnswire.EDE, agent dnsname.Name) (dnsname.Name, bool) {
	wire := append([]byte(nil), "\x03_er"...)
	wire = appendNumber(wire, uint16(t))
	wire = append(wire, name.Wire()[:name.Len()-1]...)
	wire = appendNumber(wire, uint16(code))
	wire = append(wire, "\x03_er"...)
	wire = append(wire, agent.Wire()...)
	report, _, err := dnsname.FromWire(wire)
	return report, err == nil
}

func appendNumber(wire []byte, n uint16) []byte {
	text := strconv.Itoa(int(n))
	return append(append(wire, byte(len(text))), text...)
}

// sendReports asks what is due, on behalf of nobody.
func (r *Resolver) sendReports() {
	due := r.reports.due
	r.reports.due = nil
	for _, name := range due {
		r.counters.Reports++
		r.ask(Ask{Token: reportToken | r.number(), Name: name, Type: rdata.TypeTXT, Fresh: true})
	}
}
