// Package metrics says under which names, and in which words, the counters of the parts
// of a node are scraped.
//
// The parts count and know nothing of it; nothing else decides on a name. Names are
// stable: dashboards and alerts are made of them.
//
// Entry points: one function for each part; Counter, Gauge for what a node itself counts.
//
// Concurrency: the functions keep nothing.
package metrics

import (
	"fmt"
	"strings"

	"pharos/internal/admin/telemetry"
	"pharos/internal/dns/dnswire"
	"pharos/internal/proxy/histogram"
	"pharos/internal/proxy/httpproxy"
	"pharos/internal/proxy/otlp"
	"pharos/internal/proxy/quota"
	"pharos/internal/proxy/served"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/serve/dnsserver"
	"pharos/internal/serve/ratelimit"
)

// Counter returns a sample of what only ever grows; labels are names and values in turn.
func Counter(name, help string, value uint64, labels ...string) telemetry.Sample {
	return telemetry.Sample{Name: name, Help: help, Kind: telemetry.Counter, Labels: labels, Value: float64(value)}
}

// Gauge returns a sample of what goes up and down.
func Gauge(name, help string, value float64, labels ...string) telemetry.Sample {
	return telemetry.Sample{Name: name, Help: help, Kind: telemetry.Gauge, Labels: labels, Value: value}
}

// One is the value of something that holds or does not.
func One(on bool) float64 {
	if on {
		return 1
	}
	return 0
}

// DNS gives what has happened at the DNS listeners.
func DNS(s *dnsserver.Server, emit func(telemetry.Sample)) {
	for _, t := range dnsserver.Transports() {
		counts := s.Counts(t)
		for _, c := range dnsserver.Counters() {
			emit(Counter("dns_events_total", "Events at the DNS listeners, by kind.", counts.Of(c), "transport", t.String(), "event", c.String()))
		}
		for r := dnswire.RcodeNoError; r <= dnswire.RcodeBadVers; r++ {
			if v := counts.Rcode(r); v > 0 {
				emit(Counter("dns_answers_total", "DNS answers, by response code.", v, "transport", t.String(), "rcode", r.String()))
			}
		}
		if t != dnsserver.UDP {
			emit(Gauge("dns_connections", "Open connections of DNS clients.", float64(s.Connections(t)), "transport", t.String()))
		}
	}
	emit(Gauge("dns_deferred", "Queries that wait for the resolver.", float64(s.Outstanding())))
}

// RateLimit gives the answers that were too many for their network.
func RateLimit(l *ratelimit.Limiter, emit func(telemetry.Sample)) {
	const help = "Answers over UDP that were too many for their network, by class and by what became of them."
	for c := range ratelimit.Classes {
		dropped, slipped := l.Counts(c)
		emit(Counter("dns_rate_limited_total", help, dropped, "class", c.String(), "action", "drop"))
		emit(Counter("dns_rate_limited_total", help, slipped, "class", c.String(), "action", "truncate"))
	}
}

