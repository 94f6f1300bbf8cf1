package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/update"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/serve/dnsserver"
)

// This file is the way of a dynamic update:
//
//	UPDATE -> signature -> rules of the zone: may this client change anything? -> room
//	       -> off the loop: update.Parse -> changeZone: update.Decide, on disk -> answer
//	       -> or, of a secondary zone: as it is to a primary, and its answer back
//
// An update is answered when it is durable. Until then nothing on the loop waits
// for it.

// Limits of the updates in work.
const (
	// maxUpdates is how many are in work at a time: enough to fill the batches of a
	// disk, at most 32 MB of messages. Beyond it SERVFAIL, and clients come again.
	maxUpdates = 512
	// maxForwards is how many wait for a primary: each holds a connection.
	maxForwards = 64
	// updateTimeout is how long one may take; longer than any disk that still works.
	updateTimeout = 20 * time.Second
	// forwardTimeout is how long a primary may take. Clients such as nsupdate give
	// up after some 20 s.
	forwardTimeout = 10 * time.Second
)

// changer makes one change of a zone, by the name of who wants it, and returns when
// it is durable. decide is asked with the newest version; its error comes back.
type changer func(ctx context.Context, name dnsname.Name, by string, decide func(now *zone.Zone) (update.Change, error)) (changed bool, err error)

// updates is what is known of dynamic updates.
type updates struct {
	changed, unchanged, unmet, malformed, refused, failed, busy, repeated, forwarded, forwardFailed atomic.Uint64

	inWork, forwarding atomic.Int64
	toldRefused        atomic.Int64 // when a refusal was last logged, in seconds since 1970

	mu   sync.Mutex
	seen *update.Seen // guarded by mu; nil before the first signed update
}

// enter takes a place of those in work, if there is one.
func enter(places *atomic.Int64, most int64) bool {
	if places.Add(1) <= most {
		return true
	}
	places.Add(-1)
	return false
}

// begin says whether a signed update was seen before.
func (u *updates) begin(m update.Mark, now time.Time) (update.State, dnswire.Rcode) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = update.NewSeen(update.MaxSeen)
	}
	return u.seen.Begin(m, now)
}

func (u *updates) end(m update.Mark, rcode dnswire.Rcode) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen.End(m, rcode)
}

// rulesOf returns the rules of a zone.
func rulesOf(c *config.Zone) update.Rules {
	var rules update.Rules
	for _, r := range c.Updates {
		rules = append(rules, update.Rule{
			Deny: r.Deny, Network: r.Network, Key: r.Key, Names: r.Names, Subtrees: r.Subtrees, Self: r.Self, Types: r.Types,
		})
	}
	return rules
}

// updateZone answers an update. session is that of its signature, nil if it is not
// signed.
func (n *Node) updateZone(s *Snapshot, r *dnsserver.Request, session *tsig.Session) dnsserver.Verdict {
	client := update.Client{Address: r.Client.Addr()}
	if session != nil {
		client.Key = session.Key()
	}
	a, why := n.admitUpdate(s, r, client)
	if why == nil && session != nil && session.Fudge() > tsig.Fudge {
		why = &update.Refusal{Rcode: dnswire.RcodeRefused, EDE: dnswire.EDEProhibited, Why: "the signature holds for longer than updates are remembered; use a fudge of at most 300 s"}
	}
	if why != nil {
		return n.refuseUpdate(r, client, why)
	}
	if !enter(&n.updates.inWork, maxUpdates) {
		return n.tooMany(r, "too many updates are in work; come again later")
	}
	finish := func(dnswire.Rcode) { n.updates.inWork.Add(-1) }
	if session != nil {
		mark := update.MarkOf(client.Key, session.MAC())
		switch state, rcode := n.updates.begin(mark, r.Now); state {
		case update.InWork: // the answer to the first will come
			finish(0)
			n.updates.repeated.Add(1)
			return dnsserver.Drop
		case update.Done:
			finish(0)
			n.updates.repeated.Add(1)
			r.Out.SetRcode(rcode)
			return dnsserver.Answered
		}
		finish = func(rcode dnswire.Rcode) {
			n.updates.end(mark, rcode)
			n.updates.inWork.Add(-1)
		}
	}
	d := r.Defer()
	if d == nil {
		finish(dnswire.RcodeServFail)
		return dnsserver.Answered
	}
	go func() { // ends with updateTimeout at the latest
		why := n.carryOut(d, a, client)
		rcode := dnswire.RcodeNoError
		if why != nil {
			rcode = why.Rcode
		}
		finish(rcode) // first: who has the answer may come with the next
		n.answerUpdate(d, client, why)
	}()
	return dnsserver.Later
}

