package scenario

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"pharos/internal/authority/transfer"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/dns64"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/localdata"
	rpz "pharos/internal/resolver/policy"
	"pharos/internal/resolver/rewrite"
)

// defaultClient asks where a step names nobody.
var defaultClient = netip.MustParseAddr("127.0.0.1")

// makeRules compiles what the settings say for a client; nil if they say nothing.
func (r *run) makeRules(client netip.Addr) (*rewrite.Rules, error) {
	p := &r.world.Policies
	rules := &rewrite.Rules{Revision: uint32(r.policyRevision), Cache: r.cache}
	if l := p.localFor(client); l != nil {
		var err error
		if rules.Local, err = localdata.Compile(l.Zones, l.Records); err != nil {
			return nil, err
		}
	}
	var zones []*rpz.Zone
	for _, z := range p.Zones {
		made, err := z.compile()
		if err != nil {
			return nil, err
		}
		zones = append(zones, made)
	}
	if len(zones) > 0 {
		rules.Policies = rpz.NewSet(zones...)
	}
	if p.DNS64 != nil {
		var err error
		if rules.DNS64, err = dns64.New(*p.DNS64); err != nil {
			return nil, err
		}
	}
	if rules.Local == nil && rules.Policies == nil && rules.DNS64 == nil {
		return nil, nil
	}
	return rules, nil
}

// askByRules answers a client's query as a node with policies does: on the spot if it
// can, else with what is resolved.
func (r *run) askByRules(rules *rewrite.Rules, q *question, client netip.Addr, isTCP bool) error {
	if r.ready != nil {
		if done, err := r.answerQuick(rules, q, client, isTCP); done {
			return err
		}
	}
	name := q.query.Name.Clone()
	ask := rewrite.Question{Name: name, Type: q.query.Type, Client: client, UDP: !isTCP, CD: q.query.CD(), DO: q.query.EDNS.DO, AD: q.query.AD()}
	var failed error
	rules.Answer(r.now, ask, func(name dnsname.Name, t rdata.Type, then func(iterate.Answer)) {
		if !q.query.RD() {
			a, ok := r.resolver.FromCache(r.now, name, t)
			if !ok {
				a = iterate.Answer{Rcode: dnswire.RcodeRefused}
			}
			then(a)
			return
		}
		r.token++
		r.asked[r.token] = &question{then: then}
		r.step(iterate.Ask{Token: r.token, Name: name, Type: t, Class: q.query.Class, CD: ask.CD, DO: ask.DO, AD: ask.AD})
	}, func(res rewrite.Result) { failed = r.tellResult(q, res, isTCP) })
	return failed
}

// answerQuick is the way without resolving.
func (r *run) answerQuick(rules *rewrite.Rules, q *question, client netip.Addr, isTCP bool) (done bool, err error) {
	var out dnswire.Builder
	out.Reset(&q.query, make([]byte, 0xFFFF+dnswire.BufferSlack), 0xFFFF)
	out.SetRA(true)
	verdict, hit := rules.Quick(&q.query, client, !isTCP, &out)
	switch verdict {
	case rewrite.Dropped:
		r.note("dropped by %v", hit.Rule())
		return true, nil
	case rewrite.Answered:
		return true, r.told(&out, "rules", isTCP)
	case rewrite.Slow:
		return false, nil
	}
	start := out.Len()
	if !r.ready.Answer(r.now, &q.query, &out, 0) {
		return false, nil
	}
	if passes, _ := rules.Passes(r.now, &q.query, &out, start, verdict == rewrite.Exempt); !passes {
		return false, nil
	}
	return true, r.told(&out, "ready", isTCP)
}

