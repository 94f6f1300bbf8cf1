package node

import (
	"fmt"
	"strings"
	"time"

	"pharos/internal/admin/telemetry"
	"pharos/internal/dns/dnswire"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/resolver/iterate"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/ratelimit"
	"pharos/internal/traffic/health"
)

// samples gives the node's counters to a scrape.
func (n *Node) samples(emit func(telemetry.Sample)) {
	n.sampleDNS(emit)
	n.sampleLive(emit)
	n.sampleResolver(emit)
	n.sampleGateway(emit)
	n.sampleHealth(emit)
	n.sampleTransfers(emit)
	n.sampleUpdates(emit)
	n.sampleLedger(emit)
	n.sampleDNSSEC(emit)
	n.sampleNode(emit)
	n.sampleTap(emit)
	n.sampleRules(emit)
}

func counter(name, help string, value uint64, labels ...string) telemetry.Sample {
	return telemetry.Sample{Name: name, Help: help, Kind: telemetry.Counter, Labels: labels, Value: float64(value)}
}

func gauge(name, help string, value float64, labels ...string) telemetry.Sample {
	return telemetry.Sample{Name: name, Help: help, Kind: telemetry.Gauge, Labels: labels, Value: value}
}

func (n *Node) sampleDNS(emit func(telemetry.Sample)) {
	if n.dns == nil {
		return
	}
	for _, t := range dnsserver.Transports() {
		counts := n.dns.Counts(t)
		for _, c := range dnsserver.Counters() {
			emit(counter("dns_events_total", "Events at the DNS listeners, by kind.", counts.Of(c), "transport", t.String(), "event", c.String()))
		}
		for r := dnswire.RcodeNoError; r <= dnswire.RcodeBadVers; r++ {
			if v := counts.Rcode(r); v > 0 {
				emit(counter("dns_answers_total", "DNS answers, by response code.", v, "transport", t.String(), "rcode", r.String()))
			}
		}
		if t != dnsserver.UDP {
			emit(gauge("dns_connections", "Open connections of DNS clients.", float64(n.dns.Connections(t)), "transport", t.String()))
		}
	}
	emit(gauge("dns_deferred", "Queries that wait for the resolver.", float64(n.dns.Outstanding())))
	n.sampleRateLimit(emit)
}

func (n *Node) sampleRateLimit(emit func(telemetry.Sample)) {
	if n.edns.limiter == nil {
		return
	}
	const help = "Answers over UDP that were too many for their network, by class and by what became of them."
	for c := range ratelimit.Classes {
		dropped, slipped := n.edns.limiter.Counts(c)
		emit(counter("dns_rate_limited_total", help, dropped, "class", c.String(), "action", "drop"))
		emit(counter("dns_rate_limited_total", help, slipped, "class", c.String(), "action", "truncate"))
	}
}

