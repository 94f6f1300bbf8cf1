// Package passive drives the judging of members by the traffic that they carry: some
// times a second it has each pool's members compared, and tells the outcome to whoever
// holds their states. It owns one goroutine. What was counted, and what it means, is
// package outlier's; what follows for a state is package health's.
//
// A target that several pools hold is judged in each of them beside other members; the
// worst grade counts, in all of them: a server is one server.
//
// Entry points: New, Driver.Run, Driver.Evidence.
//
// Concurrency: Run belongs to one goroutine and ends with its context; Evidence may be
// called from any.
package passive

import (
	"context"
	"sync"
	"time"

	"pharos/internal/clock"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/outlier"
	"pharos/internal/traffic/pool"
)

// Config is what a Driver needs. All of it is required.
type Config struct {
	Pools func() []*pool.Pool               // those there are now
	Grade func(health.Target, health.Grade) // tells how a target does beside its peers
	Eject func(health.Target, string)       // tells that it fails too often, with the evidence
}

// Beat is how often members are compared: so that a member that has become slow is known
// within a window and two beats.
const Beat = 500 * time.Millisecond

// Driver compares members. Make it with New.
type Driver struct {
	cfg Config // constant after New

	// Owned by the goroutine of Run: memory that it uses again, and what it has told.
	peers []outlier.Peer
	told  map[health.Target]health.Grade
	round uint64

	mu     sync.Mutex // guards juries and all in them
	juries map[string]*jury
}

// jury is that of one pool.
type jury struct {
	outlier.Jury
	round uint64 // of the Driver, when its pool was there last
}

// New returns a Driver. It does nothing before Run.
func New(cfg Config) *Driver {
	return &Driver{cfg: cfg, told: make(map[health.Target]health.Grade), juries: make(map[string]*jury)}
}

// Run compares the members of all pools at each beat, until ctx ends.
func (d *Driver) Run(ctx context.Context) {
	t := time.NewTicker(Beat)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			d.Look(clock.Now())
		}
	}
}

// ejection is a target that has to go.
type ejection struct {
	target health.Target
	cause  string
}

// Look compares the members of all pools once. Run calls it.
func (d *Driver) Look(now time.Time) {
	want := make(map[health.Target]health.Grade)
	var out []ejection
	d.mu.Lock()
	d.round++
	for _, p := range d.cfg.Pools() {
		v := p.View()
		if v.Spec().Passive.Off {
			continue
		}
		j := d.juries[v.Name]
		if isQuiet(v) && (j == nil || j.IsIdle()) {
			continue
		}
		if j == nil {
			j = new(jury)
			d.juries[v.Name] = j
		}
		j.round = d.round
		for _, s := range j.Judge(now, v.Spec().Passive.Rules, d.peersOf(v)) {
			target := v.Members[s.Peer].Target
			if s.Eject != "" {
				out = append(out, ejection{target, s.Eject})
			} else if worst, has := want[target]; !has || s.Grade.Share < worst.Share {
				want[target] = s.Grade
			}
		}
	}
	for name, j := range d.juries {
		if j.round != d.round {
			delete(d.juries, name)
		}
	}
	d.mu.Unlock()
	for _, e := range out { // those held first stay out: the list is in the order of pools
		d.cfg.Eject(e.target, e.cause)
	}
	d.tell(want)
}

// tell tells the grades that are not as they were told last.
func (d *Driver) tell(want map[health.Target]health.Grade) {
	for target := range d.told {
		if _, still := want[target]; !still {
			d.cfg.Grade(target, health.Grade{Cause: "does as well as its peers, or is not compared any more"})
			delete(d.told, target)
		}
	}
	for target, g := range want {
		if d.told[target] != g {
			d.cfg.Grade(target, g)
			d.told[target] = g
		}
	}
}

// isQuiet reports whether there is nothing to judge about the members of a view: nobody has carried anything since
// they were looked at, and nobody is Poor.
func isQuiet(v *pool.View) bool {
	for i := range v.Members {
		if m := &v.Members[i]; m.Load.Gauge.IsBusy() || m.State == health.Poor {
			return false
		}
	}
	return true
}

// peersOf returns the members of a view as they are judged: those of one level of
// failover and nearness beside each other.
func (d *Driver) peersOf(v *pool.View) []outlier.Peer {
	d.peers = d.peers[:0]
	for i := range v.Members {
		m := &v.Members[i]
		d.peers = append(d.peers, outlier.Peer{Gauge: &m.Load.Gauge, State: m.State, Notes: m.Notes, Cause: m.Cause, Group: v.GroupOf(m)})
	}
	return d.peers
}

// Evidence returns what the last comparison of a member of a pool has shown; "" if there
// was too little traffic to tell.
func (d *Driver) Evidence(pool string, m *pool.Member) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if j := d.juries[pool]; j != nil {
		return j.Evidence(&m.Load.Gauge)
	}
	return ""
}