// Resolver gives what a resolver does and what its cache holds.
func Resolver(cache *rrcache.Cache, resolver *outbound.Driver, emit func(telemetry.Sample)) {
	s := cache.Stats()
	emit(Gauge("cache_entries", "Entries of the resolver's cache, by level.", float64(s.Records), "level", "records"))
	emit(Gauge("cache_entries", "Entries of the resolver's cache, by level.", float64(s.Answers), "level", "answers"))
	emit(Gauge("cache_octets", "Memory of the resolver's cache, by level.", float64(s.RecordOctets), "level", "records"))
	emit(Gauge("cache_octets", "Memory of the resolver's cache, by level.", float64(s.AnswerOctets), "level", "answers"))
	emit(Counter("cache_evictions_total", "Entries that made room for others, by level.", s.RecordEvicted, "level", "records"))
	emit(Counter("cache_evictions_total", "Entries that made room for others, by level.", s.AnswerEvicted, "level", "answers"))
	c, _, _ := resolver.Counters()
	emit(Counter("resolver_questions_total", "Questions that the resolver took up.", c.Questions))
	emit(Counter("resolver_failures_total", "Questions that the resolver answered SERVFAIL.", c.Failures))
	emit(Counter("resolver_stale_total", "Questions answered with what had expired.", c.Stale))
	emit(Counter("resolver_synthesised_total", "Questions answered from what denials of other names prove.", c.Synthesised))
	udp := c.Sent - c.SentTCP
	for over := iterate.DoT; over <= iterate.DoQ; over++ {
		udp -= c.SentEncrypted[over]
		emit(Counter("resolver_sent_total", "Queries sent to other servers, by transport.", c.SentEncrypted[over], "transport", strings.ToLower(over.String())))
	}
	emit(Counter("resolver_sent_total", "Queries sent to other servers, by transport.", udp, "transport", "udp"))
	emit(Counter("resolver_sent_total", "Queries sent to other servers, by transport.", c.SentTCP, "transport", "tcp"))
	emit(Counter("resolver_timeouts_total", "Queries that no reply came to.", c.Timeouts))
	emit(Counter("resolver_ignored_total", "Packets that were no reply to the query they came for.", c.Ignored))
	for _, limit := range iterate.AllLimits() {
		emit(Counter("resolver_limits_total", "How often work ended at a limit (resolver.limits).", c.Limits[limit], "limit", limit.String()))
	}
	emit(Counter("resolver_refused_total", "Questions not taken, because too many wait, or too many of one network.", resolver.Refused()))
	waiting, working := resolver.Line()
	emit(Gauge("resolver_line", "Questions for the resolver.", float64(waiting), "state", "waiting"))
	emit(Gauge("resolver_line", "Questions for the resolver.", float64(working), "state", "working"))
	const states = "Questions that the resolver answered after validation, by what it came to."
	emit(Counter("resolver_validated_total", states, c.Secure, "state", "secure"))
	emit(Counter("resolver_validated_total", states, c.Insecure, "state", "insecure"))
	emit(Counter("resolver_validated_total", states, c.Bogus, "state", "bogus"))
	emit(Counter("resolver_signature_checks_total", "Signatures that the resolver has checked.", c.Signatures))
}

// mostFilters bounds the series of filters and routes, of which there may be a million; the
// first that have acted have them.
const mostFilters = 2000

// multiplexed gives what concerns a version of HTTP that has several requests on a connection.
func multiplexed(name, version string, c httpproxy.HTTP2Counters, emit func(telemetry.Sample)) {
	for _, e := range []struct {
		event string
		value uint64
	}{
		{"connections", c.Connections}, {"connections_ended", c.Ended}, {"streams", c.Streams},
		{"streams_reset", c.Resets}, {"streams_broken", c.Broken}, {"streams_refused", c.Refused},
	} {
		emit(Counter(name, "Events of "+version+" at the gateway: connections and those ended because the client broke a rule, streams and those the client reset, broke or opened beyond the limit.", e.value, "event", e.event))
	}
	for e := quota.None + 1; e < quota.Excesses; e++ {
		emit(Counter(strings.Replace(name, "events", "excesses", 1), "Connections of "+version+" that the gateway has ended because the client passed a bound, by the bound.", c.Excesses[e], "bound", e.String()))
	}
}

// Gateway gives what the gateway has carried, in all and to each pool.
func Gateway(c httpproxy.Counters, table *served.Table, emit func(telemetry.Sample)) {
	for class, v := range c.Responses {
		emit(Counter("http_responses_total", "Responses of the gateway, by class of status; 0 was never answered.", v, "class", fmt.Sprint(class)))
	}
	for _, e := range []struct {
		event string
		value uint64
	}{
		{"accepted", c.Accepted}, {"shed", c.Shed}, {"shed_per_client", c.Crowded}, {"refused_awaiting_content", c.Hasty}, {"retries", c.Retries}, {"refused", c.Refused}, {"aborted", c.Aborted},
		{"tunnels", c.Tunnels}, {"timeouts", c.Timeouts}, {"connect_failures", c.ConnectFailures}, {"origin_new", c.OriginNew},
		{"origin_reused", c.OriginReused}, {"origin_stale", c.OriginStale}, {"log_dropped", c.LogDropped},
	} {
		emit(Counter("http_events_total", "Events at the gateway, by kind.", e.value, "event", e.event))
	}
	emit(Gauge("http_connections", "Client connections of the gateway.", float64(c.Active)))
	emit(Gauge("http_connections_resting", "Client connections of the gateway that wait for a request for so long that they have no goroutine.", float64(c.Resting)))
	multiplexed("http2_events_total", "HTTP/2", c.HTTP2, emit)
	multiplexed("http3_events_total", "HTTP/3", c.HTTP3, emit)
	emit(Counter("http_content_octets_total", "Octets of content, by direction.", c.BytesIn, "direction", "in"))
	emit(Counter("http_content_octets_total", "Octets of content, by direction.", c.BytesOut, "direction", "out"))
	emit(inBuckets("http_request_seconds", "Time from the head of a request to the end of its response.", histogram.Reading{Buckets: c.Latency, Sum: c.LatencySum}))
	gatewayTimes(table, emit)
	for _, f := range table.Filters(mostFilters) {
		const help = "Requests that a filter has answered or refused (refused), or would have but for a dry run (spared), by route."
		if f.Refused > 0 {
			emit(Counter("http_filter_total", help, f.Refused, "route", f.Route, "filter", f.Step, "outcome", "refused"))
		}
		if f.Spared > 0 {
			emit(Counter("http_filter_total", help, f.Spared, "route", f.Route, "filter", f.Step, "outcome", "spared"))
		}
	}
	for _, p := range table.Pools() {
		for class := range p.Requests {
			emit(Counter("http_pool_requests_total", "Requests carried to a pool, by class of status.", p.Requests[class].Load(), "pool", p.Name, "class", fmt.Sprint(class)))
		}
		emit(Counter("http_pool_retries_total", "Requests sent to another member of the pool.", p.Retries.Load(), "pool", p.Name))
		emit(Counter("http_pool_retries_refused_total", "Requests not sent to another member of the pool, since too many were at the time (gateway.limits.retryBudget).", p.Unretried.Load(), "pool", p.Name))
		emit(Counter("http_pool_second_opinions_total", "Requests sent to another member of the pool because the first one answered with an error.", p.Opinions.Load(), "pool", p.Name))
	}
}

