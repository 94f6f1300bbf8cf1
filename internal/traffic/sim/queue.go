package sim

// kind is what is to be done at a time.
type kind uint8

const (
	arrive  kind = iota // a request of a crowd
	served              // a server has done a request
	givenUp             // nobody answers: the one who waits stops waiting
	probe               // a check is due
	probed              // a check has ended
	begin               // what was planned to happen begins
	end                 // and ends
	warm                // shares of members in slow start grow
	compare             // members are compared by their traffic
)

// event is something to be done at a time.
type event struct {
	at    int64 // nanoseconds since epoch
	order uint32
	of    int32  // a request, check, crowd or happening, by kind
	turn  uint32 // which one of it: what has been overtaken is not done
	kind  kind
}

// before reports whether e is to be done before o: what was planned first goes first.
func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && int32(e.order-o.order) < 0
}

// queue is events, the next one first: a heap of four branches, which is shallower than one
// of two and looks at neighbours in memory.
type queue struct {
	heap    []event
	planned uint32
}

func (q *queue) len() int { return len(q.heap) }

func (q *queue) push(e event) {
	e.order = q.planned
	q.planned++
	q.heap = append(q.heap, e)
	at := len(q.heap) - 1
	for at > 0 {
		above := (at - 1) / 4
		if !e.before(&q.heap[above]) {
			break
		}
		q.heap[at] = q.heap[above]
		at = above
	}
	q.heap[at] = e
}

func (q *queue) pop() event {
	first, last := q.heap[0], q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	n := len(q.heap)
	if n == 0 {
		return first
	}
	at := 0
	for {
		least := 4*at + 1
		if least >= n {
			break
		}
		for i := least + 1; i < min(least+4, n); i++ {
			if q.heap[i].before(&q.heap[least]) {
				least = i
			}
		}
		if !q.heap[least].before(&last) {
			break
		}
		q.heap[at] = q.heap[least]
		at = least
	}
	q.heap[at] = last
	return first
}
