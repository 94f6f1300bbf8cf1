package iterate

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// exchange is one query to one server.
//
// Invariant: it is in Resolver.exchanges under its number, and is its lookup's
// exchange, until it is closed.
type exchange struct {
	number uint64
	lookup *lookup
	place  int // index in lookup.places
	server dnsname.Name
	to     Server
	zone   dnsname.Name
	q      question // what is asked: the lookup's, or less of it
	id     uint16   // of the message
	mixed  []byte   // the name as it was written, if in mixed case
	tcp    bool
	edns   bool
	learns bool // whether the server can do without EDNS what it could not with
	sent   time.Time
	near   netip.Prefix  // the network that its server is told of; invalid: none
	alone  bool          // it is counted in subnets.asking
	misses int           // packets that were no reply to this query
	took   time.Duration // from the query's leaving to what came last; 0: unknown
}

// send asks the server at places[i].
func (r *Resolver) send(l *lookup, i int) {
	p := &l.places[i]
	h := p.host
	if at := r.isFull(l, p.addr); at == LimitServerWaiting { // another one may do
		r.exceeds(l, at)
		p.useless, l.limited = true, true
		l.setTrouble(dnswire.EDEOther, r.limits.say(at))
		r.next(l)
		return
	} else if at != NoLimit {
		r.refuse(l, at)
		return
	}
	if h.isSilent(r.now) {
		r.nobodyAnswers(l)
	}
	x := &exchange{place: i, edns: !h.plain(r.now)}
	timeout := p.addr.timeout(h, p.tries)
	if r.open(l, x, timeout) {
		p.tries++
		l.sends++
	}
}

// again asks the same server once more in another way: over TCP, or without EDNS.
func (r *Resolver) again(l *lookup, old *exchange, tcp, edns bool) {
	p := &l.places[old.place]
	p.host = r.hosts.look(old.to)
	timeout := old.to.timeout(p.host, 0)
	if tcp {
		timeout = tcpTimeout
	}
	r.open(l, &exchange{place: old.place, tcp: tcp, edns: edns, learns: old.learns || old.edns && !edns}, timeout)
}

// open sends the query of x, if somebody can pay for it; else l has come to
// nothing.
func (r *Resolver) open(l *lookup, x *exchange, timeout time.Duration) bool {
	if at := r.charge(l); at != NoLimit {
		r.refuse(l, at)
		return false
	}
	p := l.places[x.place]
	x.number, x.lookup, x.sent = r.number(), l, r.now
	x.server, x.to, x.zone = l.servers[p.server].name, p.addr, l.cut.Zone
	x.q = r.askNext(l)
	x.id = uint16(r.cfg.Rand.Uint32()) // RFC 5452 §9.2: unpredictable
	options := r.tell(x)
	if r.crowded(x) {
		x.tcp, timeout = true, tcpTimeout
	}
	r.exchanges.Put(x.number, x)
	l.exchange = x
	r.crowds.enter(r.now, x)
	r.counters.Sent++
	if x.tcp {
		r.counters.SentTCP++
	}
	if x.to.isEncrypted() {
		r.counters.SentEncrypted[x.to.Over]++
	}
	msg := dnswire.AppendQuery(nil, dnswire.QuerySpec{
		ID: x.id, Name: x.q.name, Type: x.q.t, Class: rdata.ClassIN, EDNS: x.edns,
		DO: x.edns && r.cfg.Validate, // RFC 4035 §3.2.1
		// What is bogus to a forwarder we want to see: RFC 6840 §5.9.
		RD: l.forwards(), CD: l.forwards() && x.edns && r.cfg.Validate,
		Options: options, Padding: x.padding(),
	})
	if r.cfg.MixCase && !x.isStream() && !p.host.lowersCase(r.now) {
		mixCase(msg, r.cfg.Rand)
		x.mixed = msg[dnswire.HeaderLen : dnswire.HeaderLen+x.q.name.Len()]
	}
	r.note(l, Step{Kind: StepSent, Server: x.to.AddrPort, ServerName: x.server, TCP: x.tcp, Over: x.to.Over, Asked: x.part(), AskedType: x.q.t})
	r.do(Send{Exchange: x.number, To: x.to.AddrPort, TCP: x.tcp, Over: x.to.Over, Peer: x.to.Peer, Msg: msg, Timeout: timeout})
	return true
}

// part returns the name that is asked for if it is not the whole question.
func (x *exchange) part() dnsname.Name {
	if x.q == x.lookup.q {
		return dnsname.Name{}
	}
	return x.q.name
}