// admitUpdate finds the zone that a client wants to change, or says why it may not.
// The update itself is not looked at yet.
func (n *Node) admitUpdate(s *Snapshot, r *dnsserver.Request, client update.Client) (*apex, *update.Refusal) {
	q := &r.Query
	a, _ := s.apex(q.Name)
	refuse := func(rcode dnswire.Rcode, ede dnswire.EDE, why string) (*apex, *update.Refusal) {
		return nil, &update.Refusal{Rcode: rcode, EDE: ede, Why: why}
	}
	switch {
	case q.Type != rdata.TypeSOA:
		return refuse(dnswire.RcodeFormErr, dnswire.EDEInvalidData, "the zone section must have one record of type SOA")
	case a == nil || q.Class != rdata.ClassIN:
		return refuse(dnswire.RcodeNotAuth, dnswire.EDENotAuthoritative, "not a zone of this server")
	case a.config.Kind == "secondary":
		return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "this server is a secondary of the zone and forwards no updates; send it to the primary")
	case a.config.Kind != "store":
		return refuse(dnswire.RcodeRefused, dnswire.EDENotSupported, "the zone cannot be changed by updates: it is not of kind store")
	case !a.updates.Knows(client):
		return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "updates of this zone are not allowed to this client and key")
	case client.Key.IsZero() && r.Transport == dnsserver.UDP && !r.HasCookie && !client.Address.IsLoopback():
		return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "an update over UDP without a key or a cookie could be forged; use TCP or a key")
	case n.changeZone == nil:
		return refuse(dnswire.RcodeServFail, dnswire.EDENotReady, "nothing can be changed now; see the problems that status shows")
	}
	return a, nil
}

// refuseUpdate answers an update that is not carried out.
func (n *Node) refuseUpdate(r *dnsserver.Request, client update.Client, why *update.Refusal) dnsserver.Verdict {
	n.countRefusal(r.Query.Name, client, why)
	r.Out.SetRcode(why.Rcode)
	r.Out.SetEDE(why.EDE, why.Why)
	return dnsserver.Answered
}

// tooMany answers an update that is over a limit.
func (n *Node) tooMany(r *dnsserver.Request, why string) dnsserver.Verdict {
	n.updates.busy.Add(1)
	r.Out.SetRcode(dnswire.RcodeServFail)
	r.Out.SetEDE(dnswire.EDEOther, why)
	return dnsserver.Answered
}

// countRefusal counts and logs why an update was not carried out. Only one of those
// that may not be is logged each second: whoever can send one can send a million.
func (n *Node) countRefusal(name dnsname.Name, client update.Client, why *update.Refusal) {
	u := &n.updates
	switch why.Rcode {
	case dnswire.RcodeRefused, dnswire.RcodeNotAuth:
		u.refused.Add(1)
		now := time.Now().Unix()
		if last := u.toldRefused.Load(); last == now || !u.toldRefused.CompareAndSwap(last, now) {
			return
		}
		n.log.Info("update refused", "zone", name.String(), "client", client.Address.String(), "key", client.Key.String(), "why", why.Why)
	case dnswire.RcodeServFail:
		u.failed.Add(1)
	case dnswire.RcodeFormErr, dnswire.RcodeNotZone:
		u.malformed.Add(1)
	default:
		u.unmet.Add(1)
	}
}

// carryOut makes the change that a deferred update asks for. It returns when that is
// durable, or why it is not made.
func (n *Node) carryOut(d *dnsserver.Deferred, a *apex, client update.Client) *update.Refusal {
	request, why := update.Parse(d.Query().Msg)
	if why != nil {
		return why
	}
	allow := func(name dnsname.Name, t rdata.Type) bool { return a.updates.Allow(client, name, t) }
	ctx, cancel := context.WithTimeout(context.Background(), updateTimeout)
	defer cancel()
	changed, err := n.changeZone(ctx, a.config.Name, "update from "+client.String(), func(now *zone.Zone) (update.Change, error) {
		change, why := request.Decide(now, update.Terms{Allow: allow, Signed: a.isSignedHere(now)})
		if why != nil {
			return update.Change{}, why
		}
		return change, nil
	})
	switch {
	case errors.As(err, &why):
		return why
	case err != nil:
		n.log.Warn("update not carried out", "zone", a.config.Name.String(), "client", d.Client().String(), "error", err)
		return &update.Refusal{Rcode: dnswire.RcodeServFail, EDE: dnswire.EDEOther, Why: err.Error()}
	case changed:
		n.updates.changed.Add(1)
	default:
		n.updates.unchanged.Add(1)
	}
	return nil
}

// isSignedHere reports whether the signatures of a zone, whose newest version without
// what is done to it here is now, are made here.
func (a *apex) isSignedHere(now *zone.Zone) bool {
	return a.config.DNSSEC != "" || a.served.Zone != nil && a.served.Zone.IsSigned() && !now.IsSigned()
}

// answerUpdate answers a deferred update: with NOERROR if why is nil.
func (n *Node) answerUpdate(d *dnsserver.Deferred, client update.Client, why *update.Refusal) {
	b := n.builders.Get().(*lateBuilder)
	defer n.builders.Put(b)
	b.out.Reset(d.Query(), b.buf[:], d.Limit())
	n.edns.addOptions(d.Query(), d.Client().Addr(), d.Transport(), time.Now(), &b.out)
	if why != nil {
		n.countRefusal(d.Query().Name, client, why)
		b.out.SetRcode(why.Rcode)
		b.out.SetEDE(why.EDE, why.Why)
	}
	if err := d.Send(b.out.Finish()); err != nil {
		n.log.Debug("answer to an update not sent", "client", d.Client().String(), "error", err)
	}
}

