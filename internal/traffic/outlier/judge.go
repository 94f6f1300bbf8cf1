package outlier

import (
	"fmt"
	"slices"
	"time"

	"pharos/internal/traffic/health"
)

// Judge looks at the members of a pool and returns a sentence on each that has a grade,
// or has to go. Who is not in the list any more is forgotten. What is returned is good
// until the next call.
func (j *Jury) Judge(now time.Time, rules Rules, peers []Peer) []Sentence {
	rules = rules.Normal()
	j.round++
	j.sentences = j.sentences[:0]
	if now.Before(j.last) { // the clock was put back: windows begin anew
		for _, r := range j.records {
			r.began, r.heard, r.well = now, now, now
		}
	}
	j.last = now
	j.listen(now, rules, peers)
	if len(j.records) == 0 {
		return nil
	}
	for first := 0; first < len(j.present); {
		after := first + 1
		for after < len(j.present) && peers[j.present[after].peer].Group == peers[j.present[first].peer].Group {
			after++
		}
		j.compare(now, rules, peers, j.present[first:after])
		first = after
	}
	for i := range peers {
		if r := j.records[peers[i].Gauge]; r != nil && r.grade.Share > 0 && !j.hasSentence(i) {
			j.sentences = append(j.sentences, Sentence{Peer: i, Grade: r.grade})
		}
	}
	return j.sentences
}

func (j *Jury) hasSentence(peer int) bool {
	return slices.ContainsFunc(j.sentences, func(s Sentence) bool { return s.Peer == peer })
}

// listen takes in what was counted since the last look, and gathers those of whom there
// is enough to tell, by groups.
func (j *Jury) listen(now time.Time, rules Rules, peers []Peer) {
	j.present = j.present[:0]
	for i := range peers {
		p := &peers[i]
		busy := p.Gauge.busy.Load() && p.Gauge.busy.Swap(false)
		if !busy && len(j.records) == 0 && p.State != health.Poor {
			continue
		}
		r := j.records[p.Gauge]
		if r == nil {
			if !busy && p.State != health.Poor {
				continue
			}
			r = j.meet(p, now)
		}
		r.round, r.fresh = j.round, busy
		if busy {
			total := p.Gauge.read()
			r.now.add(&r.seen, &total)
			r.seen = total
		}
		if !p.State.IsServing() {
			*r = record{seen: r.seen, began: now, heard: now, round: r.round, times: r.times, well: now}
			continue
		}
		if w, enough := r.tell(now, rules); enough {
			w.peer = i
			j.present = append(j.present, w)
		} else if r.grade.Share > 0 && now.Sub(r.heard) > patience*rules.Window {
			r.lift(now) // whoever asks for nothing learns nothing
		}
	}
	for g, r := range j.records {
		if r.round != j.round {
			delete(j.records, g)
		}
	}
	slices.SortStableFunc(j.present, func(a, b witness) int { return peers[a.peer].Group - peers[b.peer].Group })
}

// meet begins a record. Who is Poor already, as after a start, stays so until there is
// enough to tell.
func (j *Jury) meet(p *Peer, now time.Time) *record {
	r := &record{began: now, heard: now, well: now}
	if p.State == health.Poor {
		r.grade = health.Grade{Share: p.Notes.Kept(), Cause: p.Cause}
	}
	if j.records == nil {
		j.records = make(map[*Gauge]*record)
	}
	j.records[p.Gauge] = r
	return r
}

// tell returns what is known of a member: from this window if it has enough requests,
// else with the one before.
func (r *record) tell(now time.Time, rules Rules) (w witness, enough bool) {
	basis, least := r.now, rules.MinRequests
	if r.grade.Share > 0 {
		least = max(1, least/fewer)
	}
	answered, failed := basis.sum()
	if int(answered+failed) < least {
		var none Counts
		basis.add(&none, &r.before)
		answered, failed = basis.sum()
	}
	enough = int(answered+failed) >= least
	if enough {
		r.heard = now
		w = witness{record: r, n: answered + failed, rate: float64(failed) / float64(answered+failed)}
		if answered > 0 {
			w.median = basis.median()
		}
	}
	own, ownFailed := r.now.sum()
	if age := now.Sub(r.began); age >= rules.Window && int(own+ownFailed) >= least || age >= patience*rules.Window {
		r.before, r.now, r.began = r.now, Counts{}, now
	}
	return w, enough
}

