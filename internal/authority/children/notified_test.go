package children

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/dns/dnsname"
)

// TestNotified (RFC 9859 §3): a child that says so is looked at at once, and again only after a
// pause, however often it says it meanwhile.
func TestNotified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, true)
		d := Open(w.config)
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go d.Run(ctx) // ends with ctx
		wait := func(long time.Duration, want uint64, what string) {
			t.Helper()
			time.Sleep(long)
			synctest.Wait()
			if got := d.Counts().Asked; got != want {
				t.Errorf("%s: looked %d times, want %d", what, got, want)
			}
		}
		wait(2*notifiedPause, 1, "the first turn")
		for range 5 {
			if !d.Notified(child) {
				t.Error("a delegation is none")
			}
		}
		wait(2*lookInterval, 2, "told after a long time")
		d.Notified(child)
		wait(notifiedPause/2, 2, "told again")
		d.Notified(child)
		wait(notifiedPause, 3, "after the pause")
		wait(2*notifiedPause, 3, "and no more")
		if got := d.Counts().Notified; got != 7 {
			t.Errorf("taken %d times, want 7", got)
		}
		for _, other := range []string{"example.", "ns.example.", "www.child.example.", "child.example.net."} {
			if d.Notified(dnsname.MustParse(other)) {
				t.Errorf("%s is taken for a delegation", other)
			}
		}
	})
}

// TestMostNotified: no more children wait than may.
func TestMostNotified(t *testing.T) {
	d := Open(newWorld(t, true).config)
	for i := range mostNotified {
		d.notified[dnsname.MustParse("x"+time.Duration(i).String()+".example.")] = time.Now()
	}
	if !d.Notified(child) || len(d.notified) != mostNotified {
		t.Errorf("%d wait, want %d", len(d.notified), mostNotified)
	}
}
