// Package fairness shares out a resolver's work among its clients, so that those who
// ask for too much wait for each other and not everybody for them.
//
// It owns the questions that wait and the number of those in work, by the network
// that they came from. It does not own the work, nor a clock.
//
//	Add ──► waiting, a line for each network ──► Next, in turns ──► in work ──► Done(cost)
//
// Turns are deficit round robin: one question of each network, and what it turned
// out to cost (queries sent, signatures checked) is taken off its network's credit
// afterwards; who is in debt sits turns out. So cheap questions come to more turns
// than dear ones.
//
// Quotas bind under pressure only, and adapt to it: a network may have no more
// questions in work, nor waiting, than there are places free (the dynamic thresholds
// of switches with shared buffers, Choudhury and Hahne 1998). One greedy network
// comes to half of all places, n greedy ones to n/(n+1), in equal parts; and there
// is always as much room for the next one as any of them has.
//
// Entry points: New; Queue.Add, Queue.Next, Queue.Done.
//
// Concurrency: none; the caller guards a Queue.
package fairness

import "net/netip"

// Config bounds a Queue.
type Config struct {
	// Work is how many questions are in work at a time, over all networks.
	Work int
	// Total is how many wait or are in work, over all networks.
	Total int
	// PerNetwork is how many questions of one network wait or are in work, whether
	// there is room or not: more would be answered all at once when a slow server
	// at last answers (DNSBomb, CVE-2024-33655).
	PerNetwork int
}

// Networks are what shares are counted by: an IPv4 /24 and an IPv6 /56, what one
// customer or one office usually has. Smaller ones would let who has many addresses
// have many shares.
const (
	bits4 = 24
	bits6 = 56
)

const (
	quantum  = 4            // credit for one turn sat out: a usual cold question costs about 5
	mostDebt = 16 * quantum // so that nobody sits out more than 16 turns
	// fewEnough is how many questions in work make nobody heavy: 8, a page of the Web.
	fewEnough = 8
)

// Party is one network that has questions here.
type Party[T any] struct {
	network netip.Prefix
	line    []T // oldest first
	head    int // of line
	working int
	credit  int
	inRing  bool
}

func (p *Party[T]) waiting() int { return len(p.line) - p.head }

// Outstanding returns how many questions of the network wait or are in work.
func (p *Party[T]) Outstanding() int { return p.waiting() + p.working }

func (p *Party[T]) push(item T) { p.line = append(p.line, item) }

func (p *Party[T]) pop() T {
	var none T
	item := p.line[p.head]
	p.line[p.head] = none
	if p.head++; p.head == len(p.line) {
		p.line, p.head = p.line[:0], 0
	}
	return item
}

// Queue holds questions of type T.
//
// Invariant: waiting and working are the sums over parties, which has those networks
// only that have either; ring has exactly the parties with something waiting.
type Queue[T any] struct {
	cfg              Config
	parties          map[netip.Prefix]*Party[T]
	ring             []*Party[T] // whose turn it is first
	waiting, working int
	refused          uint64
}

// New returns an empty Queue.
func New[T any](cfg Config) *Queue[T] {
	return &Queue[T]{cfg: cfg, parties: make(map[netip.Prefix]*Party[T])}
}

// network returns what client counts as; the zero Prefix for the zero Addr, which
// is this machine asking for itself. It takes turns like the others, without quotas.
func network(client netip.Addr) netip.Prefix {
	client = client.Unmap()
	bits := bits6
	if client.Is4() {
		bits = bits4
	}
	p, _ := client.WithZone("").Prefix(bits) // the zero Prefix, for the zero Addr
	return p
}

// Add takes in a question of a client. It reports false when the client's network
// has too many already, or nobody can have more.
func (q *Queue[T]) Add(client netip.Addr, item T) bool {
	n := network(client)
	p := q.parties[n]
	has, line, room := 0, 0, q.cfg.Total-q.waiting-q.working
	if p != nil {
		has, line = p.Outstanding(), p.waiting()
	}
	if room <= 0 || n.IsValid() && (has >= q.cfg.PerNetwork || line >= room) {
		q.refused++
		return false
	}
	if p == nil {
		p = &Party[T]{network: n, credit: quantum}
		q.parties[n] = p
	}
	p.push(item)
	q.waiting++
	q.enter(p)
	return true
}

func (q *Queue[T]) enter(p *Party[T]) {
	if !p.inRing {
		p.inRing = true
		q.ring = append(q.ring, p)
	}
}

// Next takes out the question whose turn it is; ok is false when there is none, or
// no place for it in work. heavy: its network has more than an equal share of what
// is in work.
func (q *Queue[T]) Next() (item T, from *Party[T], heavy, ok bool) {
	free := q.cfg.Work - q.working
	// Each round of the ring pays a quantum to who is in debt, so that after a few
	// somebody has credit, unless all are at their share.
	for blocked := 0; free > 0 && blocked < len(q.ring); {
		p := q.ring[0]
		switch {
		case p.network.IsValid() && p.working >= free:
			blocked++
			q.toEnd()
			continue
		case p.credit <= 0:
			p.credit += quantum
			blocked = 0
			q.toEnd()
			continue
		}
		item = p.pop()
		p.credit--
		q.waiting--
		q.working++
		p.working++
		if q.toEnd(); p.waiting() == 0 {
			p.inRing = false
			q.ring = q.ring[:len(q.ring)-1]
		}
		return item, p, p.working > fewEnough && p.working*len(q.parties) > q.working, true
	}
	return item, nil, false, false
}

// toEnd moves the first of the ring to its end.
func (q *Queue[T]) toEnd() {
	if len(q.ring) > 1 {
		q.ring = append(q.ring[1:], q.ring[0])
	}
}

// Done says that a question of a network is done with, and what it cost.
func (q *Queue[T]) Done(p *Party[T], cost int) {
	q.working--
	p.working--
	p.credit = max(p.credit-cost, -mostDebt)
	if p.Outstanding() == 0 {
		delete(q.parties, p.network)
	}
}

// Outstanding returns how many questions wait and how many are in work.
func (q *Queue[T]) Outstanding() (waiting, working int) { return q.waiting, q.working }

// Refused returns how many questions were not taken.
func (q *Queue[T]) Refused() uint64 { return q.refused }

// Drain takes everything out that waits.
func (q *Queue[T]) Drain(visit func(T)) {
	for _, p := range q.ring {
		for p.waiting() > 0 {
			visit(p.pop())
			q.waiting--
		}
		p.inRing = false
		if p.working == 0 {
			delete(q.parties, p.network)
		}
	}
	q.ring = nil
}
