package scale

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"pharos/internal/traffic/health"
)

// Scaler decides for one pool. Make it with New.
type Scaler struct {
	rules Rules

	lastOut, lastChange time.Time // when members were added; when anything was changed
	wanted              []wish    // what the rules wanted within Stabilise; At rising, Most falling
	tooFew              []demand  // with how many members demand was too much
	log                 Log
	windows             activeWindows
}

// wish is how many members the rules wanted at a time.
type wish struct {
	at   time.Time
	most int
}

// demand is how much of a signal was more than so many members could do.
type demand struct {
	members int
	by      Signal
	total   float64
	at      time.Time
}

// Limits of what a Scaler remembers.
const (
	// memory is how long it is remembered that members were too few: servers get faster,
	// so that it is tried again. Once an hour is no oscillation.
	memory = time.Hour
	// sameDemand is from which part of a demand on it counts as the same again.
	sameDemand = 0.9
	// most that a signal of how members feel can ask for at once, as a factor: it says
	// that there are too few, but not by how much.
	mostGrowth = 2
)

// New returns a Scaler. The rules must be valid.
func New(r Rules) *Scaler { return &Scaler{rules: r} }

// Follow gives s other rules; what was decided is remembered.
func (s *Scaler) Follow(r Rules) {
	s.rules, s.wanted, s.windows = r, nil, activeWindows{}
}

// Rules returns the rules. Not to be written to.
func (s *Scaler) Rules() *Rules { return &s.rules }

// Log returns the last n decisions, the newest first.
func (s *Scaler) Log(n int) []Decision { return s.log.Last(n) }

// Decide decides how many members there are to be, and notes it.
func (s *Scaler) Decide(r *Reading) Decision {
	d := Decision{At: r.At, Counts: s.count(r)}
	d.Have = d.Counts.capacity()
	var schedule string
	d.Min, d.Max, schedule = s.bounds(r.At)
	want, rule, why, sure := s.consult(r, &d)
	if r.Waiting > 0 && want < 1 {
		want, rule, why = 1, "waiting requests", fmt.Sprintf("%d requests and connections wait for the first member", r.Waiting)
	}
	stable := s.stabilise(r.At, want, d.Have)
	floor, ceiling := cmp.Or(schedule, "minimum"), cmp.Or(schedule, "maximum")
	if want < d.Min {
		d.NotLess = fmt.Sprintf("%s wants %d; at least %d (%s)", rule, want, d.Min, floor)
		want, rule, why = d.Min, floor, fmt.Sprintf("at least %d members", d.Min)
	}
	if want > d.Max {
		d.NotMore = fmt.Sprintf("%s wants %d; at most %d (%s)", rule, want, d.Max, ceiling)
		want = d.Max
		if d.Have > d.Max {
			rule, why = ceiling, fmt.Sprintf("at most %d members", d.Max)
		}
	}
	d.Want, d.Rule, d.Why = d.Have, rule, why
	switch {
	case want > d.Have:
		s.grow(r, &d, want)
	case want < d.Have:
		s.shrink(r, &d, sinking{to: want, stable: max(min(stable, d.Max), d.Min), sure: sure})
	}
	s.replace(r, &d)
	if d.IsChange() {
		s.lastChange = r.At
	}
	s.log.add(&d)
	return d
}

// kind is what a member counts as.
type kind uint8

const (
	up kind = iota
	poor
	warming
	starting
	unknown
	down
	drained
	leaving
)

func (s *Scaler) kindOf(m *Member, now time.Time) kind {
	switch {
	case m.Leaving:
		return leaving
	case m.Starting:
		return starting
	case m.State == health.Down:
		return down
	case m.State == health.Draining:
		return drained
	case m.State == health.Unknown:
		return unknown
	case !m.Ready.IsZero() && now.Sub(m.Ready) < s.rules.WarmUp:
		return warming
	case m.State != health.Up:
		return poor
	}
	return up
}

func (s *Scaler) count(r *Reading) (c Counts) {
	for i := range r.Members {
		switch s.kindOf(&r.Members[i], r.At) {
		case up:
			c.Up++
		case poor:
			c.Poor++
		case warming:
			c.Warming++
		case starting:
			c.Starting++
		case unknown:
			c.Unknown++
		case down:
			c.Down++
		case drained:
			c.Drained++
		case leaving:
			c.Leaving++
		}
	}
	return c
}

