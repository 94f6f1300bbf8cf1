package refresh

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pharos/internal/dns/rdata"
)

var (
	start = time.Unix(1_700_000_000, 0)
	soa   = SOA{Serial: 10, Refresh: time.Hour, Retry: 10 * time.Minute, Expire: 24 * time.Hour}
)

// story is a machine and its clock.
type story struct {
	*Machine
	t   *testing.T
	now time.Time
}

func tell(t *testing.T) *story {
	return &story{New(rand.New(rand.NewPCG(1, 1))), t, start}
}

// step lets time pass, and the event happen.
func (s *story) step(after time.Duration, ev Event, want ...Action) {
	s.t.Helper()
	s.now = s.now.Add(after)
	if got := s.Step(s.now, ev, nil); !slices.Equal(got, want) {
		s.t.Fatalf("at %v, %T: actions %v, want %v", s.now.Sub(start), ev, got, want)
	}
	if err := s.check(); err != nil {
		s.t.Fatal(err)
	}
}

// wantNext checks that the next Tick comes between three quarters of d and d.
func (s *story) wantNext(d time.Duration) {
	s.t.Helper()
	if got := s.Next().Sub(s.now); got < d*3/4 || got > d {
		s.t.Fatalf("next in %v, want %v less up to a quarter", got, d)
	}
}

// TestLife: RFC 1034 §4.3.5: REFRESH after a good check, RETRY after a failed one,
// and EXPIRE after the last good one.
func TestLife(t *testing.T) {
	s := tell(t)
	s.step(0, Started{}, Check)
	s.step(time.Second, Tick{}) // one check at a time
	s.step(0, Ended{SOA: soa})
	s.wantNext(time.Hour)
	s.step(44*time.Minute, Tick{}) // too early
	s.step(16*time.Minute, Tick{}, Check)
	failed := 0
	for s.Present() {
		s.step(time.Second, Ended{Failed: true})
		failed++
		if next := s.Next(); next.Equal(s.Expires()) {
			s.step(next.Sub(s.now), Tick{}, Expire)
			break
		}
		s.wantNext(10 * time.Minute)
		s.step(s.Next().Sub(s.now), Tick{}, Check)
	}
	if got := s.now.Sub(start); got != 24*time.Hour+time.Second {
		t.Errorf("expired after %v", got)
	}
	if failed < 23*6 || s.Failures() != failed {
		t.Errorf("%d failures, %d counted", failed, s.Failures())
	}
	s.step(s.Next().Sub(s.now), Tick{}, Check)
	s.step(0, Ended{SOA: soa})
	if !s.Present() || s.Failures() != 0 {
		t.Error("not back")
	}
}

// TestExpireOption: RFC 7314 §4: a version got from a secondary expires when it does
// there; two secondaries that ask each other do not keep a zone alive for ever.
func TestExpireOption(t *testing.T) {
	s := tell(t)
	s.step(0, Started{}, Check)
	s.step(0, Ended{SOA: soa, Age: 20 * time.Hour})
	if got := s.Expires().Sub(s.now); got != 4*time.Hour {
		t.Errorf("expires in %v, want 4h", got)
	}
	s.step(time.Hour, Tick{}, Check)
	s.step(0, Ended{SOA: soa, Age: 21 * time.Hour}) // the other has heard of nobody either
	if got := s.Expires().Sub(s.now); got != 3*time.Hour {
		t.Errorf("an hour later it expires in %v, want 3h", got)
	}
	s.step(time.Hour, Tick{}, Check)
	s.step(0, Ended{SOA: soa})
	s.step(time.Hour, Tick{}, Check)
	s.step(0, Ended{SOA: soa, Age: 23 * time.Hour}) // what the primary said counts on
	if got := s.Expires().Sub(s.now); got != 23*time.Hour {
		t.Errorf("expires in %v, want 23h", got)
	}
	s.step(time.Hour, Tick{}, Check)
	newer := soa
	newer.Serial++
	s.step(0, Ended{SOA: newer, Age: 23 * time.Hour})
	if got := s.Expires().Sub(s.now); got != time.Hour {
		t.Errorf("a newer version expires in %v, want 1h", got)
	}
}

