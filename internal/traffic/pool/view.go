package pool

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
)

// View is one pool at one moment: immutable, compiled for picking. The embedded
// Choice is over all members; V4 and V6 are over the addresses of one family, for
// DNS answers.
type View struct {
	Name     string   `json:"name"`
	Policy   Policy   `json:"policy"`
	Members  []Member `json:"members"`  // in the order of the configuration
	Revision uint64   `json:"revision"` // one more than that of the view before
	Choice
	V4 Choice `json:"-"`
	V6 Choice `json:"-"`
	// Levels are the eligible members in the order in which they are fallen back to.
	// Who carries traffic picks from these (package balance).
	Levels []Level `json:"-"`

	spec *Spec
	at   time.Time // that Shares are of
	// tables are of all members, whatever their state: views share them until members or
	// weights change. nil unless the policy needs them.
	tables *tables
}

// Spec returns what the view was compiled from, without members. Not to be written to.
func (v *View) Spec() *Spec { return v.spec }

// Whole returns what the view can be compiled from once more: Spec with the members.
func (v *View) Whole() Spec {
	s := *v.spec
	s.Members = make([]MemberSpec, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		s.Members[i] = MemberSpec{
			Name: m.Name, Address: m.Address, Weight: m.Configured.Weight, Drain: m.Configured.Drain, Why: m.Configured.Why,
			Tier: m.Tier, Capacity: m.limit, Bandwidth: m.Bandwidth, Place: m.Place, Host: m.Host, Override: m.Override,
		}
	}
	return s
}

// Choice says who may be picked and in which order. Its numbers are indexes of
// View.Members. It is about states alone: tiers, capacities and places are Levels'.
type Choice struct {
	// Eligible may be picked; rising.
	Eligible []int32 `json:"eligible"`
	// Order is one cycle of picks by the pool's policy: member i stands in it as
	// often as its share, evenly spread. Empty exactly when Eligible is.
	Order []int32 `json:"-"`
	// Spare are the Unknown members passed over because some are Up; rising. A retry
	// may go there when every eligible member failed it.
	Spare []int32 `json:"-"`
	// AllDown: nobody is Up or Unknown, so that everybody not Draining is served.
	AllDown bool `json:"allDown"`
	Tier    Tier `json:"tier"`
}

// Tier is which members a Choice fell back to.
type Tier uint8

// The tiers, best first. The zero Tier is Nobody.
const (
	Nobody      Tier = iota // no members, or all Draining
	UpOnly                  // the members that are Up or Poor
	UnknownOnly             // none is Up: those not probed yet (static stability: a start is no outage)
	Everybody               // all are Down: all of them, for a wrong answer is no worse than none
)

var tierNames = [...]string{"nobody", "up", "unknown", "all down, so everybody"}

// String returns the words that explain shows.
func (t Tier) String() string { return tierNames[t] }

// MarshalText returns what String returns.
func (t Tier) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Excludes returns why a member in state s may not be picked at tier t, or "".
func (t Tier) Excludes(s health.State) string {
	switch {
	case s == health.Draining:
		return "draining"
	case t == Everybody, s.IsServing(), t == UnknownOnly && s == health.Unknown:
		return ""
	case s == health.Unknown:
		return "not probed yet, and others are up"
	}
	return "down"
}

// TierOf returns the best tier at which anybody is left of the members that belong.
func TierOf(members []Member, belongs func(i int) bool) Tier {
	i := -1
	return tierOf(members, func(*Member) bool { i++; return belongs(i) })
}

// tierOf returns the best tier at which anybody is left. A Draining member never
// is: what the operator takes out stays out, and a pool with nobody else is empty
// by will.
func tierOf(members []Member, belongs func(*Member) bool) Tier {
	tier := Nobody
	for i := range members {
		m := &members[i]
		if !belongs(m) {
			continue
		}
		switch m.State {
		case health.Up, health.Poor:
			return UpOnly
		case health.Unknown:
			tier = UnknownOnly
		case health.Down:
			if tier == Nobody {
				tier = Everybody
			}
		}
	}
	return tier
}

