package metrics

import (
	"cmp"
	"slices"

	"pharos/internal/admin/telemetry"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/decisions"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/probe"
)

// Limits of what a scrape has of pools: a server of metrics keeps a series for each label
// for days, and 100,000 members would make a million of them.
const (
	// maxMembers is up to how many members of all pools each has series of its own. Beyond
	// it there are those of pools.
	maxMembers = 2000
	// maxPools is likewise, of pools. Beyond it there are the sums of all.
	maxPools = 2000
)

var states = []health.State{health.Unknown, health.Up, health.Poor, health.Down, health.Draining}

// Health gives the probes and the states of the members of pools.
func Health(c probe.Counters, pools []*pool.Pool, emit func(telemetry.Sample)) {
	emit(Counter("probes_total", "Probes that ended with a verdict.", c.Probes))
	emit(Counter("probe_failures_total", "Probes that found their target unwell.", c.Failures))
	emit(Counter("probes_unsent_total", "Probes that could not be made for a reason of this machine.", c.Unsent))
	emit(Counter("health_transitions_total", "Changes of state.", c.Transitions))
	emit(Gauge("probe_behind_seconds", "By how much the probe that is due first is late.", c.Behind.Seconds()))
	all := 0
	for _, p := range pools {
		all += len(p.View().Members)
	}
	var sum [health.Poor + 1]int
	for _, p := range pools {
		v := p.View()
		var count [health.Poor + 1]int
		for i := range v.Members {
			count[v.Members[i].State]++
			sum[v.Members[i].State]++
			if all <= maxMembers {
				member(v, i, emit)
			}
		}
		if len(pools) > maxPools {
			continue
		}
		for _, s := range states {
			emit(Gauge("pool_members", "Members of a pool, by their state.", float64(count[s]), "pool", v.Name, "state", s.String()))
		}
		emit(Gauge("pool_all_down", "1 while no member is healthy and all are used.", One(v.AllDown), "pool", v.Name))
	}
	for _, s := range states {
		emit(Gauge("members", "Members of all pools, by their state.", float64(sum[s]), "state", s.String()))
	}
}

// member gives one member.
func member(v *pool.View, i int, emit func(telemetry.Sample)) {
	m := &v.Members[i]
	for _, s := range states {
		emit(Gauge("member_state", "1 for the state that a member is in.", One(m.State == s), "pool", v.Name, "member", m.Name, "state", s.String()))
	}
	if !m.Notes.Certificate.IsZero() {
		emit(Gauge("member_certificate_end_seconds", "When the certificate that a member shows ends, as Unix time.", float64(m.Notes.Certificate.Unix()), "pool", v.Name, "member", m.Name))
	}
	emit(Gauge("member_warning", "1 for a member that somebody should look at.", One(m.Notes.Warning != ""), "pool", v.Name, "member", m.Name))
	if m.Notes.Report.Weighted {
		emit(Gauge("member_agent_weight", "Part of its weight that the agent of a member asks for; 1 is all of it.", float64(m.Notes.Report.Weight)/1000, "pool", v.Name, "member", m.Name))
	}
	if m.Notes.Report.Loaded {
		emit(Gauge("member_agent_load", "Load that the agent of a member reports; 1 is all it can do.", float64(m.Notes.Report.Load)/1000, "pool", v.Name, "member", m.Name))
	}
	emit(Gauge("member_share", "Part of its weight that a member has now; less than 1 while it is poor, in slow start, or as its agent asks.", float64(m.Share)/1000, "pool", v.Name, "member", m.Name))
	emit(Gauge("member_held", "1 for a member that is ejected by traffic or held down by damping.", One(m.Notes.Held != health.NotHeld), "pool", v.Name, "member", m.Name))
	for o, n := range m.Load.Gauge.Total() {
		emit(Counter("member_requests_total", "Requests to a member, by what became of them.", uint64(n), "pool", v.Name, "member", m.Name, "outcome", health.Outcome(o).String()))
	}
	emit(Gauge("member_active", "Requests on a member now.", float64(m.Load.Active.Load()), "pool", v.Name, "member", m.Name))
	emit(Gauge("member_weight", "Weight of a member with what it has of it now, as its policy counts it.", float64(v.Terms(i).Counted)/1000, "pool", v.Name, "member", m.Name))
}

// Steering gives what steered names were answered with, whom filters left out, and what is
// kept of it.
func Steering(pools []*pool.Pool, st decisions.Stats, emit func(telemetry.Sample)) {
	const help = "Answers of DNS from a pool, by what they said."
	if len(pools) <= maxPools {
		for _, p := range pools {
			for o, n := range p.Load().AnswersBy() {
				if n > 0 {
					emit(Counter("steer_answers_total", help, n, "pool", p.Name(), "outcome", pool.Outcome(o).String()))
				}
			}
		}
	}
	slices.SortFunc(st.LeftOut, func(a, b decisions.LeftOut) int {
		return cmp.Or(cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Member, b.Member), cmp.Compare(a.Filter, b.Filter))
	})
	const left = "Decisions in which a filter left a member out; one is made for a class of clients, and used until something changes."
	for _, l := range st.LeftOut {
		emit(Counter("steer_left_out_total", left, l.Count, "pool", l.Pool, "member", l.Member, "filter", l.Filter))
	}
	emit(Counter("steer_left_out_total", left, st.LeftOutMore, "pool", "", "member", "", "filter", "")) // beyond the first thousand
	emit(Counter("steer_kept_total", "Answers of steered names that were kept for explain.", st.Answers))
	emit(Counter("steer_lost_total", "Answers of steered names that should have been kept and were not, since all rings were being written to.", st.Lost))
	emit(Gauge("steer_facts", "Decisions that are kept for explain.", float64(st.Facts)))
	emit(Gauge("steer_facts_octets", "Memory of the decisions that are kept for explain.", float64(st.FactOctets)))
	if !st.Oldest.IsZero() {
		emit(Gauge("steer_oldest_seconds", "When the oldest answer that is kept for explain was given, as Unix time.", float64(st.Oldest.Unix())))
	}
}

// Overrides gives what operators say of members at run time: at most maxMembers of it.
func Overrides(all []state.Override, emit func(telemetry.Sample)) {
	emit(Gauge("overrides", "Members of which an operator says something at run time.", float64(len(all))))
	for _, o := range all[:min(len(all), maxMembers)] {
		if o.State != "" {
			emit(Gauge("member_override", "1 for a member that an operator drains, disables or makes ready at run time.", 1, "pool", o.Pool, "member", o.Member, "state", o.State))
		}
	}
}
