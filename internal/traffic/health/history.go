package health

// Event is a transition of a target.
type Event struct {
	Target     Target `json:"target"`
	Transition        // with its cause
}

// MaxHistory is how many events a History keeps: a week of a node whose members change
// some sixty times an hour, in 3 MB. The oldest go first.
const MaxHistory = 10_000

// History is the last transitions of all targets. The zero History is empty.
type History struct {
	events []Event // a ring once it is full
	next   int     // where the next is put; Invariant: 0 until it is full
}

// Add takes in an event.
func (h *History) Add(e Event) {
	if len(h.events) < MaxHistory {
		h.events = append(h.events, e)
		return
	}
	h.events[h.next] = e
	h.next = (h.next + 1) % MaxHistory
}

// Last returns the last events that match, at most limit of them, the newest first.
func (h *History) Last(limit int, matches func(Event) bool) []Event {
	var last []Event
	for i := len(h.events) - 1; i >= 0 && len(last) < limit; i-- {
		if e := h.events[(h.next+i)%len(h.events)]; matches(e) {
			last = append(last, e)
		}
	}
	return last
}