// Traces gives what became of requests whose spans were to be exported.
func Traces(c otlp.Counts, emit func(telemetry.Sample)) {
	const help = "Requests whose spans were to be exported, by what became of them."
	emit(Counter("http_traces_total", help, c.Sent, "result", "sent"))
	emit(Counter("http_traces_total", help, c.Dropped, "result", "dropped"))
	emit(Counter("http_traces_total", help, c.Failed, "result", "failed"))
}

// Codings gives what was compressed on the way to clients.
func Codings(s *httpproxy.Server, emit func(telemetry.Sample)) {
	all, full := s.Codings()
	if len(all) == 0 {
		return
	}
	for _, c := range all {
		emit(Counter("http_compressed_total", "Responses that were compressed, by coding.", c.Responses, "coding", c.Coding))
		const help = "Octets of content of responses that were compressed, before and after, by coding."
		emit(Counter("http_compressed_octets_total", help, c.Before, "coding", c.Coding, "side", "before"))
		emit(Counter("http_compressed_octets_total", help, c.Now, "coding", c.Coding, "side", "after"))
	}
	emit(Counter("http_compression_full_total", "Responses that went as they are because too many were being compressed.", full))
}

// gatewayTimes gives how long requests took, by route and by pool. Beyond served.MaxTimed
// of them all others are one.
func gatewayTimes(table *served.Table, emit func(telemetry.Sample)) {
	for _, c := range table.RouteCounters() {
		r, ok := c.Total.Read()
		if !ok {
			continue
		}
		emit(inBuckets("http_route_seconds", "Time from the head of a request to the end of its response, by route.", r, "route", c.Name))
		for class, v := range r.Classes {
			if v > 0 {
				emit(Counter("http_route_requests_total", "Requests by route and by class of status; 0 was never answered.", v, "route", c.Name, "class", fmt.Sprint(class)))
			}
		}
	}
	table.Times(func(pool string, t *served.Timings) {
		for _, part := range []struct {
			name, help string
			of         *histogram.Histogram
		}{
			{"http_pool_seconds", "Time from the head of a request to the end of its response, by pool.", &t.Total},
			{"http_pool_queue_seconds", "Time that requests waited for a member, of those that waited, by pool.", &t.Queue},
			{"http_pool_connect_seconds", "Time to open a connection to a member, by pool.", &t.Connect},
			{"http_pool_first_byte_seconds", "Time from turning to a member to the head of its response, by pool.", &t.FirstByte},
		} {
			if r, ok := part.of.Read(); ok {
				emit(inBuckets(part.name, part.help, r, "pool", pool))
			}
		}
	})
}

// inBuckets returns a sample of times.
func inBuckets(name, help string, r histogram.Reading, labels ...string) telemetry.Sample {
	s := telemetry.Sample{Name: name, Help: help, Kind: telemetry.Histogram, Labels: labels, Buckets: map[float64]uint64{}, Sum: r.Sum.Seconds()}
	for i, v := range r.Buckets {
		s.Count += v
		if i < len(r.Buckets)-1 {
			s.Buckets[histogram.Bound(i).Seconds()] = s.Count
		}
	}
	return s
}