// bounds returns the minimum and the maximum now. Of several schedules that are on the
// highest counts.
func (s *Scaler) bounds(now time.Time) (least, most int, schedule string) {
	least, most = s.rules.Min, s.rules.Max
	for i, w := range s.rules.Windows {
		if !s.windows.isOn(i, &s.rules.Windows[i], now) {
			continue
		}
		if schedule == "" {
			least, most = w.Min, w.Max
		}
		least, most = max(least, w.Min), max(most, w.Max)
		schedule = "schedule " + w.String()
	}
	return least, most, schedule
}

// consult asks every rule. What wants most counts; sure is false when some rule does not
// know, so that fewer members must not follow from the others.
func (s *Scaler) consult(r *Reading, d *Decision) (want int, rule, why string, sure bool) {
	want, sure = -1, true
	take := func(c Considered) {
		d.Considered = append(d.Considered, c)
		if c.Wants < 0 {
			sure = false
		} else if c.Wants > want {
			want, rule, why = c.Wants, c.Rule, c.Why
		}
	}
	for _, t := range s.rules.Targets {
		take(s.track(t, r, d))
	}
	if len(s.rules.Steps) > 0 {
		for _, c := range s.step(r, d) {
			take(c)
		}
	}
	switch {
	case d.Counts.Unknown > 0:
		// Whoever is unknown may carry everything or nothing; what is measured of the others
		// says nothing about how many are needed.
		return d.Have, "unknown", fmt.Sprintf("nothing is known yet of %d members: nothing is decided by signals", d.Counts.Unknown), false
	case len(s.rules.Targets)+len(s.rules.Steps) == 0:
		return d.Min, "minimum", "there are no targets and no steps: schedules alone decide", true
	case want < 0:
		return d.Have, "unknown", "no signal is known: nothing is decided by signals", false
	}
	return want, rule, why, sure
}

// track is target tracking: as many members as bring each to the target. Within the
// tolerance nothing changes; beyond it downwards, so many are wanted that each stays
// within it. So what is constant moves nothing twice.
func (s *Scaler) track(t Target, r *Reading, d *Decision) Considered {
	c := Considered{Rule: "target " + t.By.String(), Wants: -1}
	v := r.Values[t.By]
	if !v.Known {
		c.Input, c.Why = "unknown", "the signal is not known"
		return c
	}
	have, total := d.Have, v.Total
	if t.By.isMean() {
		warm := d.Counts.Up + d.Counts.Poor
		if warm == 0 && total > 0 {
			c.Input, c.Why = "unknown", "no member has warmed up"
			return c
		}
		c.Input = fmt.Sprintf("%s as the mean of %d members; the target is %s", t.By.Text(total), warm, t.By.Text(t.Value))
		total *= float64(warm)
		return s.trackMean(c, t, total, warm, have)
	}
	c.Input = fmt.Sprintf("%s in all, %s for each of %d; the target is %s", t.By.Text(total), t.By.Text(each(total, have)), have, t.By.Text(t.Value))
	limit := t.Value * (1 + s.rules.Tolerance)
	switch few := atLeast(total / (t.Value * (1 - s.rules.Tolerance))); {
	case total > float64(have)*limit:
		c.Wants, c.Why = atLeast(total/t.Value), "more than the target: as many as bring it back"
	case few < have:
		c.Wants, c.Why = few, "less than the target: fewer can do it"
	default:
		c.Wants, c.Why = have, fmt.Sprintf("within %g%% of the target, or with one fewer beyond it", 100*s.rules.Tolerance)
	}
	return c
}

// trackMean is track for how members feel. Those that are warming up count as there
// already. One fewer at a time: a latency or a load does not fall in step with numbers.
func (s *Scaler) trackMean(c Considered, t Target, total float64, warm, have int) Considered {
	limit := t.Value * (1 + s.rules.Tolerance)
	switch few := atLeast(total / (t.Value * (1 - s.rules.Tolerance))); {
	case total > float64(warm)*limit:
		c.Wants = max(have, min(atLeast(total/t.Value), mostGrowth*warm))
		c.Why = "above the target: more, at most twice as many at once"
	case total == 0:
		c.Wants, c.Why = 0, "nothing is going on"
	case max(few, 1) < warm:
		c.Wants, c.Why = have-1, "below the target: one fewer can be tried"
	default:
		c.Wants, c.Why = have, fmt.Sprintf("within %g%% of the target, or with one fewer beyond it", 100*s.rules.Tolerance)
	}
	return c
}

// atLeast returns how many members x is, rounded up; what is far beyond any maximum is
// cut.
func atLeast(x float64) int {
	const rounding = 1e-9 // 3 x 0.1 / 0.1 are 3
	return int(min(math.Ceil(x-rounding), 10*MaxMembers))
}

func each(total float64, members int) float64 { return total / float64(max(members, 1)) }