func (n *Node) sampleResolver(emit func(telemetry.Sample)) {
	s := n.cache.Stats()
	emit(gauge("cache_entries", "Entries of the resolver's cache, by level.", float64(s.Records), "level", "records"))
	emit(gauge("cache_entries", "Entries of the resolver's cache, by level.", float64(s.Answers), "level", "answers"))
	emit(gauge("cache_octets", "Memory of the resolver's cache, by level.", float64(s.RecordOctets), "level", "records"))
	emit(gauge("cache_octets", "Memory of the resolver's cache, by level.", float64(s.AnswerOctets), "level", "answers"))
	emit(counter("cache_evictions_total", "Entries that made room for others, by level.", s.RecordEvicted, "level", "records"))
	emit(counter("cache_evictions_total", "Entries that made room for others, by level.", s.AnswerEvicted, "level", "answers"))
	c, _, _ := n.resolver.Counters()
	emit(counter("resolver_questions_total", "Questions that the resolver took up.", c.Questions))
	emit(counter("resolver_failures_total", "Questions that the resolver answered SERVFAIL.", c.Failures))
	emit(counter("resolver_stale_total", "Questions answered with what had expired.", c.Stale))
	emit(counter("resolver_synthesised_total", "Questions answered from what denials of other names prove.", c.Synthesised))
	udp := c.Sent - c.SentTCP
	for over := iterate.DoT; over <= iterate.DoQ; over++ {
		udp -= c.SentEncrypted[over]
		emit(counter("resolver_sent_total", "Queries sent to other servers, by transport.", c.SentEncrypted[over], "transport", strings.ToLower(over.String())))
	}
	emit(counter("resolver_sent_total", "Queries sent to other servers, by transport.", udp, "transport", "udp"))
	n.sampleLinks(emit)
	n.sampleReports(emit)
	emit(counter("resolver_sent_total", "Queries sent to other servers, by transport.", c.SentTCP, "transport", "tcp"))
	emit(counter("resolver_timeouts_total", "Queries that no reply came to.", c.Timeouts))
	emit(counter("resolver_ignored_total", "Packets that were no reply to the query they came for.", c.Ignored))
	for _, limit := range iterate.AllLimits() {
		emit(counter("resolver_limits_total", "How often work ended at a limit (resolver.limits).", c.Limits[limit], "limit", limit.String()))
	}
	emit(counter("resolver_refused_total", "Questions not taken, because too many wait, or too many of one network.", n.resolver.Refused()))
	waiting, working := n.resolver.Line()
	emit(gauge("resolver_line", "Questions for the resolver.", float64(waiting), "state", "waiting"))
	emit(gauge("resolver_line", "Questions for the resolver.", float64(working), "state", "working"))
	const states = "Questions that the resolver answered after validation, by what it came to."
	emit(counter("resolver_validated_total", states, c.Secure, "state", "secure"))
	emit(counter("resolver_validated_total", states, c.Insecure, "state", "insecure"))
	emit(counter("resolver_validated_total", states, c.Bogus, "state", "bogus"))
	emit(counter("resolver_signature_checks_total", "Signatures that the resolver has checked.", c.Signatures))
}

func (n *Node) sampleGateway(emit func(telemetry.Sample)) {
	if n.gateway == nil {
		return
	}
	c := n.gateway.Counters()
	for class, v := range c.Responses {
		emit(counter("http_responses_total", "Responses of the gateway, by class of status; 0 was never answered.", v, "class", fmt.Sprint(class)))
	}
	for _, e := range []struct {
		event string
		value uint64
	}{
		{"accepted", c.Accepted}, {"shed", c.Shed}, {"retries", c.Retries}, {"refused", c.Refused}, {"aborted", c.Aborted},
		{"tunnels", c.Tunnels}, {"timeouts", c.Timeouts}, {"connect_failures", c.ConnectFailures}, {"origin_new", c.OriginNew},
		{"origin_reused", c.OriginReused}, {"origin_stale", c.OriginStale}, {"log_dropped", c.LogDropped},
	} {
		emit(counter("http_events_total", "Events at the gateway, by kind.", e.value, "event", e.event))
	}
	emit(gauge("http_connections", "Client connections of the gateway.", float64(c.Active)))
	emit(counter("http_content_octets_total", "Octets of content, by direction.", c.BytesIn, "direction", "in"))
	emit(counter("http_content_octets_total", "Octets of content, by direction.", c.BytesOut, "direction", "out"))
	latency := telemetry.Sample{
		Name: "http_request_seconds", Help: "Time from the head of a request to the end of its response.",
		Kind: telemetry.Histogram, Buckets: map[float64]uint64{}, Sum: c.LatencySum.Seconds(),
	}
	for i, v := range c.Latency {
		latency.Count += v
		if i < len(c.Latency)-1 {
			latency.Buckets[httpproxy.LatencyBound(i).Seconds()] = latency.Count
		}
	}
	emit(latency)
	for _, p := range n.current.Load().gateway.Pools() {
		for class := range p.Requests {
			emit(counter("http_pool_requests_total", "Requests carried to a pool, by class of status.", p.Requests[class].Load(), "pool", p.Name, "class", fmt.Sprint(class)))
		}
		emit(counter("http_pool_retries_total", "Requests sent to another member of the pool.", p.Retries.Load(), "pool", p.Name))
	}
}

