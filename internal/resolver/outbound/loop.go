package outbound

import (
	cryptorand "crypto/rand"
	"math/rand/v2"
	"runtime"

	"pharos/internal/clock"
	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/seats"
)

// turnsAtOnce is how many questions are taken out of line before the loop looks for
// what the network has brought: 16, some 0.2 ms of work.
const turnsAtOnce = 16

// loop runs the machine. Close ends it.
func (d *Driver) loop() {
	defer close(d.over)
	// With one processor for all goroutines, others have their turn after each of ours: who
	// was given something may have more for us. With several, giving way would have the
	// scheduler wake threads to look for work that is not there.
	alone := runtime.GOMAXPROCS(0) == 1
	for !d.ending.Load() {
		d.news.Store(false)
		d.takePosted()
		d.takeExpired()
		d.takeArrived()
		more := d.takeQuestions()
		if alone {
			runtime.Gosched()
		}
		if more {
			d.datagrams.wait(0)
		} else {
			d.rest()
		}
	}
	d.abandon()
}

// rest waits until there is something to do.
func (d *Driver) rest() {
	d.count()
	d.asleep.Store(true)
	switch patience, some := d.timers.wait(d.watch.elapsed()); {
	case d.news.Load():
		d.datagrams.wait(0)
	case some:
		d.datagrams.wait(patience)
	default:
		d.datagrams.wait(-1)
	}
	d.asleep.Store(false)
}

// randomPorts returns what draws the ports that queries leave from, for one goroutine.
func randomPorts() func() int {
	var seed [32]byte
	cryptorand.Read(seed[:]) // never fails
	rng := rand.New(rand.NewChaCha8(seed))
	return func() int { return firstPort + rng.IntN(ports) }
}

// wake has the loop look for what it was given. Any goroutine may call it.
func (d *Driver) wake() {
	d.news.Store(true)
	if d.asleep.Load() && d.asleep.CompareAndSwap(true, false) {
		d.datagrams.wake()
	}
}

// post gives an event to the loop; it is lost when the Driver is closed.
func (d *Driver) post(e event) {
	d.postMu.Lock()
	d.posted = append(d.posted, e)
	d.postMu.Unlock()
	d.wake()
}

// takePosted takes in what others have posted.
func (d *Driver) takePosted() {
	d.postMu.Lock()
	posted := d.posted
	d.posted = nil
	d.postMu.Unlock()
	for _, e := range posted {
		if e.run != nil {
			e.run()
			continue
		}
		d.stepAll(e.ev)
	}
}

// takeExpired tells the machine whose time is over.
func (d *Driver) takeExpired() {
	now := d.watch.elapsed()
	for t := d.timers.expired(now); t != nil; t = d.timers.expired(now) {
		d.stepAll(iterate.Expired{Exchange: t.exchange})
	}
}

// takeArrived gives the machine what the sockets have.
func (d *Driver) takeArrived() {
	for {
		number, msg, err, ok := d.datagrams.next()
		switch {
		case !ok:
			return
		case err != nil:
			d.stepAll(iterate.Failed{Exchange: number, Err: explain(err)})
		default:
			d.stepAll(iterate.Arrived{Exchange: number, Msg: msg})
		}
	}
}

// takeQuestions takes some questions out of line, and one that is due to be fetched
// ahead. It reports whether there may be more.
func (d *Driver) takeQuestions() bool {
	more := false
	select {
	case q := <-d.due:
		d.lastToken++
		d.stepAll(iterate.Ask{Token: d.lastToken, Name: q.Name, Type: q.Type, DO: q.DO, CD: q.CD, Fresh: true})
		more = true
	default:
	}
	for range turnsAtOnce {
		d.lineMu.Lock()
		a, from, heavy, ok := d.line.Next()
		d.lineMu.Unlock()
		if !ok {
			return more
		}
		d.lastToken++
		a.question.Token, a.question.Heavy = d.lastToken, heavy
		d.questions.Put(d.lastToken, &question{a, from})
		d.stepAll(a.question)
	}
	return true
}

// stepAll is step, and then what came of actions that failed at once.
func (d *Driver) stepAll(ev iterate.Event) {
	d.step(ev)
	for len(d.backlog) > 0 {
		ev, d.backlog = d.backlog[0], d.backlog[1:]
		d.step(ev)
	}
}

// step takes one event through the machine and performs what it wants.
func (d *Driver) step(ev iterate.Event) {
	if d.observe != nil {
		d.tellEnded(ev)
	}
	switch ev := ev.(type) { // these two are over
	case iterate.Expired:
		d.end(ev.Exchange)
	case iterate.Failed:
		d.end(ev.Exchange)
	}
	d.acts = d.resolver.Step(clock.Now(), ev, d.acts[:0])
	told := false
	for _, a := range d.acts {
		switch a := a.(type) {
		case iterate.Send:
			d.send(a)
		case iterate.Wait:
			d.wait(a)
		case iterate.Close:
			d.end(a.Exchange)
		case iterate.Reply:
			if !told { // who has an answer can find it counted
				d.count()
				told = true
			}
			d.answer(a.Token, a.Answer)
		}
	}
}

// count publishes the machine's counters.
func (d *Driver) count() {
	d.mu.Lock()
	d.counters = d.resolver.Counters()
	d.mu.Unlock()
}

// lateCrowd: so few questions of a network may be answered however late, 16: one user
// whose names do not resolve is to be told why.
const lateCrowd = 16

func (d *Driver) answer(token uint64, a iterate.Answer) {
	q := d.questions.Get(token)
	d.questions.Delete(token)
	d.lineMu.Lock()
	isCrowd := q.from.Outstanding() > lateCrowd
	d.line.Done(q.from, a.Spent.Queries+a.Spent.Signatures)
	d.lineMu.Unlock()
	a.Late = q.forgeable && isCrowd && d.discard > 0 && clock.Since(q.since) > d.discard
	q.done(a)
}

// abandon closes everything and answers who is left. No Ask can follow: closed
// is set, and whoever saw it unset has put its question into asks.
func (d *Driver) abandon() {
	for _, exchange := range numbersOf(&d.open) {
		d.end(exchange)
	}
	down := iterate.Answer{Rcode: dnswire.RcodeServFail,
		Errors: []dnswire.ExtendedError{{Code: dnswire.EDENotReady, Text: "the resolver is shutting down"}}}
	var left []ask
	d.lineMu.Lock()
	d.line.Drain(func(a ask) { left = append(left, a) })
	d.lineMu.Unlock()
	for _, a := range left {
		a.done(down)
	}
	for _, token := range numbersOf(&d.questions) {
		d.answer(token, down)
	}
}

// numbersOf returns the numbers in a table that is about to change.
func numbersOf[T any](t *seats.Table[T]) []uint64 {
	numbers := make([]uint64, 0, t.Len())
	for number := range t.All() {
		numbers = append(numbers, number)
	}
	return numbers
}
