package sim

import (
	"time"

	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// What package httpproxy does with members, its limits, and what it tells their loads.
const (
	failureTook = time.Second      // what the latency of a failed request is taken for, at least
	retryWithin = 10 * time.Second // after that nothing is tried again
)

// pass has the gateway choose a member for a request, and send it there.
func (w *world) pass(id int32) {
	r := &w.requests[id]
	if r.view == nil {
		r.view = w.pool.View()
	}
	ask := balance.Ask{Key: consistent.Mix(r.key), Lane: r.lane, Now: w.now}
	m := balance.PickExcept(r.view, w.pool.Load(), ask, r.tried[:r.tries])
	if m < 0 {
		w.fail(id)
		return
	}
	r.tried[r.tries], r.member = m, m
	r.tries++
	member := &r.view.Members[m]
	r.load = member.Load
	w.pool.Load().Begin(r.lane, r.load, w.now)
	to := w.byAddress[member.Address]
	r.trips += w.servers[to].trip
	w.send(id, to)
}

// answered takes in that a server has answered a request.
func (w *world) answered(id int32) {
	r := &w.requests[id]
	if r.load != nil {
		s := &w.servers[r.server]
		took := w.now - r.asked + s.trip
		r.load.Observe(w.now, took)
		r.load.Carried(w.now, int(s.of.Length))
		w.pool.Load().End(r.lane, r.load, w.now)
		if w.asksAnother(r) {
			r.doubted, r.load = r.member, nil
			w.retried++
			w.pass(id)
			return
		}
		w.judge(r, took)
	}
	if r.bad || w.now-r.began+r.trips > w.crowds[r.crowd].of.Patience.Std() {
		w.fail(id)
		return
	}
	w.succeed(id)
}

// asksAnother reports whether another member is to say if an error is the member's, as in
// the gateway: once, and of what may be sent twice.
func (w *world) asksAnother(r *request) bool {
	return r.bad && !r.unsafe && r.doubted < 0 && !r.view.Spec().Passive.Off && r.tries < w.mostTries(r) && w.now-r.began <= retryWithin
}

// judge tells whose fault an answer is: an error that another member did not make is the
// first one's, and one that two make is the request's.
func (w *world) judge(r *request, took time.Duration) {
	outcome := health.Answered
	if r.doubted >= 0 {
		if !r.bad {
			first := &r.view.Members[r.doubted]
			w.report(r, first.Load, first.Target, health.Erred, took)
		}
	} else if r.bad {
		outcome = health.Doubtful
	}
	w.report(r, r.load, r.view.Members[r.member].Target, outcome, took)
}

// report has the gauge of a member count how a request went, and its health machine hear
// of it if that is worth telling.
func (w *world) report(r *request, load *pool.MemberLoad, target health.Target, o health.Outcome, took time.Duration) {
	if load.Note(o, w.now, took) {
		w.evidence(w.byTarget[target], health.Result{OK: !o.IsFailure(), Outcome: o, At: w.at(), Latency: w.now - r.asked, Passive: true, Cause: o.String()})
	}
}

// mostTries returns how many members or addresses a request is tried on at most.
func (w *world) mostTries(r *request) int {
	if w.variant.By == ByGateway {
		return min(w.plan.Gateway.Retries+1, maxTries)
	}
	return w.crowds[r.crowd].of.Tries
}

// broken takes in that a connection failed: before the request was sent, or with it.
func (w *world) broken(id int32, sent bool) {
	r := &w.requests[id]
	r.visit++
	if r.load != nil {
		r.load.Observe(w.now, max(failureTook, w.now-r.asked))
		w.pool.Load().End(r.lane, r.load, w.now)
		o := health.Unreached
		if sent {
			o = health.Broken
		}
		w.report(r, r.load, r.view.Members[r.member].Target, o, w.now-r.asked)
		r.load = nil
	}
	if sent && r.unsafe || r.tries >= w.mostTries(r) || w.now-r.began > min(retryWithin, w.crowds[r.crowd].of.Patience.Std()) {
		w.fail(id)
		return
	}
	w.retried++
	if w.variant.By == ByGateway {
		w.pass(id)
	} else {
		w.connect(id)
	}
}
