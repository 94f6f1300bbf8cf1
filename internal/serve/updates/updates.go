// Package updates takes dynamic updates (RFC 2136) off the loop that has read them, and
// answers them when they are durable:
//
//	UPDATE -> rules of the zone: may this client change anything? -> seen before? -> room
//	       -> off the loop: update.Parse -> Config.Change: update.Decide, on disk -> answer
//	       -> or, of a secondary zone: as it is to a primary, and its answer back
//
// It bounds how many are in work, knows those that are sent again, and counts what
// became of them. What an update may and would do is decided by package update; what
// changes zones, and what asks primaries, is the caller's.
//
// Entry points: New; Updates.Update, Updates.Forward, Updates.Counts.
//
// Concurrency: Update and Forward may be called from any loop and do not wait; each
// update in work has a goroutine, which ends within updateTimeout.
//
// Sources: RFC 2136, RFC 8945 §10 (repeated requests).
package updates

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pharos/internal/authority/update"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/tsig"
	"pharos/internal/serve/dnsserver"
)

// Limits of the updates in work.
const (
	// MaxInWork is how many are in work at a time: enough to fill the batches of a
	// disk, at most 32 MB of messages. Beyond it SERVFAIL, and clients come again.
	MaxInWork = 512
	// MaxForwards is how many wait for a primary: each holds a connection.
	MaxForwards = 64
	// updateTimeout is how long one may take; longer than any disk that still works.
	updateTimeout = 20 * time.Second
	// forwardTimeout is how long a primary may take. Clients such as nsupdate give
	// up after some 20 s.
	forwardTimeout = 10 * time.Second
)

// Config is what Updates are made from.
type Config struct {
	// Change makes one change of a zone, by the name of who wants it, and returns when it
	// is durable. decide is asked with the newest version; its error comes back.
	Change func(ctx context.Context, z *Zone, by string, decide func(now *zone.Zone) (update.Change, error)) (changed bool, err error)
	// Reply sends an answer that is late, as write makes it.
	Reply func(d *dnsserver.Deferred, write func(out *dnswire.Builder))
	// Unreachable is told that no primary of a zone has answered; nothing if one has.
	Unreachable func(zone dnsname.Name, text string)
	Log         *slog.Logger
}

// Zone is a zone that updates are for.
type Zone struct {
	Name  dnsname.Name
	View  string // that it is in; empty: none
	Kind  string // only those of kind "store" are changed
	Rules update.Rules
	// IsSigned reports whether the signatures of the zone are made here, so that none
	// come with updates of the version now.
	IsSigned func(now *zone.Zone) bool
}

// Counts is what became of updates since the start.
type Counts struct {
	Changed, Unchanged, Unmet, Malformed, Refused, Failed, Busy, Repeated, Forwarded, ForwardFailed uint64

	InWork int64 // not answered yet
}

// Updates are the updates in work.
type Updates struct {
	config Config

	changed, unchanged, unmet, malformed, refused, failed, busy, repeated, forwarded, forwardFailed atomic.Uint64

	inWork, forwarding atomic.Int64
	toldRefused        atomic.Int64 // when a refusal was last logged, in seconds since 1970

	mu   sync.Mutex
	seen *update.Seen // guarded by mu; nil before the first signed update
}

// New returns Updates without any.
func New(c Config) *Updates { return &Updates{config: c} }

// Counts returns what became of updates.
func (u *Updates) Counts() Counts {
	return Counts{
		Changed: u.changed.Load(), Unchanged: u.unchanged.Load(), Unmet: u.unmet.Load(), Malformed: u.malformed.Load(), Refused: u.refused.Load(),
		Failed: u.failed.Load(), Busy: u.busy.Load(), Repeated: u.repeated.Load(), Forwarded: u.forwarded.Load(), ForwardFailed: u.forwardFailed.Load(),
		InWork: u.inWork.Load() + u.forwarding.Load(),
	}
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
func (u *Updates) begin(m update.Mark, now time.Time) (update.State, dnswire.Rcode) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen == nil {
		u.seen = update.NewSeen(update.MaxSeen)
	}
	return u.seen.Begin(m, now)
}

func (u *Updates) end(m update.Mark, rcode dnswire.Rcode) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen.End(m, rcode)
}