// TestAbsent: without a version the tries come at growing intervals.
func TestAbsent(t *testing.T) {
	s := tell(t)
	s.step(0, Started{}, Check)
	for _, want := range []time.Duration{2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600} {
		s.step(time.Second, Ended{Failed: true})
		s.wantNext(want * time.Second)
		s.step(s.Next().Sub(s.now), Tick{}, Check)
	}
}

// TestNotify: RFC 1996 §3.11 and §4.7.
func TestNotify(t *testing.T) {
	s := tell(t)
	s.step(0, Started{}, Check)
	s.step(0, Ended{SOA: soa})
	s.step(time.Minute, Notified{Serial: 10, HasSerial: true}) // known
	s.step(time.Minute, Notified{Serial: 9, HasSerial: true})  // older
	s.step(time.Minute, Notified{Serial: 11, HasSerial: true}, Check)
	s.step(0, Notified{}) // while checking: another must follow, but not at once
	s.step(time.Second, Ended{SOA: soa})
	if got := s.Next().Sub(s.now); got != time.Second {
		t.Errorf("next in %v", got)
	}
	s.step(time.Second, Tick{}, Check)
	s.step(0, Ended{SOA: soa})
	for range 100 { // a flood
		s.step(time.Millisecond, Notified{})
	}
	s.step(900*time.Millisecond, Tick{}, Check)
	s.step(0, Ended{SOA: soa})
	s.step(0, Asked{}, Check) // operators are not held
	s.step(0, Asked{})
	s.step(0, Ended{SOA: soa})
	s.step(time.Second, Tick{}, Check)
}

// TestRestart: what was loaded is checked at once, and expires by when it was last
// confirmed, not by when it was loaded.
func TestRestart(t *testing.T) {
	for _, tt := range []struct {
		age  time.Duration
		want []Action
	}{
		{time.Hour, []Action{Check}}, {24 * time.Hour, []Action{Expire, Check}}, {-time.Hour, []Action{Check}},
	} {
		s := tell(t)
		s.step(0, Loaded{soa, start.Add(-tt.age)}, tt.want...)
		if s.Present() == slices.Contains(tt.want, Expire) {
			t.Errorf("age %v: present %v", tt.age, s.Present())
		}
		if tt.age < 0 && !s.Confirmed().Equal(start) {
			t.Errorf("confirmed in the future: %v", s.Confirmed())
		}
	}
}

// TestAbsurdTimes: RFC 1912 §2.2 tells of records with such numbers.
func TestAbsurdTimes(t *testing.T) {
	s := tell(t)
	s.step(0, Started{}, Check)
	s.step(0, Ended{SOA: SOA{Serial: 1}})
	s.wantNext(2 * time.Second)
	s.step(2*time.Second, Tick{}, Check)
	huge := time.Duration(1<<31) * time.Second
	s.step(0, Ended{SOA: SOA{1, huge, huge, huge}})
	s.wantNext(maxTime)
}

// TestAnyOrder: whatever happens in whatever order, there is one check at a time
// and always a next time.
func TestAnyOrder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	s := tell(t)
	s.Step(s.now, Started{}, nil)
	for range 20000 {
		s.now = s.now.Add(time.Duration(rnd.Int64N(int64(2 * time.Hour))))
		was := s.Checking()
		ev := []Event{Tick{}, Asked{}, Notified{}, Notified{Serial: rdata.Serial(rnd.Uint32()), HasSerial: true}}[rnd.IntN(4)]
		if was && rnd.IntN(2) == 0 {
			ev = Ended{Failed: rnd.IntN(2) == 0, SOA: soa}
			was = false
		}
		for _, a := range s.Step(s.now, ev, nil) {
			if a == Check && was {
				t.Fatal("two checks at a time")
			}
		}
		if err := s.check(); err != nil {
			t.Fatal(err)
		}
		if !s.Checking() && !s.Next().After(s.now) {
			t.Fatalf("%T: next %v is not after now %v", ev, s.Next(), s.now)
		}
	}
}