// who names the server for a message.
func (x *exchange) who() string {
	if x.to.AddrPort == Inside && x.lookup.cut.Local {
		return fmt.Sprintf("zone %v of this server", x.lookup.cut.Zone)
	}
	if x.to.AddrPort == Inside {
		return fmt.Sprintf("the copy of zone %v here", x.lookup.cut.Zone)
	}
	if x.server.IsZero() { // of a route
		if x.to.isEncrypted() {
			return fmt.Sprintf("%v (%v)", x.to.AddrPort, x.to.Over)
		}
		return x.to.AddrPort.String()
	}
	return fmt.Sprintf("%v at %v", x.server, x.to.Addr())
}

// close ends an exchange that the driver still has open.
func (r *Resolver) close(x *exchange) {
	r.forgetExchange(x)
	r.do(Close{Exchange: x.number})
}

func (r *Resolver) forgetExchange(x *exchange) {
	r.exchanges.Delete(x.number)
	r.uncrowd(x)
	r.crowds.leave(x)
	x.lookup.exchange = nil
}

// timedOut takes in that no reply to x has come in time.
func (r *Resolver) timedOut(x *exchange) {
	r.forgetExchange(x)
	l := x.lookup
	r.counters.Timeouts++
	r.hosts.get(x.to).timedOut(r.now, x.sent)
	r.quiet.timedOut(r.now, x.sent)
	if x.tcp {
		l.places[x.place].useless = true
	}
	if x.q != l.q && l.sends > 1 {
		l.shown.whole = true // RFC 9156 §3: some drop what they do not expect
	}
	l.setTrouble(dnswire.EDENoReachableAuthority, fmt.Sprintf("%s did not answer", x.who()))
	r.note(l, Step{Kind: StepTimeout, Server: x.to.AddrPort, ServerName: x.server, TCP: x.tcp, RTT: r.now.Sub(x.sent)})
	r.next(l)
}

// notSent takes in that x failed at once.
func (r *Resolver) notSent(x *exchange, err error) {
	r.forgetExchange(x)
	l := x.lookup
	r.counters.NetworkFails++
	switch addr := x.to; {
	case errors.Is(err, ErrNoRoute):
		r.familyOff[family(addr)] = r.now.Add(familyRetry)
	case !errors.Is(err, ErrLocal) && !x.tcp: // an encrypted one, too: it stays dead until it can prove who it is
		r.hosts.get(addr).timedOut(r.now, x.sent)
	}
	l.places[x.place].useless = true
	l.setTrouble(dnswire.EDENetworkError, fmt.Sprintf("%s: %v", x.who(), err))
	r.note(l, Step{Kind: StepFailed, Server: x.to.AddrPort, ServerName: x.server, TCP: x.tcp, Note: fmt.Sprint(err)})
	r.next(l)
}

// familyRetry is how long an address family is left out after the system said
// that there is no route: 30 s. One failed attempt per half minute is cheap.
const familyRetry = 30 * time.Second

// arrived takes in a message from the server that x asked.
func (r *Resolver) arrived(x *exchange, msg []byte) {
	l := x.lookup
	if !x.matches(msg, r.isWeak(WeakIDs)) {
		r.missed(x, "not a reply to the query")
		return
	}
	if !x.repeatsCase(msg) {
		r.lostCase(x)
		return
	}
	// TC is looked at before the rest, which may be cut anywhere (RFC 2181 §9).
	if !x.isStream() && (msg[2]&0x02 != 0 || r.isFragmented(x, msg)) {
		r.close(x)
		r.heard(x)
		r.note(l, Step{Kind: StepTruncated, Server: x.to.AddrPort, ServerName: x.server})
		r.again(l, x, true, x.edns) // RFC 7766 §5
		return
	}
	if x.mixed != nil && msg[5] != 0 {
		plainCase(msg, x.q.name)
	}
	m, err := dnswire.ParseMessage(msg)
	if err == nil && m.TC { // over TCP there is no more to be had
		err = errTruncated
	}
	if err != nil {
		r.missed(x, err.Error())
		return
	}
	near, ok := x.scopeOf(m)
	if !ok {
		r.missed(x, "it is for another network than was asked for")
		return
	}
	r.close(x)
	r.heard(x)
	l.received(len(msg))
	if x.near.IsValid() && m.Rcode == dnswire.RcodeFormErr { // RFC 7871 §7.3: it may be the option that it cannot bear
		l.untold = true
		r.again(l, x, x.tcp, x.edns)
		return
	}
	if x.edns && dislikesEDNS(m) {
		// RFC 6891 §7: a server that knows no EDNS answers FORMERR, or NOTIMP.
		r.note(l, Step{Kind: StepPlain, Server: x.to.AddrPort, ServerName: x.server, TCP: x.tcp, Rcode: m.Rcode})
		r.again(l, x, x.tcp, false)
		return
	}
	if x.learns && m.Rcode != dnswire.RcodeFormErr {
		r.hosts.get(x.to).plainUntil = r.now.Add(plainTime)
	}
	r.leaveOurs(l, m)
	r.learnAgent(l, m)
	rep := classify(m, x.q, r.believedZone(l), &r.limits)
	if rep.near = near; rep.fallback != nil {
		rep.fallback.near = near
	}
	if r.cfg.Weak != 0 {
		r.weaken(l, m)
	}
	if l.forwards() && !r.isWeak(WeakForwarders) {
		rep = rep.asForwarded(m)
	}
	r.accept(l, x, m, rep)
}

