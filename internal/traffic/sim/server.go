package sim

import (
	"time"

	"pharos/internal/traffic/pool"
	"pharos/internal/traffic/poolspec"
	"pharos/internal/traffic/steer"
)

// tripBetween returns how long a round trip between two places takes: as package steer
// expects it from the distance, or little when that is not known.
func tripBetween(a, b pool.Place) time.Duration {
	if trip, known := steer.Expected(a, b); known {
		return trip
	}
	return unknownTrip
}

// unknownTrip is a round trip within a data centre.
const unknownTrip = 500 * time.Microsecond

// server is what stands behind a member: so many workers, each with one request at a time,
// and a queue before them.
type server struct {
	name    string // of its member, with its pool unless that is the one that is played
	spare   bool   // of another pool
	tier    int
	place   pool.Place
	of      Server        // how it works when it is well
	trip    time.Duration // from the gateway and back
	busy    int
	waiting []int32 // requests in the queue, the first from head on
	head    int
	serving []int32 // requests that workers have

	// What has happened to it and is not over.
	refusing, silent, drained int
	slow                      float64
	active                    []int // happenings
}

func (w *world) addServer(in string, m pool.MemberSpec) {
	if _, known := w.byAddress[m.Address]; known {
		return // of two pools; the first one names it
	}
	name := m.Name
	if in != w.plan.Pool {
		name = in + "/" + name
	}
	s := server{name: name, spare: in != w.plan.Pool, tier: m.Tier, place: m.Place, of: w.plan.serverOf(name), slow: 1}
	s.trip = tripBetween(poolspec.PlaceOf(w.plan.Place), m.Place)
	w.byAddress[m.Address] = len(w.servers)
	w.servers = append(w.servers, s)
}

// takes draws how long the server works on a request when it has begun: half of it fixed and
// half by chance, as with most servers.
func (w *world) takes(s *server) time.Duration {
	mean := float64(s.of.takesAt(s.busy)) * s.slow
	return time.Duration(mean * (0.5 + 0.5*w.rng.ExpFloat64()))
}

// send gives a request to a server.
func (w *world) send(id int32, to int) {
	r, s := &w.requests[id], &w.servers[to]
	r.server, r.asked, r.connected, r.bad = int32(to), w.now, false, false
	r.visit++
	w.noteSent(r)
	switch {
	case s.silent > 0:
		w.after(w.connectTimeout(r), event{kind: givenUp, of: id, turn: r.visit})
	case s.refusing > 0:
		w.broken(id, false)
	case s.busy < s.of.Workers:
		r.connected = true
		w.work(id, s)
	case len(s.waiting)-s.head < s.of.Queue:
		r.connected = true
		s.waiting = append(s.waiting, id)
	default: // 503: it answers, and the answer is that it cannot
		r.connected, r.bad = true, true
		w.answered(id)
	}
}

// work has a worker begin with a request.
func (w *world) work(id int32, s *server) {
	r := &w.requests[id]
	s.busy++
	r.slot = int32(len(s.serving))
	s.serving = append(s.serving, id)
	r.begun = w.now
	takes := w.takes(s)
	r.bad = w.isBad(s)
	w.after(takes, event{kind: served, of: id, turn: r.visit})
}

// isBad draws whether an answer of the server is an error.
func (w *world) isBad(s *server) bool {
	for _, i := range s.active {
		if h := &w.happens[i]; h.Does == "errors" && w.rng.IntN(100) < h.Share {
			return true
		}
	}
	return false
}

// finish ends the work on a request, and begins that on the next one.
func (w *world) finish(id int32) {
	r := &w.requests[id]
	s := &w.servers[r.server]
	w.noteWorked(int(r.server), w.now-r.begun)
	last := s.serving[len(s.serving)-1]
	s.serving[r.slot] = last
	w.requests[last].slot = r.slot
	s.serving = s.serving[:len(s.serving)-1]
	s.busy--
	if s.head < len(s.waiting) {
		next := s.waiting[s.head]
		if s.head++; s.head == len(s.waiting) {
			s.waiting, s.head = s.waiting[:0], 0
		}
		w.work(next, s)
	}
	w.answered(id)
}

// fall breaks what a server has under way: at once when its connections are reset, and after
// all patience when it has gone silent.
func (w *world) fall(to int, silent bool) {
	s := &w.servers[to]
	gone := append(append([]int32(nil), s.serving...), s.waiting[s.head:]...)
	for _, id := range s.serving {
		w.noteWorked(to, w.now-w.requests[id].begun)
	}
	s.serving, s.waiting, s.head, s.busy = s.serving[:0], s.waiting[:0], 0, 0
	for _, id := range gone {
		r := &w.requests[id]
		r.visit++ // what was to end it does not any more
		r.during = int32(s.active[len(s.active)-1])
		if !silent {
			w.broken(id, true)
			continue
		}
		w.after(max(r.asked+w.responseTimeout(r)-w.now, 0), event{kind: givenUp, of: id, turn: r.visit})
	}
}
