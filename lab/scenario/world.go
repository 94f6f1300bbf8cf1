package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/iterate"
)

// ask gives the client's query of a step to the resolver, as a node does: parsed
// and judged, RD=0 from the cache only.
func (r *run) ask(step *Step) error {
	r.token++
	q := &question{isTCP: step.Entry.Match.TCP}
	m := step.Entry.Message
	m.ID = uint16(r.token)
	q.wire = m.Append(nil)
	if len(step.Entry.Raw) > 0 {
		q.wire = step.Entry.Raw
	}
	if r.s.Dialect == Deckard {
		r.answers = nil
		r.waiting = len(step.Entry.Raw) == 0 // a raw query need not be answered
	}
	switch q.query.Parse(q.wire) {
	case dnswire.Ignore:
		return nil
	case dnswire.Reject: // the listener's matter: the resolver never sees it
		return r.answer(q, nil)
	}
	if msg := r.world.ownAnswer(&q.query, q.wire); msg != nil {
		return r.toldOwn(msg)
	}
	client := step.Address
	if !client.IsValid() {
		client = defaultClient
	}
	rules, err := r.makeRules(client)
	if err != nil {
		return err
	}
	if rules != nil {
		return r.askByRules(rules, q, client, q.isTCP)
	}
	if done, err := r.answerReady(q); done {
		r.fetchDue()
		return err
	}
	name := q.query.Name.Clone()
	if !q.query.RD() {
		a, ok := r.resolver.FromCache(r.now, name, q.query.Type)
		if !ok {
			a = iterate.Answer{Rcode: dnswire.RcodeRefused}
		}
		return r.answer(q, &a)
	}
	r.asked[r.token] = q
	r.step(iterate.Ask{
		Token: r.token, Name: name, Type: q.query.Type, Class: q.query.Class,
		CD: q.query.CD(), DO: q.query.EDNS.DO, AD: q.query.AD(), Near: client,
	})
	return nil
}

// answerReady gives the client what the cache has ready in wire form, if it has.
func (r *run) answerReady(q *question) (done bool, err error) {
	if r.ready == nil {
		return false, nil
	}
	var out dnswire.Builder
	out.Reset(&q.query, make([]byte, 0xFFFF+dnswire.BufferSlack), 0xFFFF)
	if !r.ready.Answer(r.now, &q.query, &out, 0) {
		return false, nil
	}
	out.SetRA(true)
	return true, r.told(&out, "ready", q.isTCP)
}

// fetchDue fetches again what the cache wants to be.
func (r *run) fetchDue() {
	due := r.due
	r.due = nil
	for _, q := range due {
		r.token++
		r.step(iterate.Ask{Token: r.token, Name: q.Name, Type: q.Type, DO: q.DO, CD: q.CD, Fresh: true})
	}
}

// told takes in what the client is told.
func (r *run) told(out *dnswire.Builder, how string, isTCP bool) error {
	m, err := dnswire.ParseMessage(out.Finish())
	if err != nil {
		return fmt.Errorf("the answer is no message: %w", err)
	}
	r.note("answer (%s): %s", how, render(m))
	r.answers = append(r.answers, Packet{Message: m, TCP: isTCP})
	return nil
}

// answer builds the message that the client gets; a is nil for a rejected query.
func (r *run) answer(q *question, a *iterate.Answer) error {
	var out dnswire.Builder
	out.Reset(&q.query, make([]byte, 0xFFFF+dnswire.BufferSlack), 0xFFFF)
	if a == nil {
		return r.told(&out, "rejected", q.isTCP)
	}
	a.Write(&out)
	if len(a.Errors) > 0 && !q.query.EDNS.Present { // the client does not see why
		r.note("  because: %v", a.Errors)
	}
	return r.told(&out, "resolved", q.isTCP)
}

// step gives the resolver one event and does what it wants done.
func (r *run) step(ev iterate.Event) {
	for _, act := range r.resolver.Step(r.now, ev, nil) {
		switch a := act.(type) {
		case iterate.Send:
			r.send(a)
		case iterate.Wait:
			r.waits = append(r.waits, wait{a.Exchange, r.now.Add(a.Timeout)})
		case iterate.Close:
			r.drop(a.Exchange)
		case iterate.Reply:
			q := r.asked[a.Token]
			delete(r.asked, a.Token)
			if q == nil {
				panic(fmt.Sprintf("BUG: a second reply to question %d", a.Token))
			}
			if q.then != nil {
				q.then(a.Answer)
				continue
			}
			if err := r.answer(q, &a.Answer); err != nil {
				panic("BUG: " + err.Error())
			}
		}
	}
}

