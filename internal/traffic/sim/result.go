package sim

import (
	"fmt"
	"time"

	"pharos/internal/cluster/document"
)

// Result is what came out of one variant. Times are in milliseconds.
type Result struct {
	Name     string `json:"name"`
	By       string `json:"by"`
	Policy   string `json:"policy"`
	Requests uint64 `json:"requests"`
	// Failed are requests that were not answered, not well, or too late for their client.
	Failed uint64 `json:"failed"`
	// Retried counts further members, or addresses, that requests were tried on.
	Retried   uint64 `json:"retried"`
	Questions uint64 `json:"questions"` // of DNS
	Probes    uint64 `json:"probes"`
	// Imbalance is how much busier the busiest server was than the mean of those that were
	// well: in a mean window, and in the worst.
	Imbalance      float64 `json:"imbalance"`
	WorstImbalance float64 `json:"worstImbalance"`
	P50            float64 `json:"p50Millis"`
	P99            float64 `json:"p99Millis"`

	Servers []ServerResult `json:"servers"`
	Events  []EventResult  `json:"events"`
	Windows []Window       `json:"windows"`
}

// ServerResult is what one server had to do.
type ServerResult struct {
	Name   string  `json:"name"`
	Sent   uint64  `json:"sent"`
	Failed uint64  `json:"failed"`
	Busy   float64 `json:"busyPercent"` // of its workers, on average
}

// EventResult is what came of one thing that happened.
type EventResult struct {
	Member string            `json:"member"`
	Does   string            `json:"does"`
	At     document.Duration `json:"at"`
	For    document.Duration `json:"for"`
	// Seen is after how long a verdict took the member out; below 0: none did.
	Seen float64 `json:"seenMillis"`
	// Left is after how long 90 % of its traffic had left it, and Gone after how long all.
	// Leaves and Ends: that was before the end of the event.
	Left   float64 `json:"leftMillis"`
	Leaves bool    `json:"leaves"`
	Gone   float64 `json:"goneMillis"`
	Ends   bool    `json:"ends"`
	Sent   uint64  `json:"sent"`
	Failed uint64  `json:"failed"`
}

// Window is what one part of the time has seen.
type Window struct {
	From      document.Duration `json:"from"`
	Requests  uint64            `json:"requests"`
	Failed    uint64            `json:"failed"`
	P99       float64           `json:"p99Millis"`
	Imbalance float64           `json:"imbalance"` // 0: too few requests to say
	Sent      []uint64          `json:"sent"`      // by server
}

// FailedPercent returns the part of requests that failed.
func (r *Result) FailedPercent() float64 {
	return 100 * float64(r.Failed) / float64(max(r.Requests, 1))
}

// Converged returns after how long 90 % of the traffic had left the server that it took
// longest to leave, of those that crashed, vanished or were drained, and whether it left all
// of them; and the same of all the traffic.
func (r *Result) Converged() (left time.Duration, leaves bool, gone time.Duration, ends bool) {
	leaves, ends = true, true
	for _, e := range r.Events {
		if e.Does == "slow" || e.Does == "errors" {
			continue
		}
		left, gone = max(left, ofMillis(e.Left)), max(gone, ofMillis(e.Gone))
		leaves, ends = leaves && e.Leaves, ends && e.Ends
	}
	return left, leaves, gone, ends
}

func ofMillis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }

// String tells the result in a line.
func (r *Result) String() string {
	return fmt.Sprintf("%s: %d of %d failed, imbalance %.2f, p99 %.1f ms", r.Name, r.Failed, r.Requests, r.Imbalance, r.P99)
}

func millis(d time.Duration) float64 { return float64(d/time.Microsecond) / 1000 }

// result sums up.
func (w *world) result() *Result {
	r := &Result{
		Name: w.variant.Name, By: w.variant.By, Policy: w.pool.View().Policy.String(),
		Requests: w.began, Failed: w.failed, Retried: w.retried, Questions: w.questions, Probes: w.probes,
		P50: millis(w.took.quantile(0.5)), P99: millis(w.took.quantile(0.99)),
	}
	balanced := 0
	for i := range w.parts {
		p := &w.parts[i]
		made := Window{From: document.Duration(time.Duration(i) * w.length), Requests: p.requests, Failed: p.failed, P99: millis(p.took.quantile(0.99)), Sent: p.sent}
		if made.Imbalance = w.imbalance(p); made.Imbalance > 0 {
			r.Imbalance += made.Imbalance
			r.WorstImbalance = max(r.WorstImbalance, made.Imbalance)
			balanced++
		}
		r.Windows = append(r.Windows, made)
	}
	r.Imbalance /= float64(max(balanced, 1))
	w.sumServers(r)
	for i := range w.happens {
		r.Events = append(r.Events, w.happens[i].result(w))
	}
	return r
}

// leastSent is how many requests for each server a window needs for its balance to say
// something: below it chance alone makes a tenth.
const leastSent = 100

// imbalance returns how much busier the busiest server was than the mean in a window: of
// those that were well all the time, and of the first tier that has some; 0 if nothing can
// be said.
func (w *world) imbalance(p *window) float64 {
	tier := -1
	counts := func(i int) bool { return !w.servers[i].spare && !p.unwell[i] }
	for i := range w.servers {
		if t := w.servers[i].tier; counts(i) && (tier < 0 || t < tier) {
			tier = t
		}
	}
	sum, most, sent, n := 0.0, 0.0, uint64(0), 0
	for i := range w.servers {
		if !counts(i) || w.servers[i].tier != tier {
			continue
		}
		busy := p.work[i].Seconds() / float64(w.servers[i].of.Workers)
		sum, most, n = sum+busy, max(most, busy), n+1
		sent += p.sent[i]
	}
	if n < 2 || sum == 0 || sent < leastSent*uint64(n) {
		return 0
	}
	return most / (sum / float64(n))
}

func (w *world) sumServers(r *Result) {
	for i := range w.servers {
		s := &w.servers[i]
		work := time.Duration(0)
		for j := range w.parts {
			work += w.parts[j].work[i]
		}
		busy := 100 * work.Seconds() / w.plan.Length.Std().Seconds() / float64(s.of.Workers)
		r.Servers = append(r.Servers, ServerResult{s.name, w.served[i].sent, w.served[i].failed, busy})
	}
}

// settlePart is the part of an event before its end in which traffic must have left to have
// left at all.
const settlePart = 20

func (h *happening) result(w *world) EventResult {
	lasts := h.to - h.from
	e := EventResult{
		Member: w.servers[h.server].name, Does: h.Does, At: document.Duration(h.from.Round(time.Second)), For: document.Duration(lasts.Round(time.Second)),
		Sent: h.sent.count, Failed: h.failed, Seen: -1,
	}
	if h.seen >= 0 {
		e.Seen = millis(h.seen - h.from)
	}
	left := min(h.sent.rateUntil(w.rateBefore(h)/10), max(h.lastSent-h.from, 0))
	e.Left, e.Gone = millis(left), millis(max(h.lastSent-h.from, 0))
	e.Leaves, e.Ends = left <= lasts-lasts/settlePart, h.lastSent-h.from <= lasts-lasts/settlePart
	return e
}

// rateBefore returns how many requests in a second the server had in the window before
// something happened to it, or a share of all if that was the first one.
func (w *world) rateBefore(h *happening) float64 {
	before := w.part(max(h.from-w.length, 0))
	if before.unwell[h.server] {
		return float64(before.requests) / float64(len(w.servers)) / w.length.Seconds()
	}
	return float64(before.sent[h.server]) / w.length.Seconds()
}
