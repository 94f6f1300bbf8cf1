package sim

import (
	"time"

	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/health"
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
		r.load.Observe(w.now, w.now-r.asked+s.trip)
		r.load.Carried(w.now, int(s.of.Length))
		w.pool.Load().End(r.lane, r.load, w.now)
		o := health.Answered
		if r.bad {
			o = health.Doubtful
		}
		w.report(r, o, "answered a request")
	}
	if r.bad || w.now-r.began+r.trips > w.crowds[r.crowd].of.Patience.Std() {
		w.fail(id)
		return
	}
	w.succeed(id)
}

// report has the health machine hear of a result of traffic, if that is worth telling. An
// answer that is an error is doubtful: nobody else is asked here.
func (w *world) report(r *request, o health.Outcome, cause string) {
	if r.load.Note(o, w.now, w.now-r.asked) {
		result := health.Result{OK: !o.IsFailure(), Outcome: o, At: w.at(), Latency: w.now - r.asked, Passive: true, Cause: cause}
		w.evidence(w.byTarget[r.view.Members[r.member].Target], result)
	}
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
		w.report(r, o, "the connection failed")
		r.load = nil
	}
	most := min(w.plan.Gateway.Retries+1, maxTries)
	if w.variant.By != ByGateway {
		most = w.crowds[r.crowd].of.Tries
	}
	if sent && r.unsafe || r.tries >= most || w.now-r.began > min(retryWithin, w.crowds[r.crowd].of.Patience.Std()) {
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
