package dnsload

import (
	"context"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestPace: questions go out at their rate, and a server that stands still for a while
// shows in the times of all that were due meanwhile.
func TestPace(t *testing.T) {
	const still = 100 * time.Millisecond
	serverOf := func(pause time.Duration) *Generator {
		g, err := New(Config{Flows: 4, Window: 64, Timeout: time.Minute, Queries: queries(t, 10), Server: serve(t, func(i int, q *dns.Msg) []*dns.Msg {
			if i == 50 {
				<-time.After(pause)
			}
			return []*dns.Msg{right(q)}
		})})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(g.Close)
		return g
	}
	const rate, want = 1000, 300
	for _, pause := range []time.Duration{0, still} {
		r, err := serverOf(pause).Pace(context.Background(), 300*time.Millisecond, rate, nil)
		if err != nil || r.Err() != nil {
			t.Fatal(err, r.Err())
		}
		if r.Sent != want || r.Answered != r.Sent {
			t.Errorf("%d sent, %d answered, want %d in 0.3 s at %d per second", r.Sent, r.Answered, want, rate)
		}
		if got := r.Quantile(1); pause > 0 && got < still*9/10 {
			t.Errorf("the longest took %v, though the server stood still for %v", got, still)
		}
		if late := r.Quantile(0.8); pause > 0 && late < still/5 {
			t.Errorf("a fifth of the questions was due while the server stood still, but took %v", late)
		}
	}
}

// TestPaceGoesOn: until it is told that it is done.
func TestPaceGoesOn(t *testing.T) {
	g, err := New(Config{Flows: 1, Queries: queries(t, 10), Server: serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{right(q)} })})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	done := make(chan struct{})
	time.AfterFunc(100*time.Millisecond, func() { close(done) })
	if r, err := g.Pace(context.Background(), time.Millisecond, 500, done); err != nil || r.Elapsed < 20*time.Millisecond {
		t.Errorf("ended after %v: %v", r.Elapsed, err)
	}
	if _, err := g.Pace(context.Background(), time.Millisecond, 0, nil); err == nil {
		t.Error("a rate of 0 is no error")
	}
}

// TestWithout: questions that had to do with a time are left out, and no others.
func TestWithout(t *testing.T) {
	p := Paced{answers: []answered{{0, 5}, {10, 5}, {20, 5}, {25, 5}, {60, 5}, {80, 6}, {31, 100}}}
	for _, tt := range []struct {
		spans []Span
		want  []answered
		part  float64
	}{
		{nil, p.answers, 0},
		{[]Span{{26, 28}}, []answered{{0, 5}, {10, 5}, {20, 5}, {60, 5}, {80, 6}, {31, 100}}, 1. / 7}, // until 30
		{[]Span{{85, 90}, {3, 4}}, []answered{{10, 5}, {20, 5}, {25, 5}, {60, 5}}, 3. / 7},
		{[]Span{{0, 40}, {10, 12}}, []answered{}, 1}, // a short one within a long one
		{[]Span{{200, 300}}, p.answers, 0},
	} {
		rest, part := p.Without(tt.spans)
		if !slices.Equal(rest.answers, tt.want) || math.Abs(part-tt.part) > 1e-9 {
			t.Errorf("without %v: got %v, %.3f left out; want %v, %.3f", tt.spans, rest.answers, part, tt.want, tt.part)
		}
	}
}
