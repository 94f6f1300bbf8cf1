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

// Run asks all questions, at most width at a time, and calls emit for each that is
// answered, in the order of the answers. It ends with the last answer, with the first
// error of emit, or with ctx: then what is in work is not waited for.
func Run(ctx context.Context, questions iter.Seq[Question], width int, ask Ask, emit func(Result) error) error {
	answers := make(chan Result, width) // never full: done never blocks
	inWork := 0
	receive := func() error {
		select {
		case r := <-answers:
			inWork--
			return emit(r)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	for q := range questions {
		for inWork == width || inWork > 0 && len(answers) > 0 {
			if err := receive(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !ask(q, func(a iterate.Answer) { answers <- Result{q, a} }) {
			return ErrNotTaken
		}
		inWork++
	}
	for inWork > 0 {
		if err := receive(); err != nil {
			return err
		}
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