func (n *Node) sampleHealth(emit func(telemetry.Sample)) {
	c := n.prober.Counters()
	emit(counter("probes_total", "Probes that ended with a verdict.", c.Probes))
	emit(counter("probe_failures_total", "Probes that found their target unwell.", c.Failures))
	emit(counter("health_transitions_total", "Changes of state.", c.Transitions))
	emit(gauge("probe_behind_seconds", "By how much the probe that is due first is late.", c.Behind.Seconds()))
	for _, p := range n.current.Load().pools.Pools() {
		v := p.View()
		for _, m := range v.Members {
			for _, s := range []health.State{health.Unknown, health.Up, health.Down, health.Draining} {
				emit(gauge("member_state", "1 for the state that a member is in.", one(m.State == s), "pool", v.Name, "member", m.Name, "state", s.String()))
			}
			emit(gauge("member_active", "Requests on a member now.", float64(m.Load.Active.Load()), "pool", v.Name, "member", m.Name))
		}
		emit(gauge("pool_all_down", "1 while no member is healthy and all are used.", one(v.AllDown), "pool", v.Name))
	}
}

func (n *Node) sampleTransfers(emit func(telemetry.Sample)) {
	o, in := n.outgoing.Counts(), n.secondaries.Counts()
	for _, e := range []struct {
		direction, outcome string
		value              uint64
	}{
		{"out", "whole", o.Whole}, {"out", "differences", o.Incremental}, {"out", "current", o.Current},
		{"out", "refused", o.Refused}, {"out", "failed", o.Failed}, {"out", "bad_signature", n.badKeys.Load()},
		{"in", "whole", in.Whole}, {"in", "differences", in.Incremental}, {"in", "current", in.UpToDate},
		{"in", "failed", in.Failed}, {"in", "expired", in.Expired},
	} {
		emit(counter("transfers_total", "Zone transfers and requests for them, by direction and outcome.", e.value, "direction", e.direction, "outcome", e.outcome))
	}
	emit(gauge("transfers_out", "Zone transfers to secondaries that are under way.", float64(o.UnderWay)))
	sent, failed := n.notifier.Counts()
	emit(counter("notify_sent_total", "NOTIFY messages sent to secondaries.", sent))
	emit(counter("notify_failed_total", "Secondaries that were told in vain of a change.", failed))
	snapshot := n.current.Load()
	for z := range snapshot.everyZone() {
		if !z.isSecondary() {
			continue
		}
		st, _ := n.secondariesOf(snapshot.in(z)).State(z.Name)
		emit(gauge("zone_present", "1 while a secondary zone has a version to serve.", one(st.Present), "zone", z.id()))
		emit(gauge("zone_refresh_failures", "Failed checks of a secondary zone's primaries in a row.", float64(st.Failures), "zone", z.id()))
		if st.Present {
			emit(gauge("zone_expires_seconds", "Time until a secondary zone expires, if no primary confirms it.", time.Until(st.Expires).Seconds(), "zone", z.id()))
		}
	}
}

func (n *Node) sampleNode(emit func(telemetry.Sample)) {
	s := n.current.Load()
	emit(gauge("snapshot_revision", "Revision of the snapshot that answers.", float64(s.Revision)))
	emit(gauge("uptime_seconds", "Time since the start.", time.Since(n.started).Seconds()))
	for z := range s.everyZone() {
		if z.Zone != nil {
			emit(gauge("zone_serial", "Serial number of a zone.", float64(z.Zone.Serial()), "zone", z.id()))
		}
	}
	for _, p := range n.problems.list() {
		emit(gauge("problem", "1 for each problem there is.", 1, "code", p.Code, "severity", p.Severity, "about", p.About))
	}
}

func one(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