// isFragmented reports whether a reply over UDP is larger than was offered, so that it has
// come in fragments where the path is as wide as we take it to be. All of them but the
// first can be forged by who knows neither port nor id (Herzberg and Shulman, 2013); over
// TCP they cannot. RFC 9715 §3.2 has requestors do the same by dropping fragments.
func (r *Resolver) isFragmented(x *exchange, msg []byte) bool {
	return x.edns && len(msg) > dnswire.MaxUDP && !r.isWeak(WeakFragments)
}

var errTruncated = errors.New("truncated over TCP")

// heard takes into account that there was a reply. What it took to get a connection
// says nothing about the next one.
func (r *Resolver) heard(x *exchange) {
	rtt := r.now.Sub(x.sent)
	if x.took > 0 {
		rtt = min(rtt, x.took)
	}
	r.hosts.get(x.to).answered(rtt)
	r.quiet = quiet{}
}

func dislikesEDNS(m *dnswire.Message) bool {
	switch m.Rcode {
	case dnswire.RcodeFormErr, dnswire.RcodeNotImp:
		return !m.EDNS.Present
	case dnswire.RcodeBadVers:
		return true
	}
	return false
}

// missed takes in a packet that can not be the reply. It may be forged to make
// us give up, so the exchange goes on waiting (the TuDoor
// attacks); with too many of them somebody is guessing, and TCP, which can not
// be guessed at, is asked instead. Over TCP there is nothing to wait for.
func (r *Resolver) missed(x *exchange, why string) {
	l := x.lookup
	r.counters.Ignored++
	r.note(l, Step{Kind: StepIgnored, Server: x.to.AddrPort, ServerName: x.server, TCP: x.tcp, Note: why})
	if x.misses++; x.misses < r.limits.NearMisses && !x.isStream() && !r.isWeak(WeakBadPackets) {
		return
	}
	r.close(x)
	if x.isStream() || r.isWeak(WeakBadPackets) {
		l.places[x.place].useless = true
		l.setTrouble(dnswire.EDEInvalidData, fmt.Sprintf("%s: %s", x.who(), why))
		r.next(l)
		return
	}
	r.again(l, x, true, x.edns)
}

// matches reports whether msg is a reply to x's query: QR, opcode, id and
// question agree (RFC 5452 §9.1), the name without regard to case. A reply that
// reports an error may come without question.
func (x *exchange) matches(msg []byte, anyID bool) bool {
	if len(msg) < dnswire.HeaderLen || msg[2]&0xF8 != 0x80 || binary.BigEndian.Uint16(msg) != x.id && !anyID {
		return false
	}
	rcode := dnswire.Rcode(msg[3] & 0xF)
	switch binary.BigEndian.Uint16(msg[4:]) {
	case 0:
		return rcode != dnswire.RcodeNoError && rcode != dnswire.RcodeNXDomain
	case 1:
	default:
		return false
	}
	name := x.q.name.Wire()
	end := dnswire.HeaderLen + len(name)
	return end+4 <= len(msg) && isName(msg[dnswire.HeaderLen:end], name) &&
		rdata.Type(binary.BigEndian.Uint16(msg[end:])) == x.q.t &&
		rdata.Class(binary.BigEndian.Uint16(msg[end+2:])) == rdata.ClassIN
}

// isName reports whether b, which is as long, is a name in any case. The lengths of
// labels are below all letters.
func isName(b []byte, wire string) bool {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != wire[i] {
			return false
		}
	}
	return true
}

// repeatsCase reports whether msg, which matches, repeats the name as it was
// written. A reply without question has nothing to repeat.
func (x *exchange) repeatsCase(msg []byte) bool {
	return x.mixed == nil || msg[5] == 0 || bytes.Equal(msg[dnswire.HeaderLen:][:len(x.mixed)], x.mixed)
}

// lostCase takes in a reply that does not repeat the case of the name: it is
// forged, or comes from a server that does not keep it. TCP tells; it can not be
// forged from afar. Such a server is not asked in mixed case again for a while.
func (r *Resolver) lostCase(x *exchange) {
	l := x.lookup
	r.counters.Ignored++
	r.note(l, Step{Kind: StepIgnored, Server: x.to.AddrPort, ServerName: x.server, Note: "the name comes back in another case: again over TCP"})
	r.close(x)
	r.hosts.get(x.to).caseUntil = r.now.Add(caseTime)
	r.again(l, x, true, x.edns)
}

// caseTime is how long a server counts as one that does not keep the case of
// names: 1 hour. Each time it costs one query over TCP.
const caseTime = time.Hour
