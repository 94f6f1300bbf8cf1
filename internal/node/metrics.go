package node

import (
	"pharos/internal/admin/metrics"
	"pharos/internal/admin/telemetry"
	"pharos/internal/clock"
)

// samples gives the node's counters to a scrape.
func (n *Node) samples(emit func(telemetry.Sample)) {
	now := n.current.Load()
	if n.dns != nil {
		metrics.DNS(n.dns.Server, emit)
	}
	if n.edns.limiter != nil {
		metrics.RateLimit(n.edns.limiter, emit)
	}
	metrics.Resolver(n.cache, n.resolver, emit)
	if n.gateway != nil {
		metrics.Gateway(n.gateway.Counters(), now.gateway, emit)
	}
	metrics.Health(n.prober.Counters(), now.pools.Pools(), emit)
	metrics.Steering(now.pools.Pools(), n.past.decided.Stats(), emit)
	metrics.Overrides(n.overrides.All(), emit)
	n.newTrafficDesk().SampleScale(emit)
	n.sampleLinks(emit)
	metrics.Upgrades(n.upgrades.States(), emit)
	n.sampleReports(emit)
	n.sampleLive(emit)
	n.sampleTransfers(emit)
	n.sampleUpdates(emit)
	n.sampleLedger(emit)
	n.sampleDNSSEC(emit)
	n.sampleNode(emit)
	n.sampleTap(emit)
	n.sampleRules(emit)
}

// counter, gauge and one make the samples of what the node joins.
var (
	counter = metrics.Counter
	gauge   = metrics.Gauge
	one     = metrics.One
)

func (n *Node) sampleTransfers(emit func(telemetry.Sample)) {
	o, in := n.outgoing.Counts(), n.secondaries.Counts()
	snapshot := n.current.Load()
	for _, v := range snapshot.views {
		in = in.Plus(n.secondariesOf(v).Counts())
	}
	for _, e := range []struct {
		direction, outcome string
		value              uint64
	}{
		{"out", "whole", o.Whole}, {"out", "differences", o.Incremental}, {"out", "current", o.Current},
		{"out", "refused", o.Refused}, {"out", "busy", o.Busy}, {"out", "failed", o.Failed}, {"out", "bad_signature", n.badKeys.Load()},
		{"in", "whole", in.Whole}, {"in", "differences", in.Incremental}, {"in", "current", in.UpToDate},
		{"in", "failed", in.Failed}, {"in", "expired", in.Expired},
	} {
		emit(counter("transfers_total", "Zone transfers and requests for them, by direction and outcome.", e.value, "direction", e.direction, "outcome", e.outcome))
	}
	emit(counter("transfers_compactions_total", "Times that a secondary zone was built anew beside its differences, to give back what they had written over.", in.Compacted))
	octets, dropped := n.journaled.Stats()
	emit(gauge("journals_bytes", "Memory of the differences between versions of all zones, for IXFR.", float64(octets)))
	emit(counter("journals_dropped_total", "Zones that have lost their differences because all together took too much (transfers.journals).", dropped))
	emit(gauge("transfers_out", "Zone transfers to secondaries that are under way.", float64(o.UnderWay)))
	taken, waiting := n.turns.Counts()
	emit(gauge("transfers_in", "Primaries that are being asked, or that a zone comes from.", float64(taken)))
	emit(gauge("transfers_in_waiting", "Zones whose primaries will be asked when transfers.incoming and incomingPerPrimary let it.", float64(waiting)))
	sent, failed := n.notifier.Counts()
	emit(counter("notify_sent_total", "NOTIFY messages sent to secondaries.", sent))
	emit(counter("notify_failed_total", "Secondaries that were told in vain of a change.", failed))
	for z := range snapshot.everyZone() {
		if !z.isSecondary() {
			continue
		}
		st, _ := n.secondariesOf(snapshot.in(z)).State(z.Name)
		emit(gauge("zone_present", "1 while a secondary zone has a version to serve.", one(st.Present), "zone", z.id()))
		emit(gauge("zone_refresh_failures", "Failed checks of a secondary zone's primaries in a row.", float64(st.Failures), "zone", z.id()))
		if st.Present {
			emit(gauge("zone_expires_seconds", "Time until a secondary zone expires, if no primary confirms it.", clock.Until(st.Expires).Seconds(), "zone", z.id()))
		}
	}
}

func (n *Node) sampleNode(emit func(telemetry.Sample)) {
	s := n.current.Load()
	emit(gauge("snapshot_revision", "Revision of the snapshot that answers.", float64(s.Revision)))
	emit(gauge("uptime_seconds", "Time since the start.", clock.Since(n.started).Seconds()))
	for z := range s.everyZone() {
		if z.Zone != nil {
			_, records, _ := z.Zone.Stats()
			emit(gauge("zone_serial", "Serial number of a zone.", float64(z.Zone.Serial()), "zone", z.id()))
			emit(gauge("zone_records", "Records of a zone.", float64(records), "zone", z.id()))
		}
	}
	for _, p := range n.problems.list() {
		emit(gauge("problem", "1 for each problem there is.", 1, "code", p.Code, "severity", p.Severity, "about", p.About))
	}
}
