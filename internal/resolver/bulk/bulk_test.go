package bulk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

func questions(n int) iter.Seq[Question] {
	return func(yield func(Question) bool) {
		for i := range n {
			if !yield(Question{dnsname.MustParse(fmt.Sprintf("n%d.example.", i)), rdata.TypeA}) {
				return
			}
		}
	}
}

// later answers on another goroutine, and counts how many questions are in work.
type later struct {
	mu           sync.Mutex
	inWork, most int
}

func (l *later) ask(_ Question, done func(iterate.Answer)) bool {
	l.mu.Lock()
	l.inWork++
	l.most = max(l.most, l.inWork)
	l.mu.Unlock()
	go func() {
		l.mu.Lock()
		l.inWork--
		l.mu.Unlock()
		done(iterate.Answer{Sent: 1})
	}()
	return true
}

func TestRun(t *testing.T) {
	const n, width = 5000, 50
	var l later
	seen := map[Question]int{}
	err := Run(t.Context(), questions(n), width, l.ask, func(r Result) error {
		seen[r.Question]++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != n || l.most > width {
		t.Errorf("%d answers, %d at most in work; want %d and %d", len(seen), l.most, n, width)
	}
	for q, times := range seen {
		if times != 1 {
			t.Errorf("%s was answered %d times", q.Name, times)
		}
	}
}

// What a limit of a zone or server has kept from being asked is asked again later, and no
// more than width questions are in work or wait for that.
func TestRunPaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, width, rate = 2000, 50, 100 // questions, and how many a second get through
		began, through, asked := time.Now(), 0, 0
		ask := func(_ Question, done func(iterate.Answer)) bool {
			if asked++; through >= rate*int(time.Since(began)/time.Second+1) {
				done(iterate.Answer{Rcode: dnswire.RcodeServFail, Limit: iterate.LimitZoneRate})
				return true
			}
			through++
			done(iterate.Answer{Sent: 1})
			return true
		}
		good := 0
		if err := Run(t.Context(), questions(n), width, ask, func(r Result) error {
			if r.Answer.Limit == iterate.NoLimit {
				good++
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); good != n || took < 18*time.Second || took > 22*time.Second {
			t.Errorf("%d good answers after %v, want %d after 19 s", good, took, n)
		}
		if asked > n*(1+width*10/rate)*3 {
			t.Errorf("asked %d times for %d questions", asked, n)
		}
	})
}

// What never gets through fails in the end.
func TestRunGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := 0
		ask := func(_ Question, done func(iterate.Answer)) bool {
			tries++
			done(iterate.Answer{Rcode: dnswire.RcodeServFail, Limit: iterate.LimitServerWaiting})
			return true
		}
		failed := 0
		if err := Run(t.Context(), questions(1), 1, ask, func(r Result) error { failed++; return nil }); err != nil || failed != 1 || tries != triesMost {
			t.Errorf("%v: %d answers after %d tries, want one after %d", err, failed, tries, triesMost)
		}
	})
}

// TestRunEnds: with the context, with an error of emit, and when a question is not
// taken; questions without an answer do not hold it.
func TestRunEnds(t *testing.T) {
	silent := func(Question, func(iterate.Answer)) bool { return true }
	ctx, cancel := context.WithCancel(t.Context())
	asked := 0
	err := Run(ctx, questions(100), 10, func(Question, func(iterate.Answer)) bool {
		if asked++; asked == 10 {
			cancel()
		}
		return true
	}, nil)
	if !errors.Is(err, context.Canceled) || asked != 10 {
		t.Errorf("got %v after %d questions, want %v after 10", err, asked, context.Canceled)
	}
	if err := Run(ctx, questions(1), 1, silent, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	full := errors.New("disk full")
	var l later
	if err := Run(t.Context(), questions(100), 10, l.ask, func(Result) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	if err := Run(t.Context(), questions(1), 1, func(Question, func(iterate.Answer)) bool { return false }, nil); !errors.Is(err, ErrNotTaken) {
		t.Errorf("got %v, want %v", err, ErrNotTaken)
	}
}

func TestDone(t *testing.T) {
	var d Done
	if d.Has(Key("a.", "A")) {
		t.Error("an empty set has something")
	}
	for _, name := range []string{"b.", "a.", "c."} {
		d.Add(Key(name, "A"))
	}
	if !d.Has(Key("a.", "A")) || d.Has(Key("a.", "AAAA")) || d.Has(Key("d.", "A")) || d.Len() != 3 {
		t.Error("not what was added")
	}
}