func (r *run) send(a iterate.Send) {
	m, err := dnswire.ParseMessage(a.Msg)
	if err != nil {
		panic("BUG: the resolver sent what is no message: " + err.Error())
	}
	r.result.Sent++
	x := &exchange{send: a, query: Packet{m, a.TCP}, deadline: r.now.Add(a.Timeout)}
	r.note("  %s -> %v %s", r.clock(), a.To.Addr(), describe(x.query))
	r.pending = append(r.pending, x)
}

func (r *run) drop(id uint64) {
	r.pending = slices.DeleteFunc(r.pending, func(x *exchange) bool { return x.send.Exchange == id })
	r.waits = slices.DeleteFunc(r.waits, func(w wait) bool { return w.exchange == id })
}

// take removes pending packet i; its exchange is over for the network.
func (r *run) take(i int) *exchange {
	x := r.pending[i]
	r.pending = slices.Delete(r.pending, i, i+1)
	return x
}

// reply gives the reply of an entry to pending packet i. The packet stays under
// way until the resolver closes the exchange, but is not answered again.
func (r *run) reply(i int, e *Entry) {
	x := r.pending[i]
	switch {
	case e.Adjust.Silent:
		x.answered = true
		return
	case e.Adjust.Refuse:
		r.take(i)
		r.note("  %s refused by %v", r.clock(), x.send.To.Addr())
		r.step(iterate.Failed{Exchange: x.send.Exchange, Err: errors.New("connection refused")})
		return
	}
	for _, e := range append([]*Entry{e}, e.Extra...) {
		if slices.Contains(r.pending, x) { // and not closed by the packet before
			r.arrive(x, e.reply(x))
		}
	}
}

func (r *run) arrive(x *exchange, msg []byte) {
	x.answered = true
	if m, err := dnswire.ParseMessage(msg); err == nil {
		r.note("  %s <- %v %s", r.clock(), x.send.To.Addr(), render(m))
	} else {
		r.note("  %s <- %v %d octets that are no message: %v", r.clock(), x.send.To.Addr(), len(msg), err)
	}
	r.step(iterate.Arrived{Exchange: x.send.Exchange, Msg: msg})
}

// reply returns the entry's message as the reply to x.
func (e *Entry) reply(x *exchange) []byte {
	if len(e.Raw) > 0 {
		raw := slices.Clone(e.Raw)
		if e.Adjust.CopyID && len(raw) >= 2 {
			copy(raw, x.send.Msg[:2])
		}
		return raw
	}
	m := e.Message
	// Whether or not ADJUST says copy_id: both programs the files were written for
	// give a scripted message to the query it belongs to, and files rely on it.
	m.ID = x.query.ID
	if e.Adjust.WrongID {
		m.ID ^= 0x5555
	}
	if e.Adjust.CopyQuery {
		m.Question, m.HasQuestion = x.query.Question, true
	}
	msg := m.Append(nil)
	if m.HasQuestion && m.Question.Name == x.query.Question.Name && !e.Adjust.LowerCase {
		// A server copies the letters of the name as they are in the query, whatever
		// case the file is written in.
		copy(msg[dnswire.HeaderLen:], x.send.Msg[dnswire.HeaderLen:dnswire.HeaderLen+m.Question.Name.Len()])
	}
	return msg
}

// serveOne answers the oldest packet that a server has something to say to. It
// reports whether there was one.
func (r *run) serveOne() bool {
	for i, x := range r.pending {
		if x.answered {
			continue
		}
		if z := r.world.ownServer(x.send.To.Addr()); z != nil {
			r.arrive(x, z.say(x.send.Msg, x.query.TCP))
			return true
		}
		if e := r.scriptFor(x); e != nil {
			r.reply(i, e)
			return true
		}
		if msg := r.unscripted(x); msg != nil {
			r.arrive(x, msg)
			return true
		}
	}
	return false
}

// scriptFor returns the entry with which x is answered now, if there is one.
func (r *run) scriptFor(x *exchange) *Entry {
	now := r.last
	if r.s.Dialect == Unbound {
		if r.at >= len(r.s.Steps) {
			return nil
		}
		now = r.s.Steps[r.at].ID
	}
	known := r.isScripted(x.send.To.Addr())
	for _, rg := range r.s.Ranges {
		if now < rg.From || now > rg.To {
			continue
		}
		// Deckard: an address that the file does not know is every server at once.
		anyServer := r.s.Dialect == Deckard && !known
		if !anyServer && len(rg.Addresses) > 0 && !slices.Contains(rg.Addresses, x.send.To.Addr()) {
			continue
		}
		for _, e := range rg.Entries {
			if e.Check(x.query) == nil {
				return e
			}
		}
		if r.s.Dialect == Deckard && !anyServer {
			return nil
		}
	}
	if r.s.Dialect == Deckard {
		return r.heldReady(x, now)
	}
	return nil
}