// Update answers an update of a zone; nil: there is no such zone. session is that of its
// signature, which has been verified; nil if it is not signed.
func (u *Updates) Update(z *Zone, r *dnsserver.Request, session *tsig.Session) dnsserver.Verdict {
	client := update.Client{Address: r.Client.Addr()}
	if session != nil {
		client.Key = session.Key()
	}
	why := admit(z, r, client)
	if why == nil && session != nil && session.Fudge() > tsig.Fudge {
		why = &update.Refusal{Rcode: dnswire.RcodeRefused, EDE: dnswire.EDEProhibited, Why: "the signature holds for longer than updates are remembered; use a fudge of at most 300 s"}
	}
	if why != nil {
		return u.refuse(r, client, why)
	}
	if !enter(&u.inWork, MaxInWork) {
		return u.tooMany(r, "too many updates are in work; come again later")
	}
	finish := func(dnswire.Rcode) { u.inWork.Add(-1) }
	if session != nil {
		mark := update.MarkOf(client.Key, session.MAC())
		switch state, rcode := u.begin(mark, r.Now); state {
		case update.InWork: // the answer to the first will come
			finish(0)
			u.repeated.Add(1)
			return dnsserver.Drop
		case update.Done:
			finish(0)
			u.repeated.Add(1)
			r.Out.SetRcode(rcode)
			return dnsserver.Answered
		}
		finish = func(rcode dnswire.Rcode) {
			u.end(mark, rcode)
			u.inWork.Add(-1)
		}
	}
	d := r.Defer()
	if d == nil {
		finish(dnswire.RcodeServFail)
		return dnsserver.Answered
	}
	go func() { // ends with updateTimeout at the latest
		why := u.carryOut(d, z, client)
		rcode := dnswire.RcodeNoError
		if why != nil {
			rcode = why.Rcode
		}
		finish(rcode) // first: who has the answer may come with the next
		u.answer(d, client, why)
	}()
	return dnsserver.Later
}

// admit says why a client may not change a zone; nil if it may. The update itself is
// not looked at yet.
func admit(z *Zone, r *dnsserver.Request, client update.Client) *update.Refusal {
	q := &r.Query
	refuse := func(rcode dnswire.Rcode, ede dnswire.EDE, why string) *update.Refusal {
		return &update.Refusal{Rcode: rcode, EDE: ede, Why: why}
	}
	switch {
	case q.Type != rdata.TypeSOA:
		return refuse(dnswire.RcodeFormErr, dnswire.EDEInvalidData, "the zone section must have one record of type SOA")
	case z == nil || q.Class != rdata.ClassIN:
		return refuse(dnswire.RcodeNotAuth, dnswire.EDENotAuthoritative, "not a zone of this server")
	case z.Kind == "secondary":
		return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "this server is a secondary of the zone and forwards no updates; send it to the primary")
	case z.Kind != "store":
		return refuse(dnswire.RcodeRefused, dnswire.EDENotSupported, "the zone cannot be changed by updates: it is not of kind store")
	case !z.Rules.Knows(client):
		return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "updates of this zone are not allowed to this client and key")
	case client.Key.IsZero() && r.Transport == dnsserver.UDP && !r.HasCookie && !client.Address.IsLoopback():
		return refuse(dnswire.RcodeRefused, dnswire.EDEProhibited, "an update over UDP without a key or a cookie could be forged; use TCP or a key")
	}
	return nil
}

// refuse answers an update that is not carried out.
func (u *Updates) refuse(r *dnsserver.Request, client update.Client, why *update.Refusal) dnsserver.Verdict {
	u.count(r.Query.Name, client, why)
	r.Out.SetRcode(why.Rcode)
	r.Out.SetEDE(why.EDE, why.Why)
	return dnsserver.Answered
}

// tooMany answers an update that is over a limit.
func (u *Updates) tooMany(r *dnsserver.Request, why string) dnsserver.Verdict {
	u.busy.Add(1)
	r.Out.SetRcode(dnswire.RcodeServFail)
	r.Out.SetEDE(dnswire.EDEOther, why)
	return dnsserver.Answered
}