// step asks the steps of each signal: of those that are passed upwards the one that adds
// most, and only if none is, of those passed downwards the one that removes most.
func (s *Scaler) step(r *Reading, d *Decision) (all []Considered) {
	for by := range signals {
		steps := slices.DeleteFunc(slices.Clone(s.rules.Steps), func(t Step) bool { return t.By != by })
		if len(steps) > 0 {
			all = append(all, s.stepBy(by, steps, r, d))
		}
	}
	return all
}

func (s *Scaler) stepBy(by Signal, steps []Step, r *Reading, d *Decision) Considered {
	c := Considered{Rule: "step " + by.String(), Wants: -1}
	v := r.Values[by]
	if !v.Known {
		c.Input, c.Why = "unknown", "the signal is not known"
		return c
	}
	value := v.Total
	if !by.isMean() {
		value = each(value, d.Have)
	}
	c.Input = by.Text(value) + " for each"
	change := 0
	for _, t := range steps {
		switch {
		case t.Above && value > t.Bound && t.Change > change:
			change, c.Why = t.Change, fmt.Sprintf("above %s: %d more", by.Text(t.Bound), t.Change)
		case !t.Above && value < t.Bound && change <= 0 && -t.Change < change:
			change, c.Why = -t.Change, fmt.Sprintf("below %s: %d fewer", by.Text(t.Bound), t.Change)
		}
	}
	if change > 0 && d.Counts.Warming+d.Counts.Starting > 0 {
		change, c.Why = 0, c.Why+", but not before those are warm that were started last"
	}
	if change == 0 && c.Why == "" {
		c.Why = "no step is passed"
	}
	c.Wants = max(d.Have+change, 0)
	return c
}

// stabilise returns the most that the rules wanted within the window, and notes what
// they want now. The list is a falling staircase: its first entry is the most. At first
// as many were wanted as there are: nothing is known that speaks against them.
func (s *Scaler) stabilise(now time.Time, want, have int) int {
	if len(s.wanted) == 0 {
		s.wanted = append(s.wanted, wish{now, have})
	}
	for len(s.wanted) > 0 && s.wanted[len(s.wanted)-1].most <= want {
		s.wanted = s.wanted[:len(s.wanted)-1]
	}
	s.wanted = append(s.wanted, wish{now, want})
	first := 0
	for now.Sub(s.wanted[first].at) >= max(s.rules.Stabilise, 1) && first < len(s.wanted)-1 {
		first++
	}
	s.wanted = slices.Delete(s.wanted, 0, first)
	return s.wanted[0].most
}

// grow adds members: first those that are just leaving.
func (s *Scaler) grow(r *Reading, d *Decision, want int) {
	byNeed := d.Have < d.Min || d.Have == 0 // cannot wait
	switch left := s.rules.OutPause - r.At.Sub(s.lastOut); {
	case r.Broken != "":
		d.NotMore = r.Broken
		return
	case !byNeed && !s.lastOut.IsZero() && left > 0:
		d.NotMore = fmt.Sprintf("cool-down: members were added %v ago, the next are in %v", r.At.Sub(s.lastOut).Round(time.Second), left.Round(100*time.Millisecond))
		return
	}
	// A member that is down holds its place: more than the maximum are never started.
	room := max(0, d.Max-d.Have-d.Counts.Down)
	add := min(want-d.Have, room)
	if add < want-d.Have {
		d.NotMore = fmt.Sprintf("%d members are down and hold their places; at most %d", d.Counts.Down, d.Max)
	}
	if add == 0 {
		return
	}
	for i := range r.Members {
		if m := &r.Members[i]; m.Leaving && m.State != health.Down && len(d.Keep) < add {
			d.Keep = append(d.Keep, m.Name)
		}
	}
	d.Start, d.Want = add-len(d.Keep), d.Have+add
	s.remember(r, d)
	s.lastOut = r.At
}

// remember notes for each rule that wants more that there were too few.
func (s *Scaler) remember(r *Reading, d *Decision) {
	s.tooFew = slices.DeleteFunc(s.tooFew, func(t demand) bool { return r.At.Sub(t.at) >= memory })
	for _, t := range s.rules.Targets {
		s.rememberBy(t.By, r, d)
	}
	for _, t := range s.rules.Steps {
		s.rememberBy(t.By, r, d)
	}
}

