// Package bulk resolves many names, with a bounded number of them in work.
//
// It owns the order of work and the memory of which questions have an answer
// already, so that work that was interrupted goes on where it was. It does not own
// how one name is resolved, nor files.
//
// Entry points: Run; Key, Done.
//
// Concurrency: Run works on one goroutine; answers may come on any other.
package bulk

import (
	"context"
	"errors"
	"hash/maphash"
	"iter"
	"slices"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// Question is one question of many.
type Question struct {
	Name dnsname.Name
	Type rdata.Type
}

// Result is a question and its answer.
type Result struct {
	Question
	Answer iterate.Answer
}

// Ask asks one question and returns; done is called once with the answer, on any
// goroutine, and does not block. It reports false if the question is not taken.
type Ask func(q Question, done func(iterate.Answer)) bool

// ErrNotTaken means that a question was not taken though no more than width were in
// work.
var ErrNotTaken = errors.New("the resolver takes no more questions")

// A question that failed only because its zone's servers, or one server, were asked too much
// at that moment (iterate.Limit.IsCrowd) is asked again after pause, triesMost times in all:
// with the default of 2,000 queries a second to a zone, a million names of one zone take
// 500 seconds, whatever the width, and none of them fails for that.
const (
	pause     = 100 * time.Millisecond
	triesMost = 100
)

// running is a Run.
type running struct {
	ctx    context.Context
	ask    Ask
	emit   func(Result) error
	width  int
	inWork int
	// answers is never full: done never blocks.
	answers chan answered
	// again are questions for after a pause, width at most; timer says that it is over.
	again []waiting
	timer *time.Timer
	rests bool // the timer runs
}

// waiting is a question and how often it was asked.
type waiting struct {
	Question
	tries int
}

type answered struct {
	waiting
	answer iterate.Answer
}

// Run asks all questions, at most width at a time, and calls emit for each that is
// answered, in the order of the answers. It ends with the last answer, with the first
// error of emit, or with ctx: then what is in work is not waited for.
func Run(ctx context.Context, questions iter.Seq[Question], width int, ask Ask, emit func(Result) error) error {
	r := &running{ctx: ctx, ask: ask, emit: emit, width: width, answers: make(chan answered, width), timer: time.NewTimer(time.Hour)}
	defer r.timer.Stop()
	for q := range questions {
		for r.inWork+len(r.again) >= width || len(r.answers) > 0 {
			if err := r.wait(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := r.start(waiting{Question: q}); err != nil {
			return err
		}
	}
	for r.inWork+len(r.again) > 0 {
		if err := r.wait(); err != nil {
			return err
		}
	}
	return nil
}

func (r *running) start(w waiting) error {
	w.tries++
	if !r.ask(w.Question, func(a iterate.Answer) { r.answers <- answered{w, a} }) {
		return ErrNotTaken
	}
	r.inWork++
	return nil
}

// wait takes in one answer, or that a pause is over.
func (r *running) wait() error {
	select {
	case a := <-r.answers:
		r.inWork--
		if !a.answer.Limit.IsCrowd() || a.tries == triesMost {
			return r.emit(Result{a.Question, a.answer})
		}
		r.again = append(r.again, a.waiting)
		if !r.rests {
			r.rests = true
			r.timer.Reset(pause)
		}
	case <-r.timer.C:
		r.rests = false
		again := r.again
		r.again = nil
		for _, w := range again {
			if err := r.start(w); err != nil {
				return err
			}
		}
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	return nil
}

var seed = maphash.MakeSeed()

// Key stands for the question of type t about a name, as text. Two of ten million
// questions share one in 4 of a million runs; the second would be left out.
func Key(name, t string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(name)
	h.WriteByte(' ')
	h.WriteString(t)
	return h.Sum64()
}

// Done is the questions that have an answer: 8 octets each.
type Done struct {
	keys   []uint64
	sorted bool
}

// Add adds a question. All are added before Has is asked.
func (d *Done) Add(key uint64) { d.keys, d.sorted = append(d.keys, key), false }

// Has reports whether a question was added.
func (d *Done) Has(key uint64) bool {
	if !d.sorted {
		slices.Sort(d.keys)
		d.sorted = true
	}
	_, found := slices.BinarySearch(d.keys, key)
	return found
}

// Len returns the number of questions added.
func (d *Done) Len() int { return len(d.keys) }