// Compile makes the view of a pool from its spec and the states of its targets.
// status may be nil: then nothing is known. prev is the view it follows, if there
// is one: the new view has the next revision and shares the loads of members that
// stay. The spec must be valid.
func Compile(spec Spec, status func(health.Target) health.Status, prev *View) *View {
	v := &View{Name: spec.Name, Policy: spec.Policy, Members: make([]Member, len(spec.Members)), Revision: 1}
	kept := spec
	kept.Members = nil // they are the view's: to have them twice would be 260 octets for each
	v.spec = &kept
	if prev != nil {
		v.Revision, v.at = prev.Revision+1, prev.at
	}
	loads := loadsOf(prev)
	for i, m := range spec.Members {
		v.Members[i] = compileMember(spec, m, status, loads)
		v.at = later(v.at, v.Members[i].known.latest())
	}
	v.tables = v.tablesAfter(prev)
	v.choose()
	return v
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func compileMember(spec Spec, m MemberSpec, status func(health.Target) health.Status, loads map[loadKey]*MemberLoad) Member {
	target := spec.target(m)
	weight := max(m.Weight, 1)
	out := Member{
		Name: m.name(), Address: target.Address, Weight: cmp.Or(m.Override.Weight, weight), Target: target,
		Override: m.Override, Configured: Configured{weight, m.Drain, m.Why},
		Tier: m.Tier, Capacity: m.Capacity, limit: m.Capacity, Bandwidth: m.Bandwidth, Place: m.Place, Host: m.Host,
	}
	out.id = consistent.ID(out.Name)
	out.Agent = spec.agent(m)
	if status != nil {
		s := status(target)
		out.known.target = hear(&s)
		if out.hasAgent() {
			out.known.listen(status(out.Agent))
		}
	}
	if out.Load = loads[loadKey{out.Name, out.Address}]; out.Load == nil {
		out.Load = new(MemberLoad)
	}
	return out
}

// loadKey is what makes a member the same one in two views.
type loadKey struct {
	name    string
	address netip.AddrPort
}

func loadsOf(v *View) map[loadKey]*MemberLoad {
	if v == nil {
		return nil
	}
	loads := make(map[loadKey]*MemberLoad, len(v.Members))
	for i := range v.Members {
		m := &v.Members[i]
		loads[loadKey{m.Name, m.Address}] = m.Load
	}
	return loads
}

// next returns a copy of v with a list of members of its own, to be changed and
// then compiled by choose.
func (v *View) next() *View {
	return &View{
		Name: v.Name, Policy: v.Policy, Members: slices.Clone(v.Members), Revision: v.Revision + 1,
		spec: v.spec, at: v.at, tables: v.tables,
	}
}

// with returns the view that follows v when those are the statuses of targets.
func (v *View) with(now map[health.Target]health.Status) *View {
	next := v.next()
	for i := range next.Members {
		m := &next.Members[i]
		if s, changed := now[m.Target]; changed {
			m.known.target = hear(&s)
			next.at = later(next.at, s.Since)
		}
		if s, changed := now[m.Agent]; changed && m.hasAgent() {
			m.known.listen(s)
			next.at = later(next.at, s.Since)
		}
	}
	next.choose()
	return next
}

// warmed returns the view that follows v when nothing changes but that it is now, or
// nil if nobody's share changes by that.
func (v *View) warmed(now time.Time) *View {
	changes := false
	for i := 0; i < len(v.Members) && !changes; i++ {
		changes = v.Members[i].Share != v.spec.shareOf(&v.Members[i], now)
	}
	if !changes {
		return nil
	}
	next := v.next()
	next.at = later(v.at, now)
	next.choose()
	return next
}

// isWarming reports whether some member is in slow start.
func (v *View) isWarming() bool {
	if v.spec.SlowStart == 0 {
		return false
	}
	for i := range v.Members {
		if v.spec.warmth(&v.Members[i], v.at) < 1000 {
			return true
		}
	}
	return false
}

// choose compiles the choices and levels of v from its members.
func (v *View) choose() {
	v.decideStates()
	for i := range v.Members {
		v.Members[i].Share = v.spec.shareOf(&v.Members[i], v.at)
	}
	v.Choice = v.chooseAmong(func(*Member) bool { return true })
	v.V4 = v.chooseFamily(func(m *Member) bool { return m.Address.Addr().Is4() })
	v.V6 = v.chooseFamily(func(m *Member) bool { return m.Address.Addr().Is6() })
	v.Levels = v.levels(v.spec, v.tables)
}

func (v *View) chooseAmong(belongs func(*Member) bool) Choice {
	c := Choice{Tier: tierOf(v.Members, belongs)}
	c.AllDown = c.Tier == Everybody
	var weights []int
	for i := range v.Members {
		m := &v.Members[i]
		if !belongs(m) {
			continue
		}
		switch {
		case c.Tier.Excludes(m.State) == "":
			c.Eligible = append(c.Eligible, int32(i))
			weights = append(weights, v.Policy.weightOf(m))
		case m.State == health.Unknown:
			c.Spare = append(c.Spare, int32(i))
		}
	}
	c.Order = v.Policy.order(c.Eligible, weights)
	return c
}

// chooseFamily is chooseAmong for DNS answers, where members of one address are
// one: an RRset has no two equal records (RFC 2181 §5). The first of them stands
// for all, with the sum of their weights, and the address is eligible if any of
// them is.
func (v *View) chooseFamily(belongs func(*Member) bool) Choice {
	c := v.Choice // of a pool of one family, mostly
	for i := range v.Members {
		if !belongs(&v.Members[i]) {
			c = v.chooseAmong(belongs)
			break
		}
	}
	c.Spare = nil
	first := make(map[netip.Addr]int, len(c.Eligible)) // position in eligible
	eligible := make([]int32, 0, len(c.Eligible))
	var weights []int
	for _, i := range c.Eligible {
		addr := v.Members[i].Address.Addr()
		at, seen := first[addr]
		if !seen {
			at = len(eligible)
			first[addr] = at
			eligible, weights = append(eligible, i), append(weights, 0)
		}
		weights[at] += v.Policy.weightOf(&v.Members[i])
	}
	if len(eligible) < len(c.Eligible) {
		c.Eligible, c.Order = eligible, v.Policy.order(eligible, weights)
	}
	return c
}

// check panics if an invariant of a compiled view does not hold. Tests call it.
func (v *View) check() {
	for name, c := range map[string]*Choice{"all": &v.Choice, "IPv4": &v.V4, "IPv6": &v.V6} {
		inOrder := make(map[int32]bool)
		for _, i := range c.Order {
			inOrder[i] = true
		}
		last := int32(-1)
		for _, i := range c.Eligible {
			if i <= last || int(i) >= len(v.Members) || !inOrder[i] || c.Tier.Excludes(v.Members[i].State) != "" {
				panic("BUG: pool: " + name + ": eligible members do not rise, or one is not in the order, or its state excludes it")
			}
			last = i
		}
		if len(inOrder) != len(c.Eligible) || c.AllDown != (c.Tier == Everybody) || (len(c.Eligible) == 0) != (c.Tier == Nobody) {
			panic("BUG: pool: " + name + ": order, tier and eligible members do not agree")
		}
	}
	leveled := 0
	for i := range v.Levels {
		leveled += len(v.Levels[i].Members)
	}
	if leveled != len(v.Eligible) {
		panic("BUG: pool: levels do not have everybody who is eligible")
	}
	for i := range v.Members {
		if v.Members[i].Load == nil {
			panic("BUG: pool: a member without load")
		}
	}
}

// Supposing returns v as it would be if target were in another state: for explanations.
func (v *View) Supposing(target health.Target, s health.State) *View {
	return v.with(map[health.Target]health.Status{target: {State: s, Cause: "supposed"}})
}

// SupposingUp returns v as it would be if all were up that nobody drains: what its
// configuration means by itself.
func (v *View) SupposingUp() *View {
	now := make(map[health.Target]health.Status, len(v.Members))
	for i := range v.Members {
		if m := &v.Members[i]; m.State != health.Draining {
			now[m.Target] = health.Status{State: health.Up, Cause: "supposed"}
		}
	}
	return v.with(now)
}

// SupposingReleased returns v as it would be if nobody drained member i, by word or by
// configuration, and it were up.
func (v *View) SupposingReleased(i int) *View {
	next := v.next()
	m := &next.Members[i]
	m.Override.State, m.Configured.Drain = Nothing, false
	notes := m.known.target.noted()
	notes.Report = health.Report{}
	m.known = evidence{target: hear(&health.Status{State: health.Up, Cause: "supposed", Notes: notes})}
	m.Agent = health.Target{}
	next.choose()
	return next
}
