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
		metrics.Codings(n.gateway, emit)
		n.sampleDoors(emit)
		metrics.Mirrors(now.gateway, emit)
		metrics.Breakers(now.gateway.ReadBreakers(clock.Now()), emit)
		metrics.Traces(n.logs.traces.Counts(), emit)
	}
	metrics.Health(n.prober.Counters(), now.pools.Pools(), emit)
	metrics.Steering(now.pools.Pools(), n.past.decided.Stats(), emit)
	metrics.Streams(n.streams.Stats(), emit)
	metrics.Overrides(n.overrides.All(), emit)
	n.newTrafficDesk().SampleScale(emit)
	metrics.Links(n.resolver, emit)
	metrics.Upgrades(n.upgrades.States(), emit)
	n.sampleReports(emit)
	n.sampleLive(emit)
	n.sampleTransfers(emit)
	metrics.Updates(n.updates.Counts(), emit)
	n.sampleLedger(emit)
	metrics.Children(n.children.Counts(), emit)
	n.sampleDNSSEC(emit)
	n.sampleNode(emit)
	if n.logs.observer != nil {
		metrics.Tap(n.logs.observer.Counts(), emit)
	}
	n.sampleRules(emit)
}

// counter and gauge make the samples of what the node joins.
var (
	counter = metrics.Counter
	gauge   = metrics.Gauge
)

func (n *Node) sampleTransfers(emit func(telemetry.Sample)) {
	snapshot := n.current.Load()
	t := metrics.Transferred{Out: n.outgoing.Counts(), In: n.secondaries.Counts(), BadKeys: n.badKeys.Load()}
	for _, v := range snapshot.views {
		t.In = t.In.Plus(n.secondariesOf(v).Counts())
	}
	t.Taken, t.Waiting = n.turns.Counts()
	metrics.Transfers(&t, emit)
	octets, dropped := n.journaled.Stats()
	emit(gauge("journals_bytes", "Memory of the differences between versions of all zones, for IXFR.", float64(octets)))
	emit(counter("journals_dropped_total", "Zones that have lost their differences because all together took too much (transfers.journals).", dropped))
	sent, failed := n.notifier.Counts()
	emit(counter("notify_sent_total", "NOTIFY messages sent to secondaries.", sent))
	emit(counter("notify_failed_total", "Secondaries that were told in vain of a change.", failed))
	for z := range snapshot.everyZone() {
		if z.IsSecondary() {
			st, _ := n.secondariesOf(snapshot.in(z)).State(z.Name)
			metrics.Secondary(z.ID(), st, emit)
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
			emit(gauge("zone_serial", "Serial number of a zone.", float64(z.Zone.Serial()), "zone", z.ID()))
			emit(gauge("zone_records", "Records of a zone.", float64(records), "zone", z.ID()))
		}
	}
	for _, p := range n.problems.All() {
		emit(gauge("problem", "1 for each problem there is.", 1, "code", p.Code, "severity", p.Severity, "about", p.About))
	}
}
