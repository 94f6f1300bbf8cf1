package kasp

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// ceremony is what an offline machine has signed.
type ceremony struct{ sets, asks map[string]bool }

// hold has everything signed that is forecast for a span.
func (l *life) hold(span time.Duration) ceremony {
	l.t.Helper()
	c := ceremony{map[string]bool{}, map[string]bool{}}
	f, err := l.m.Forecast(l.now, span, day, func(role Role, algorithm uint8) error {
		id := l.m.NextID()
		_, err := l.m.AddSpare(role, []byte{byte(role.Flags() >> 8), byte(role.Flags()), 3, algorithm, byte(id)}, l.now)
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	for _, e := range f.Entries {
		for _, o := range f.Others {
			c.sets[fmt.Sprint(union(e, o))] = true
		}
	}
	for _, a := range f.Asks {
		c.asks[fmt.Sprint(a)] = true
	}
	l.offline = &Offline{
		Keys: func(set []ID) bool { return c.sets[fmt.Sprint(set)] },
		Ask:  func(set []ID, none bool) bool { return c.asks[fmt.Sprint(set)] || none && f.Remove },
	}
	return c
}

func offlinePolicy() Policy {
	p := plain()
	p.OfflineKSK, p.ZSKLifetime, p.KSKLifetime = true, 60*day, 30*day
	return p
}

// TestOfflineKSK: nothing is published before the KSK is known and has signed; then ZSKs
// roll as they would, from a reserve, and stop where the signatures do.
func TestOfflineKSK(t *testing.T) {
	l := newLife(t, offlinePolicy())
	l.offline = &Offline{Keys: func([]ID) bool { return false }, Ask: func([]ID, bool) bool { return false }}
	l.run(day).want("0s: DNSKEY [] by [], data by [], CDS []")
	ksk, err := l.m.ImportOffline(KSK, []byte{1, 1, 3, 13, 200}, l.now)
	if err != nil {
		t.Fatal(err)
	}
	l.run(day)
	if l.m.Lacking() == nil || len(l.lines) != 1 {
		t.Errorf("without signatures: lacking %v, %v", l.m.Lacking(), l.lines)
	}
	if err := l.m.Roll(KSK, false, l.now); err == nil {
		t.Error("a KSK is to be made here")
	}
	if _, err := l.m.ImportOffline(ZSK, []byte{1, 0, 3, 13, 201}, l.now); err == nil {
		t.Error("a ZSK is offline")
	}
	l.hold(200 * day)
	if got := len(l.m.Memory().Spares); got != 3 {
		t.Errorf("%d spares for 200 days of 60, want 3", got)
	}
	l.lines = nil
	l.run(199 * day)
	if l.m.Lacking() != nil || !l.m.isShown(ksk) || len(l.m.Memory().Spares) != 0 {
		t.Errorf("lacking %v, DS of the KSK shown %v\n%v", l.m.Lacking(), l.m.isShown(ksk), l.lines)
	}
	before := len(l.lines)
	l.run(200 * day)
	if l.m.Lacking() == nil || len(l.lines) != before {
		t.Errorf("after the last signatures: lacking %v\n%v", l.m.Lacking(), l.lines[before:])
	}
	l.hold(200 * day) // late, but nothing is lost
	l.run(30 * day)
	if l.m.Lacking() != nil || len(l.lines) == before {
		t.Errorf("after new ones: lacking %v\n%v", l.m.Lacking(), l.lines[before:])
	}
}

// TestOfflineRollover: the successor of an offline KSK is imported; what is forecast then
// is enough for the rollover, whenever the parent follows and whichever ZSK is there then.
func TestOfflineRollover(t *testing.T) {
	for _, delay := range []time.Duration{time.Hour, 40 * day, 70 * day} {
		l := newLife(t, offlinePolicy())
		if _, err := l.m.ImportOffline(KSK, []byte{1, 1, 3, 13, 200}, l.now); err != nil {
			t.Fatal(err)
		}
		l.step() // which asks for a ZSK
		l.hold(400 * day)
		l.run(20 * day)
		if _, err := l.m.ImportOffline(KSK, []byte{1, 1, 3, 13, 201}, l.now); err != nil {
			t.Fatal(err)
		}
		l.run(day)
		if l.m.Lacking() == nil {
			t.Error("the new KSK is published without a signature of its own")
		}
		l.hold(300 * day)
		l.delay = delay
		l.run(200 * day)
		if l.m.Lacking() != nil {
			t.Errorf("delay %s: lacking %v\n%v", delay, l.m.Lacking(), l.lines)
		}
		views := l.m.Views(l.now)
		if i := slices.IndexFunc(views, func(v View) bool { return v.Key.DNSKEY[4] == 201 }); views[i].Phase != "active" {
			t.Errorf("delay %s: the new KSK is in state %s", delay, views[i].Phase)
		}
	}
}

// TestForecastChangesNothing: but that keys are put in reserve.
func TestForecastChangesNothing(t *testing.T) {
	l := newLife(t, offlinePolicy())
	if _, err := l.m.Forecast(l.now, 10*day, day, nil); err == nil {
		t.Error("there is a forecast without a KSK")
	}
	if _, err := l.m.ImportOffline(KSK, []byte{1, 1, 3, 13, 200}, l.now); err != nil {
		t.Fatal(err)
	}
	l.step()
	l.hold(400 * day)
	before := fmt.Sprintf("%+v", l.m.Memory())
	l.hold(400 * day)
	if after := fmt.Sprintf("%+v", l.m.Memory()); after != before {
		t.Errorf("memory\n%s\nbefore\n%s", after, before)
	}
	p := offlinePolicy()
	p.Algorithm = 15
	l.m.SetPolicy(p)
	if plan := l.m.Step(l.now, Facts{Offline: l.offline}); len(plan.Purge) == 0 {
		t.Error("spares of an algorithm that is not wanted any more are kept")
	}
}
