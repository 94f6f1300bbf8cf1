package iterate

import "fmt"

// check panics if an invariant does not hold. Tests call it after every step.
func (r *Resolver) check() {
	for token, c := range r.clients.All() {
		r.checkClient(token, c)
	}
	for number, c := range r.timers.All() {
		must(c.timer == number && !c.done, "a timer has no client that waits for it")
	}
	for q, l := range r.lookups {
		r.checkLookup(q, l)
	}
	for number, x := range r.exchanges.All() {
		must(x.number == number && x.lookup.exchange == x, "an exchange is not its lookup's")
		must(!x.lookup.done && r.lookups[x.lookup.q] == x.lookup, "an exchange is open for a lookup that is over")
	}
	under := 0
	for _, n := range r.crowds.zones {
		under += n
	}
	must(under == r.exchanges.Len(), "the queries under way are miscounted")
	r.hosts.known.check()
	r.chains.known.check()
	r.denials.zones.check()
	r.subnets.known.check()
	r.failing.known.check()
	r.reports.agents.check()
	r.reports.sent.check()
	background := 0
	for _, c := range r.clients.All() {
		if c.answered {
			background++
		}
	}
	must(background == r.background, "clients in the background are miscounted")
	must(len(r.wakes) == 0, "a step left work undone")
}

func (r *Resolver) checkClient(token uint64, c *client) {
	must(c.ask.Token == token && !c.done, "a client that is done is still there")
	must((c.waits != nil) != (c.checks != nil && len(c.fetch) > 0), "a client waits for nothing, or twice")
	must(c.waits == nil || r.lookups[c.waits.q] == c.waits, "a client waits for what is over")
	for _, l := range c.fetch {
		must(r.lookups[l.q] == l, "a client's validation waits for what is over")
	}
	b := &c.budget
	must(b.retries <= r.limits.Retries && b.proofs.Signatures >= 0 && b.proofs.Hashes >= 0, "validation cost too much")
	must(c.timer != 0 && r.timers.Get(c.timer) == c, "a client has no timer")
	must(b.sent <= r.limits.Sends, "a client paid for too many queries")
	must(b.targets <= r.limits.Targets, "a client paid for too many server addresses")
	must(b.aliases <= r.limits.Aliases, "a client followed too many aliases")
	must(!r.now.After(c.started.Add(r.limits.Time)), "a client waits for too long")
}

func (r *Resolver) checkLookup(q question, l *lookup) {
	must(l.q == q && !l.done, "a lookup that is over is still there")
	must(len(l.waiters) > 0, "nobody waits for a lookup")
	must(l.exchange != nil || len(l.subs) > 0, fmt.Sprintf("the lookup %v %v waits for nothing", q.name, q.t))
	must(l.exchange == nil || r.exchanges.Get(l.exchange.number) == l.exchange, "a lookup's exchange is not open")
	must(l.cut == nil || q.name.IsSubdomainOf(l.cut.Zone), "a lookup asks a zone that its name is not in")
	must(l.depth <= r.limits.Depth, "a lookup is nested too deep")
	must(l.targets <= r.limits.TargetsPerZone, "a delegation cost too many address lookups")
	for _, w := range l.waiters {
		switch {
		case w.client != nil:
			must(w.client.waits == l || w.client.fetches(l), "a lookup has a waiter that waits for another")
		default:
			must(!w.lookup.done && w.lookup.waitsFor(l), "a lookup has a waiter that does not wait for it")
		}
	}
	for _, s := range l.subs {
		must(r.lookups[s.lookup.q] == s.lookup, "a lookup waits for one that is over")
		must(!r.wouldCycle(l, s.lookup), "a lookup waits for itself")
	}
}

func must(ok bool, what string) {
	if !ok {
		panic("BUG: " + what)
	}
}