func (r *run) tellResult(q *question, res rewrite.Result, isTCP bool) error {
	if !res.Hit.IsZero() {
		r.note("  rule %v: %v %v", res.Hit.Rule(), res.Hit.Trigger, res.Hit.Action)
	}
	if res.Drop {
		return nil
	}
	var out dnswire.Builder
	out.Reset(&q.query, make([]byte, 0xFFFF+dnswire.BufferSlack), 0xFFFF)
	if out.SetRA(true); res.Truncate {
		out.SetTC(true)
		return r.told(&out, "rules", isTCP)
	}
	res.Write(&out)
	out.SetAA(res.AA)
	return r.told(&out, "rewritten", isTCP)
}

// transferPolicies lets policy zones with a primary be transferred from what the file
// says for it, as they would be when time passes: it asks for the SOA record, then for
// the differences or the whole.
func (r *run) transferPolicies() error {
	for _, z := range r.world.Policies.Zones {
		if !z.Primary.IsValid() || !r.hasNewer(z) {
			continue
		}
		records, err := r.transferZone(z)
		if err != nil {
			return fmt.Errorf("transfer of %v: %w", z.Name, err)
		}
		z.Records = records
		r.policyRevision++
		r.note("  %v: %d records transferred from %v", z.Name, len(records), z.Primary)
	}
	return nil
}

// hasNewer reports whether the primary of z has a newer version of it.
func (r *run) hasNewer(z *PolicyZone) bool {
	answer := r.entryAt(z.Primary, z.Name, rdata.TypeSOA)
	return answer != nil && len(answer.Message.Answer) > 0 && z.serial().Less(transfer.SerialOf(answer.Message.Answer[0]))
}

func (z *PolicyZone) serial() rdata.Serial {
	at := slices.IndexFunc(z.Records, func(x rdata.Record) bool { return x.Type == rdata.TypeSOA })
	return transfer.SerialOf(z.Records[at])
}

func (r *run) transferZone(z *PolicyZone) ([]rdata.Record, error) {
	have := z.serial()
	asked := rdata.TypeIXFR
	if have == 0 { // made up here: there is no version yet
		asked = rdata.TypeAXFR
	}
	answer := r.entryAt(z.Primary, z.Name, asked)
	if answer == nil {
		return nil, fmt.Errorf("the file has no answer to %v", asked)
	}
	var records []rdata.Record
	receiver := transfer.Receiver{Zone: z.Name, Asked: asked, Have: have, Record: func(x rdata.Record) { records = append(records, x) }}
	done, err := receiver.Take(answer.Message.Append(nil))
	if err != nil || !done {
		return nil, errors.Join(err, fmt.Errorf("done: %v", done))
	}
	if receiver.Form() == transfer.Incremental {
		records = changed(z.Records, receiver.Changes())
	}
	if !slices.ContainsFunc(records, func(x rdata.Record) bool { return x.Type == rdata.TypeNS && x.Name == z.Name }) {
		records = append(records, rdata.Record{Name: z.Name, Type: rdata.TypeNS, Class: rdata.ClassIN, TTL: defaultTTL, Data: rootServerName(0).AppendWire(nil)})
	}
	return records, nil
}

// changed applies differences. Unbound deletes records whatever their TTL.
func changed(records []rdata.Record, changes []transfer.Change) []rdata.Record {
	records = slices.Clone(records)
	for _, c := range changes {
		for _, gone := range c.Deleted {
			records = slices.DeleteFunc(records, func(x rdata.Record) bool { return canonical(x, false) == canonical(gone, false) })
		}
		records = slices.DeleteFunc(records, func(x rdata.Record) bool { return x.Type == rdata.TypeSOA })
		records = append(append(records, c.SOA), c.Added...)
	}
	return records
}

// entryAt returns the entry with which a server answers a question now.
func (r *run) entryAt(server netip.Addr, name dnsname.Name, t rdata.Type) *Entry {
	m := &dnswire.Message{HasQuestion: true, Question: dnswire.Question{Name: name, Type: t, Class: rdata.ClassIN}}
	return r.scriptFor(&exchange{send: iterate.Send{To: netip.AddrPortFrom(server, 53), TCP: true}, query: Packet{m, true}})
}