// count counts and logs why an update was not carried out. Only one of those that may
// not be is logged each second: whoever can send one can send a million.
func (u *Updates) count(name dnsname.Name, client update.Client, why *update.Refusal) {
	switch why.Rcode {
	case dnswire.RcodeRefused, dnswire.RcodeNotAuth:
		u.refused.Add(1)
		now := clock.Now().Unix()
		if last := u.toldRefused.Load(); last == now || !u.toldRefused.CompareAndSwap(last, now) {
			return
		}
		u.config.Log.Info("update refused", "zone", name.String(), "client", client.Address.String(), "key", client.Key.String(), "why", why.Why)
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
func (u *Updates) carryOut(d *dnsserver.Deferred, z *Zone, client update.Client) *update.Refusal {
	request, why := update.Parse(d.Query().Msg)
	if why != nil {
		return why
	}
	allow := func(name dnsname.Name, t rdata.Type) bool { return z.Rules.Allow(client, name, t) }
	ctx, cancel := context.WithTimeout(context.Background(), updateTimeout)
	defer cancel()
	changed, err := u.config.Change(ctx, z, "update from "+client.String(), func(now *zone.Zone) (update.Change, error) {
		change, why := request.Decide(now, update.Terms{Allow: allow, Signed: z.IsSigned(now)})
		if why != nil {
			return update.Change{}, why
		}
		return change, nil
	})
	switch {
	case errors.As(err, &why):
		return why
	case err != nil:
		u.config.Log.Warn("update not carried out", "zone", z.Name.String(), "client", d.Client().String(), "error", err)
		return &update.Refusal{Rcode: dnswire.RcodeServFail, EDE: dnswire.EDEOther, Why: err.Error()}
	case changed:
		u.changed.Add(1)
	default:
		u.unchanged.Add(1)
	}
	return nil
}

// answer answers a deferred update: with NOERROR if why is nil.
func (u *Updates) answer(d *dnsserver.Deferred, client update.Client, why *update.Refusal) {
	if why != nil {
		u.count(d.Query().Name, client, why)
	}
	u.config.Reply(d, func(out *dnswire.Builder) {
		if why != nil {
			out.SetRcode(why.Rcode)
			out.SetEDE(why.EDE, why.Why)
		}
	})
}

// Forward sends an update of a secondary zone to a primary and its answer back
// (RFC 2136 §6). relay asks the primaries. Only what is signed is sent, with a key that
// need not be known here: a primary that goes by addresses would take it for ours.
func (u *Updates) Forward(r *dnsserver.Request, relay func(ctx context.Context, request []byte) (response []byte, err error)) dnsserver.Verdict {
	client := update.Client{Address: r.Client.Addr()}
	if r.Query.TSIG == 0 {
		return u.refuse(r, client, &update.Refusal{Rcode: dnswire.RcodeRefused, EDE: dnswire.EDEProhibited, Why: "only signed updates are forwarded to the primary"})
	}
	if !enter(&u.forwarding, MaxForwards) {
		return u.tooMany(r, "too many updates are being forwarded; come again later")
	}
	d := r.Defer()
	if d == nil {
		u.forwarding.Add(-1)
		return dnsserver.Answered
	}
	go func() { // ends with forwardTimeout at the latest
		ctx, cancel := context.WithTimeout(context.Background(), forwardTimeout)
		defer cancel()
		response, err := relay(ctx, d.Query().Msg)
		u.forwarding.Add(-1)
		u.forwardedTo(d, response, err)
	}()
	return dnsserver.Later
}

// forwardedTo answers an update with what a primary has said, or with why none has. The
// latter is not signed: the key is the primary's.
func (u *Updates) forwardedTo(d *dnsserver.Deferred, response []byte, err error) {
	name := d.Query().Name.Clone()
	if err != nil {
		u.forwardFailed.Add(1)
		u.config.Log.Debug("update not forwarded", "zone", name.String(), "client", d.Client().String(), "error", err)
		u.config.Unreachable(name, fmt.Sprintf("zone %s: no primary has answered an update; see that one takes updates over TCP from here", name))
		why := &update.Refusal{Rcode: dnswire.RcodeServFail, EDE: dnswire.EDENoReachableAuthority, Why: fmt.Sprintf("no primary of the zone has answered: %v", err)}
		u.answer(d, update.Client{Address: d.Client().Addr()}, why)
		return
	}
	u.forwarded.Add(1)
	u.config.Unreachable(name, "")
	if err := d.Send(response); err != nil {
		u.config.Log.Debug("answer to a forwarded update not sent", "client", d.Client().String(), "error", err)
	}
}