// forwards reports whether an update is for a primary of ours (RFC 2136 §6). That
// is asked before its signature is: the key need not be known here.
func (s *Snapshot) forwards(q *dnswire.Query) *apex {
	a, _ := s.apex(q.Name)
	if q.Opcode() != dnswire.OpcodeUpdate || a == nil || !a.config.ForwardUpdates || q.Class != rdata.ClassIN {
		return nil
	}
	return a
}

// forwardUpdate sends an update to a primary and its answer back. Only what is
// signed is sent: a primary that goes by addresses would take it for ours.
func (n *Node) forwardUpdate(s *Snapshot, a *apex, r *dnsserver.Request) dnsserver.Verdict {
	client := update.Client{Address: r.Client.Addr()}
	if r.Query.TSIG == 0 {
		return n.refuseUpdate(r, client, &update.Refusal{Rcode: dnswire.RcodeRefused, EDE: dnswire.EDEProhibited, Why: "only signed updates are forwarded to the primary"})
	}
	if !enter(&n.updates.forwarding, maxForwards) {
		return n.tooMany(r, "too many updates are being forwarded; come again later")
	}
	d := r.Defer()
	if d == nil {
		n.updates.forwarding.Add(-1)
		return dnsserver.Answered
	}
	peers := s.peers(a.config.Primaries)
	go func() { // ends with forwardTimeout at the latest
		response, err := relay(d.Query().Msg, peers)
		n.updates.forwarding.Add(-1)
		n.answerForwarded(d, response, err)
	}()
	return dnsserver.Later
}

// relay asks one primary after the other until one answers. Once a request has
// reached one, no other is asked: it could be carried out twice.
func relay(request []byte, peers []xfr.Peer) (response []byte, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
	defer cancel()
	var errs []error
	for _, p := range peers {
		response, err := xfr.Forward(ctx, p, request)
		if err == nil {
			return response, nil
		}
		errs = append(errs, err)
		if !errors.Is(err, xfr.ErrUnsent) {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// answerForwarded answers an update with what a primary has said, or with why none
// has. The latter is not signed: the key is the primary's.
func (n *Node) answerForwarded(d *dnsserver.Deferred, response []byte, err error) {
	if err != nil {
		n.updates.forwardFailed.Add(1)
		n.log.Debug("update not forwarded", "zone", d.Query().Name.String(), "client", d.Client().String(), "error", err)
		n.problem(forwardFailed, d.Query().Name.String(), fmt.Sprintf("zone %s: no primary has answered an update; see that one takes updates over TCP from here", d.Query().Name))
		why := &update.Refusal{Rcode: dnswire.RcodeServFail, EDE: dnswire.EDENoReachableAuthority, Why: fmt.Sprintf("no primary of the zone has answered: %v", err)}
		n.answerUpdate(d, update.Client{Address: d.Client().Addr()}, why)
		return
	}
	n.updates.forwarded.Add(1)
	n.problem(forwardFailed, d.Query().Name.String(), "")
	if err := d.Send(response); err != nil {
		n.log.Debug("answer to a forwarded update not sent", "client", d.Client().String(), "error", err)
	}
}

// summary returns what became of the updates, nil if there were none.
func (u *updates) summary() *api.Updates {
	s := api.Updates{
		Changed: u.changed.Load(), Unchanged: u.unchanged.Load(), Prerequisite: u.unmet.Load(), Refused: u.refused.Load(),
		Malformed: u.malformed.Load(), Failed: u.failed.Load() + u.busy.Load() + u.forwardFailed.Load(), Forwarded: u.forwarded.Load(),
	}
	if s == (api.Updates{}) {
		return nil
	}
	return &s
}

// sampleUpdates gives the counters of updates to a scrape.
func (n *Node) sampleUpdates(emit func(telemetry.Sample)) {
	u := &n.updates
	for _, e := range []struct {
		outcome string
		value   uint64
	}{
		{"changed", u.changed.Load()}, {"unchanged", u.unchanged.Load()}, {"prerequisite", u.unmet.Load()},
		{"malformed", u.malformed.Load()}, {"refused", u.refused.Load()}, {"failed", u.failed.Load()}, {"busy", u.busy.Load()},
		{"repeated", u.repeated.Load()}, {"forwarded", u.forwarded.Load()}, {"forward_failed", u.forwardFailed.Load()},
	} {
		emit(counter("updates_total", "Dynamic updates, by what became of them.", e.value, "outcome", e.outcome))
	}
	emit(gauge("updates_in_work", "Dynamic updates that are not answered yet.", float64(u.inWork.Load()+u.forwarding.Load())))
}