func (s *Scaler) rememberBy(by Signal, r *Reading, d *Decision) {
	wants := slices.ContainsFunc(d.Considered, func(c Considered) bool {
		return c.Wants > d.Have && (c.Rule == "target "+by.String() || c.Rule == "step "+by.String())
	})
	if !wants || d.Have == 0 {
		return
	}
	if by == Latency {
		by = Requests // a latency is no demand; what brought it about is
	}
	total, known := r.demandOf(by, d)
	if !known || total == 0 {
		return
	}
	s.tooFew = slices.DeleteFunc(s.tooFew, func(t demand) bool { return t.members == d.Have && t.by == by })
	s.tooFew = append(s.tooFew, demand{d.Have, by, total, r.At}) // at most one for each number and signal
}

// demandOf returns how much of a signal there is in all.
func (r *Reading) demandOf(by Signal, d *Decision) (float64, bool) {
	v := r.Values[by]
	if by.isMean() {
		v.Total *= float64(d.Counts.Up + d.Counts.Poor)
	}
	return v.Total, v.Known
}

// provenTooFew returns how many members were too few for the demand there is now; -1:
// no number is known to be.
func (s *Scaler) provenTooFew(r *Reading, d *Decision) int {
	members := -1
	for _, t := range s.tooFew {
		if total, known := r.demandOf(t.by, d); known && total >= sameDemand*t.total && r.At.Sub(t.at) < memory {
			members = max(members, t.members)
		}
	}
	return members
}

// sinking is how many members are to be left, and what speaks against it.
type sinking struct {
	to     int  // by the rules
	stable int  // the most that they have wanted of late
	sure   bool // all of them know
}

// shrink removes members, unless one of many reasons speaks against it. Serving well
// with one too many is a small fault; with one too few it is a failure.
func (s *Scaler) shrink(r *Reading, d *Decision, to sinking) {
	c := d.Counts
	target := max(to.to, to.stable)
	overMax := d.Have > d.Max
	if overMax {
		target = max(to.to, min(to.stable, d.Max))
	}
	few := s.provenTooFew(r, d)
	sinceChange := r.At.Sub(s.lastChange)
	switch {
	case !to.sure && !overMax:
		d.NotLess = "not every rule knows its signal, or a member is unknown"
	case c.Starting+c.Warming > 0 && !overMax:
		d.NotLess = fmt.Sprintf("%d members are starting or warming up", c.Starting+c.Warming)
	case target >= d.Have:
		d.NotLess = fmt.Sprintf("within the last %v the rules have wanted %d", s.rules.Stabilise, to.stable)
	case !s.lastChange.IsZero() && sinceChange < s.rules.InPause && !overMax:
		d.NotLess = fmt.Sprintf("cool-down: the last change was %v ago, members are removed %v after it", sinceChange.Round(time.Second), s.rules.InPause)
	case few >= target && !overMax && few+1 >= d.Have:
		d.NotLess = fmt.Sprintf("with %d members this much was too much within the last %v", few, memory)
	default:
		if few >= target && !overMax {
			target = few + 1
		}
		s.remove(r, d, target)
		return
	}
	d.Rule, d.Why = "hold", d.NotLess
}

// remove chooses who goes, so that target members are left: who serves worst first, and
// of equals who came last. As many as are needed stay up.
func (s *Scaler) remove(r *Reading, d *Decision, target int) {
	var candidates []*Member
	for i := range r.Members {
		m := &r.Members[i]
		if k := s.kindOf(m, r.At); !m.Fixed && k <= unknown {
			candidates = append(candidates, m)
		}
	}
	worth := func(m *Member) int {
		return slices.Index([]kind{unknown, starting, poor, warming, up}, s.kindOf(m, r.At))
	}
	slices.SortStableFunc(candidates, func(a, b *Member) int {
		return cmp.Or(cmp.Compare(worth(a), worth(b)), b.Ready.Compare(a.Ready), cmp.Compare(b.Name, a.Name))
	})
	for _, m := range candidates {
		if d.Want == target {
			break
		}
		d.Remove = append(d.Remove, m.Name)
		d.Want--
	}
	if d.Want > target {
		d.NotLess = fmt.Sprintf("%d members are not the driver's to remove", d.Want-target)
	}
}

// replace removes a member that has been down for long, so that another can take its
// place: one at a time, and not while others are starting, lest a check that is wrong
// turns the whole pool over.
func (s *Scaler) replace(r *Reading, d *Decision) {
	if s.rules.Replace == 0 || d.Counts.Starting > 0 || d.IsChange() || r.Broken != "" {
		return
	}
	for i := range r.Members {
		m := &r.Members[i]
		if lost := r.At.Sub(m.Since); !m.Fixed && s.kindOf(m, r.At) == down && lost >= s.rules.Replace {
			d.Remove = append(d.Remove, m.Name)
			d.Rule, d.Why = "replace", fmt.Sprintf("%s has been down for %v", m.Name, lost.Round(time.Second))
			return
		}
	}
}
