package kasp

import (
	"os"
	"testing"
	"time"
)

// ordinary is a policy with everything short enough to happen in ten years.
func ordinary() Policy {
	return Policy{
		Algorithm: 13, KSKLifetime: 365 * day, ZSKLifetime: 60 * day, KeyTTL: time.Hour, Propagation: 5 * time.Minute,
		ParentTTL: time.Hour, ParentPropagation: time.Hour, Safety: time.Hour, Purge: 90 * day, CDS: CDSRollover,
	}
}

// TestDecade lets ten years pass over a zone: keys are rolled by lifetime and by
// hand, algorithms and key layout change, servers die, the parent dawdles and
// reverses itself, the process crashes at any moment and the wall clock jumps;
// and every cache that could be asks all the while. PHAROS_DECADES lets more of
// them pass, each different.
func TestDecade(t *testing.T) {
	decades := uint64(1)
	if s := os.Getenv("PHAROS_DECADES"); s != "" {
		for decades = 0; s != "" && s[0] >= '0' && s[0] <= '9'; s = s[1:] {
			decades = decades*10 + uint64(s[0]-'0')
		}
	}
	for seed := range decades {
		decade(t, seed)
	}
}

func decade(t *testing.T, seed uint64) {
	w := newWorld(t, ordinary(), seed)
	start := w.now
	algorithms := []uint8{13, 15, 8, 14, 16}
	changed := start
	w.run(start.AddDate(10, 0, 0), 2*time.Hour, func() {
		if w.now.Sub(changed) > 400*day { // another policy
			changed = w.now
			p := w.machine.Policy()
			p.Algorithm = algorithms[w.rnd.IntN(len(algorithms))]
			p.Single = w.rnd.IntN(2) == 0
			p.KeyTTL = time.Duration(1+w.rnd.IntN(24)) * time.Hour
			w.machine.SetPolicy(p)
			w.dataTTL = time.Duration(1+w.rnd.IntN(48)) * time.Hour
		}
		if p := w.machine.Policy(); w.once(5*365*day) || p.Off && w.once(20*day) {
			p.Off = !p.Off
			w.machine.SetPolicy(p)
		}
		if w.once(100 * day) { // an operator, who need not be right
			w.machine.Roll(Role(1+w.rnd.IntN(3)), w.rnd.IntN(4) == 0, w.now)
		}
		if w.once(60 * day) { // a secondary that nothing reaches, for up to 40 days
			w.servers[1+w.rnd.IntN(2)].stuck = w.now.Add(time.Duration(w.rnd.Int64N(int64(40 * day))))
		}
		if w.once(90 * day) { // a parent that takes its time
			w.parent.next = w.now.Add(time.Duration(w.rnd.Int64N(int64(60 * day))))
		}
		if w.once(10 * day) { // a crash, and a while until the next start
			crash := w.rnd.IntN(2) == 0
			if crash {
				w.step(true)
			} else {
				w.restart()
			}
			for down := w.rnd.IntN(12); down > 0; down-- {
				w.now = w.now.Add(time.Hour)
				w.serve()
				w.validate()
			}
			w.last = w.now
		}
		switch { // a wall clock that is wrong for a while
		case w.jumped != 0:
			w.jumped = 0
		case w.once(50 * day):
			w.jumped = time.Duration(w.rnd.Int64N(int64(6*365*day))) - 3*365*day
		}
	})
	t.Logf("seed %d: %d keys made, %d editions, %d steps, %d restarts, %d combinations, %d signatures checked", seed,
		w.stats.rolled, w.stats.editions, w.stats.steps, w.stats.restarts, w.stats.combinations, w.stats.verifications)
	if w.stats.rolled < 50 || w.stats.combinations < 1000 {
		t.Errorf("the decade was a quiet one: %+v", w.stats)
	}
}

// once reports whether something that happens every so often happens in this tick.
func (w *world) once(every time.Duration) bool {
	return w.rnd.Int64N(int64(every/(2*time.Hour))) == 0
}
