package node

import (
	"sync/atomic"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/reports"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/serve/dnsserver"
)

// This file is how resolvers report what fails in zones of ours (RFC 9567): answers
// name the agent, and questions below the agent's name are reports.

// reporting is what a zone has to do with reports.
type reporting struct {
	agent   dnsname.Name // zero: none is named
	wire    []byte       // its name in wire form
	receive bool         // the zone is the agent's
}

// compileReporting returns the zones that have to do with reports, nil if none has.
func compileReporting(zones []config.Zone) map[dnsname.Name]reporting {
	var all map[dnsname.Name]reporting
	for _, z := range zones {
		if z.Reports == (config.Reports{}) {
			continue
		}
		if all == nil {
			all = map[dnsname.Name]reporting{}
		}
		r := reporting{agent: z.Reports.Agent, receive: z.Reports.Receive}
		if !r.agent.IsZero() {
			r.wire = r.agent.AppendWire(nil)
		}
		all[z.Name] = r
	}
	return all
}

// report takes a report, or names the agent in the answer. It returns false when the
// reporter has to come again over TCP: over UDP anybody could say anything
// (RFC 9567 §9).
func (n *Node) report(p *plan, r *dnsserver.Request) bool {
	zone, ok := p.in.reporting[p.zone.Origin()]
	if !ok {
		return true
	}
	if zone.wire != nil && !r.Query.Name.IsSubdomainOf(zone.agent) { // RFC 9567 §6.2: not about the agent's own names
		r.Out.AddOption(dnswire.OptionReport, zone.wire)
	}
	if !zone.receive || r.Query.Type != rdata.TypeTXT {
		return true
	}
	report, ok := reports.Parse(r.Query.Name, p.zone.Origin())
	if !ok {
		return true
	}
	if r.Transport == dnsserver.UDP && !r.HasCookie {
		r.Out.SetTC(true)
		return false
	}
	if n.reports.Add(report, r.Now) && n.reports.mayLog(r.Now) {
		n.log.Info("resolvers report an error", "name", report.Name.String(), "type", report.Type.String(), "error", report.Code.String(), "reporter", r.Client.Addr().String())
	}
	return true
}

// reportLogEvery is how often at most a new report is logged: names can be invented.
const reportLogEvery = time.Second

// reportLog are the reports that came.
type reportLog struct {
	reports.Log
	logged atomic.Int64 // when one was logged last, in Unix nanoseconds
}

func (l *reportLog) mayLog(now time.Time) bool {
	last := l.logged.Load()
	return now.UnixNano()-last >= int64(reportLogEvery) && l.logged.CompareAndSwap(last, now.UnixNano())
}

func (n *Node) sampleReports(emit func(telemetry.Sample)) {
	emit(counter("error_reports_received_total", "Reports of errors in zones of ours that resolvers have sent (RFC 9567).", n.reports.Count()))
	c, _, _ := n.resolver.Counters()
	emit(counter("error_reports_sent_total", "Reports of errors in zones of others that the resolver has sent (RFC 9567).", c.Reports))
}