// compare judges the members of one group by each other.
func (j *Jury) compare(now time.Time, rules Rules, peers []Peer, group []witness) {
	if len(group) < 2 {
		for _, w := range group {
			w.record.evidence, w.record.bad = "", 0
			if w.record.good++; w.record.grade.Share > 0 && w.record.good >= inFavour*w.record.times {
				w.record.lift(now) // nobody is left to be worse than
			}
		}
		return
	}
	j.medians, j.rates = j.medians[:0], j.rates[:0]
	for _, w := range group {
		j.medians, j.rates = append(j.medians, w.median), append(j.rates, w.rate)
	}
	slices.Sort(j.medians)
	slices.Sort(j.rates)
	for _, w := range group {
		c := comparison{witness: w, others: upperMedian(j.medians, w.median), othersRate: upperMedian(j.rates, w.rate)}
		if w.record.fresh {
			j.weigh(now, rules, c)
		}
		if cause := c.unbearable(rules); cause != "" && w.record.fresh && peers[w.peer].State.IsServing() {
			j.sentences = append(j.sentences, Sentence{Peer: w.peer, Grade: w.record.grade, Eject: cause})
			*w.record = record{seen: w.record.seen, began: now, heard: now, round: w.record.round, times: w.record.times, well: now}
		}
	}
}

// upperMedian returns the upper median of sorted values without one that equals own.
func upperMedian[T time.Duration | float64](sorted []T, own T) T {
	at, _ := slices.BinarySearch(sorted, own)
	if middle := (len(sorted) - 1) / 2; middle < at {
		return sorted[middle]
	} else {
		return sorted[middle+1]
	}
}

// comparison is a member beside its peers.
type comparison struct {
	witness
	others     time.Duration // upper median of the medians of the others
	othersRate float64       // and of their rates of failures
}

// unbearable returns why a member fails too often to be used at all, or "".
func (c *comparison) unbearable(rules Rules) string {
	if rules.ErrorRate < 0 || c.rate*100 < float64(rules.ErrorRate) || c.othersRate > c.rate/2 {
		return ""
	}
	return c.failures()
}

func (c *comparison) failures() string {
	return fmt.Sprintf("%.1f %% of %d requests failed, of its peers %.1f %%", c.rate*100, c.n, c.othersRate*100)
}

// isSlow and isFaulty report whether a member is so beside its peers; firmness is 1 to
// become Poor, and less to stay so: what is near the border does not change its state.
func (c *comparison) isSlow(rules Rules, firmness float64) bool {
	if rules.Slow < 0 || c.median == 0 || c.others == 0 {
		return false
	}
	times := 1 + (rules.Slow-1)*firmness
	return float64(c.median) > times*float64(c.others) && c.median-c.others >= tellingGap
}

func (c *comparison) isFaulty(rules Rules, firmness float64) bool {
	if rules.ErrorRate < 0 {
		return false
	}
	gap := float64(rules.ErrorRate) / 500 * firmness // a fifth of what ejects
	return c.rate-c.othersRate > gap
}

// share returns what a member keeps, in permille: in proportion to how much slower and
// more faulty it is.
func (c *comparison) share(rules Rules) int {
	share := 1000.0
	if rules.Slow >= 0 && c.median > 0 && c.others > 0 {
		share *= min(1, float64(c.others)/float64(c.median))
	}
	if rules.ErrorRate >= 0 {
		share *= min(1, (c.othersRate+doubt)/(c.rate+doubt))
	}
	return min(max(int(share), rules.Floor*10, 1), 999)
}

// weigh moves the grade of a member, if enough looks agree.
func (j *Jury) weigh(now time.Time, rules Rules, c comparison) {
	r := c.record
	r.evidence = fmt.Sprintf("median response %v, of its peers %v; %s", rounded(c.median), rounded(c.others), c.failures())
	if r.grade.Share == 0 {
		if now.Sub(r.well) > mostTimes*patience*rules.Window {
			r.times, r.well = 0, now
		}
		if !c.isSlow(rules, 1) && !c.isFaulty(rules, 1) {
			r.bad = 0
			return
		}
		if r.bad++; r.bad >= against {
			r.grade = health.Grade{Share: c.share(rules), Cause: "performs poorly: " + r.evidence}
			r.bad, r.good = 0, 0
			r.times = min(r.times+1, mostTimes)
		}
		return
	}
	if c.isSlow(rules, 0.5) || c.isFaulty(rules, 0.5) {
		r.good = 0
		share := c.share(rules)
		if ratio := float64(share) / float64(r.grade.Share); ratio >= stepUp || ratio <= 1/stepUp {
			r.grade = health.Grade{Share: share, Cause: "performs poorly: " + r.evidence}
		}
		return
	}
	if r.good++; r.good >= inFavour*r.times {
		r.lift(now)
	}
}

// lift gives a member its whole share again.
func (r *record) lift(now time.Time) {
	r.grade, r.bad, r.good, r.well = health.Grade{}, 0, 0, now
}

// rounded returns a time in three digits.
func rounded(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// Evidence returns what the last look at a member has shown; "" if there was too little.
func (j *Jury) Evidence(g *Gauge) string {
	if r := j.records[g]; r != nil {
		return r.evidence
	}
	return ""
}
