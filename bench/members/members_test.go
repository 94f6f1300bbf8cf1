package members

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A member with one worker that is slower than the rate makes requests wait, and those that wait count: p99
// is far above what a response takes, though nobody asks faster for that.
func TestLateResponsesCount(t *testing.T) {
	m, err := Start(1, 1, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	m.Slow(0, 20)
	o, err := Ask(context.Background(), Load{Address: m.Addresses()[0], Rate: 200, For: 500 * time.Millisecond, Keys: 10})
	if err != nil {
		t.Fatal(err)
	}
	if o.Asked != 100 || o.Failed != 0 {
		t.Errorf("asked %d times, %d failed (%s); want 100, 0", o.Asked, o.Failed, o.First)
	}
	if p99 := o.Quantile(0.99); p99 < 300*time.Millisecond {
		t.Errorf("p99 %v; 100 requests of 20 ms on one worker within half a second take 2 s", p99)
	}
	if served := m.Served(); served[0] != 100 || m.Served()[0] != 0 {
		t.Errorf("served %v, want 100, and then none", served)
	}
}

// A member that was killed answers nothing, and again when it is revived.
func TestKillAndRevive(t *testing.T) {
	m, err := Start(1, 4, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	load := Load{Address: m.Addresses()[0], Rate: 100, For: 50 * time.Millisecond, Keys: 10}
	for _, step := range []struct {
		do     func() error
		failed int
	}{{func() error { return nil }, 0}, {func() error { m.Kill(0); return nil }, 5}, {func() error { return m.Revive(0) }, 0}} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		o, err := Ask(context.Background(), load)
		if err != nil || o.Failed != step.failed || o.Asked != 5 || (o.First != "") != (o.Failed > 0) {
			t.Errorf("%d of %d failed (%s), %v; want %d of 5", o.Failed, o.Asked, o.First, err, step.failed)
		}
	}
}

// What is answered wrong has failed.
func TestSeesWrongAnswers(t *testing.T) {
	for _, answer := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		func(w http.ResponseWriter) { w.Write([]byte("/item/of-another\n")) },
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { answer(w) }))
		o, err := Ask(context.Background(), Load{Address: strings.TrimPrefix(s.URL, "http://"), Rate: 100, For: 20 * time.Millisecond, Keys: 2})
		s.Close()
		if err != nil || o.Failed != 2 || !strings.HasPrefix(o.First, "status ") {
			t.Errorf("%d of %d failed: %s, %v; want both", o.Failed, o.Asked, o.First, err)
		}
	}
}