// heldReady returns Deckard's first REPLY step from now on that matches x and was
// not used.
func (r *run) heldReady(x *exchange, now int) *Entry {
	for _, step := range r.s.Steps {
		if step.Kind == Reply && step.ID >= now && !r.used[step] && step.Entry.Check(x.query) == nil {
			r.used[step] = true
			return step.Entry
		}
	}
	return nil
}

func (r *run) isScripted(a netip.Addr) bool {
	return slices.ContainsFunc(r.s.Ranges, func(rg *Range) bool { return slices.Contains(rg.Addresses, a) })
}

// isScriptedNext reports whether the next step is the reply to x.
func (r *run) isScriptedNext(x *exchange) bool {
	if r.at >= len(r.s.Steps) {
		return false
	}
	step := r.s.Steps[r.at]
	return step.Kind == Reply && step.Entry.Message.Question == x.query.Question
}

// unscripted returns what a server says to a query for which the file has no
// words, nil if it stays silent.
func (r *run) unscripted(x *exchange) []byte {
	q := x.query.Question
	m := dnswire.Message{ID: x.query.ID, QR: true, HasQuestion: true, Question: q}
	switch {
	case q.Name.IsRoot() && q.Type == rdata.TypeNS && slices.Contains(r.world.Roots, x.send.To.Addr()) && !r.isScriptedNext(x):
		// Unbound takes the servers in the file for the root's without asking them, so
		// some files do not have the root say who they are.
		for _, h := range hints(r.world.Roots) {
			if h.Type == rdata.TypeNS {
				m.Answer = append(m.Answer, h)
			} else {
				m.Additional = append(m.Additional, h)
			}
		}
		m.AA = true
	case r.s.Dialect == Deckard:
		m.Rcode = dnswire.RcodeServFail
	default:
		return nil
	}
	return m.Append(nil)
}

// expireOne moves the clock to the first deadline and lets it pass. It reports
// whether there was one.
func (r *run) expireOne() bool {
	exchange, deadline, ok := r.firstDeadline()
	if !ok {
		return false
	}
	if deadline.After(r.now) {
		r.result.Waited += deadline.Sub(r.now)
		r.now = deadline
	}
	r.note("  %s timeout of exchange %d", r.clock(), exchange)
	r.drop(exchange)
	r.step(iterate.Expired{Exchange: exchange})
	return true
}

func (r *run) firstDeadline() (exchange uint64, at time.Time, ok bool) {
	for _, x := range r.pending {
		if !ok || x.deadline.Before(at) {
			exchange, at, ok = x.send.Exchange, x.deadline, true
		}
	}
	for _, w := range r.waits {
		if !ok || w.deadline.Before(at) {
			exchange, at, ok = w.exchange, w.deadline, true
		}
	}
	return exchange, at, ok
}

// pass lets time go by, with the deadlines that fall into it. For Unbound's
// dialect packets under way do not age: their timeouts are steps of their own.
func (r *run) pass(d time.Duration) {
	end := r.now.Add(d)
	if r.s.Dialect == Unbound {
		for _, x := range r.pending {
			x.deadline = x.deadline.Add(d)
		}
		for i := range r.waits {
			r.waits[i].deadline = r.waits[i].deadline.Add(d)
		}
	}
	for {
		_, deadline, ok := r.firstDeadline()
		if !ok || deadline.After(end) {
			break
		}
		r.expireOne()
	}
	r.now = end
}

func (x *exchange) isFor(a netip.Addr) bool { return !a.IsValid() || x.send.To.Addr() == a }

func (r *run) clock() string { return r.now.UTC().Format("15:04:05.000") }

func (r *run) underWay() string {
	var list []string
	for _, x := range r.pending {
		list = append(list, fmt.Sprintf("%v %s", x.send.To.Addr(), describe(x.query)))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func describe(p Packet) string {
	transport := ""
	if p.TCP {
		transport = " tcp"
	}
	return fmt.Sprintf("%v %v%s", p.Question.Name, p.Question.Type, transport)
}

// render returns a message as one line.
func render(m *dnswire.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v %v: %v %s", m.Question.Name, m.Question.Type, m.Rcode, flagsOf(m))
	for i, records := range [...][]rdata.Record{m.Answer, m.Authority, m.Additional} {
		if len(records) == 0 {
			continue
		}
		fmt.Fprintf(&b, "; %v", dnswire.Section(i))
		for _, rec := range records {
			b.WriteString(" (" + strings.ReplaceAll(rec.String(), "\t", " ") + ")")
		}
	}
	for _, e := range m.EDE {
		fmt.Fprintf(&b, "; %v %q", e.Code, e.Text)
	}
	return b.String()
}
