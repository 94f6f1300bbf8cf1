package node

import (
	"net/netip"

	"pharos/internal/admin/telemetry"
	"pharos/internal/authority/answer"
	"pharos/internal/authority/live"
	"pharos/internal/authority/steered"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// This file joins zones with what signs their answers as they are asked for. The keys
// are those of the version that is served:
//
//	keys of the zone -> live.Signer -> Snapshot -> answer.Options.Live

// signerOf returns what signs answers from z, nil if nothing does.
func (s *Snapshot) signerOf(z *zone.Zone) *live.Signer {
	if s.lives == 0 {
		return nil
	}
	if a := s.apexes.Get(z.Origin()); a != nil {
		return a.live
	}
	return nil
}

// liveSigner returns what signs for a zone: what did so before, if the keys are the same.
func (from before) liveSigner(name dnsname.Name) *live.Signer {
	if from.keys == nil {
		return nil
	}
	keys := from.keys(name)
	if len(keys) == 0 {
		return nil
	}
	if from.prev != nil {
		if old := from.prev.apexes.Get(name); old != nil && old.live != nil && old.live.IsSame(keys) {
			return old.live
		}
	}
	return live.NewSigner(name, keys, from.signatures)
}

// livesBy returns 1 for a zone whose answers are signed.
func livesBy(signer *live.Signer) int {
	if signer == nil {
		return 0
	}
	return 1
}

// late is an answer from a zone that is to be made once more.
type late struct {
	s        *Snapshot
	zone     *zone.Zone
	options  answer.Options
	rotation uint32
	near     netip.Addr
}

// withoutSignature does what is left when an answer lacks a signature: a slow one is made
// by a goroutine of its own; where there were too many, the client comes again over TCP,
// which shows that its address is its own, or later.
func (n *Node) withoutSignature(l late, why live.Reason, r *dnsserver.Request) dnsserver.Verdict {
	switch {
	case why == live.Slow:
		d := r.Defer()
		if d == nil {
			return dnsserver.Answered
		}
		go n.signLate(l, d) // ends when it has signed; Defer bounds how many there are
		return dnsserver.Later
	case why == live.Busy && r.Transport == dnsserver.UDP && !r.HasCookie:
		r.Out.SetRcode(dnswire.RcodeNoError)
		r.Out.SetTC(true)
	default:
		refuseUnsigned(why, &r.Out)
	}
	return dnsserver.Answered
}

func refuseUnsigned(why live.Reason, out *dnswire.Builder) {
	out.SetAA(false)
	out.SetTC(false)
	out.SetRcode(dnswire.RcodeServFail)
	out.SetEDE(dnswire.EDEOther, why.String())
}

// signLate makes and sends an answer with slow keys.
func (n *Node) signLate(l late, d *dnsserver.Deferred) {
	l.options.Work.Now, l.options.Work.Late = clock.Now(), true
	n.reply(d, func(out *dnswire.Builder) {
		start := out.Mark()
		outcome := answer.With(l.options, d.Query(), l.zone, l.rotation, out)
		if outcome.Kind == answer.Steered {
			q := l.s.steeredQuestion(l.options, d.Query(), l.zone, l.near, clock.Now())
			q.Past = n.past.decided
			outcome, _ = steered.Add(q, outcome, out)
		}
		if outcome.Unsigned != live.Signed {
			out.Rollback(start)
			refuseUnsigned(outcome.Unsigned, out)
		}
	})
}

func (n *Node) sampleLive(emit func(telemetry.Sample)) {
	const name, help = "live_signatures_total", "Signatures that answers needed as they were asked for."
	hits, made, refused := n.signatures.Stats()
	emit(counter(name, help, hits, "from", "cache"))
	emit(counter(name, help, made, "from", "key"))
	emit(counter(name, help, refused, "from", "refused"))
}
