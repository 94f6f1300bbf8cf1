package l4proxy

import (
	"net/netip"
	"time"

	"pharos/internal/traffic/affinity"
	"pharos/internal/traffic/balance"
	"pharos/internal/traffic/consistent"
	"pharos/internal/traffic/pool"
)

// choice is how a member is chosen for a client.
type choice struct {
	view     *pool.View
	load     *pool.Load
	ask      balance.Ask
	affinity *affinity.Affinity // nil: there is none
	known    uint64             // the key by which it knows the client
	named    int                // the member that the client comes back for; -1: none
	keyed    string             // what is hashed, for explain
	tried    [maxTries]int
	tries    int
}

// maxTries is how many members one client is carried to at most, whatever the configuration.
const maxTries = 16

// choose makes ready to choose members for a client.
func (p *Proxy) choose(t *Target, client netip.Addr, name string, lane uint32) choice {
	h := choice{view: t.Pool.View(), load: t.Pool.Load(), ask: balance.Ask{Lane: lane, Now: p.cfg.Clock()}, named: -1}
	if h.view.Policy == pool.Hash {
		h.ask.Key, h.keyed = keyOf(&h.view.Spec().Hash.Key, client, name)
	}
	if a := t.memory.of(h.view); a != nil {
		var ok bool
		if h.known, ok = a.Spec().Key.OfClient(client); ok {
			h.affinity, h.named = a, a.ByKey(h.known, h.ask.Now)
		}
	}
	return h
}

// keyOf returns what the policy hash goes by: what of the key a connection has, or the
// client's address.
func keyOf(k *pool.Key, client netip.Addr, name string) (key uint64, of string) {
	if k.Of == pool.ServerName && name != "" {
		return consistent.ID(name), "serverName " + name
	}
	if key, ok := k.OfClient(client); ok {
		return key, k.String() + " of " + client.String()
	}
	return consistent.SumAddress(client), "clientAddress " + client.String()
}

// next returns the member to connect to: the one that the client comes back for, then as the
// policy says; nil: nobody is left.
func (h *choice) next() *pool.Member {
	m := h.named
	if h.tries > 0 || !h.affinity.IsUsable(h.view, m, h.ask.Now) {
		m = balance.PickExcept(h.view, h.load, h.ask, h.tried[:h.tries])
	}
	if m < 0 || h.tries == maxTries {
		return nil
	}
	h.tried[h.tries] = m
	h.tries++
	return &h.view.Members[m]
}

// settled notes that the last member of next has taken the client.
func (h *choice) settled() {
	if m := h.tried[h.tries-1]; h.affinity != nil && m != h.named {
		h.affinity.Learn(h.known, m, h.ask.Now)
	}
}

// Way is how a client would be carried now: for explain.
type Way struct {
	Stream   *Stream
	Name     string // that it asks for
	Allowed  bool
	Target   *Target // nil: no route, and no pool for the others
	Ask      balance.Ask
	Keyed    string
	Affinity *affinity.Affinity
	Named    int // the member that it comes back for; -1: none
	Usable   bool
}

// Way returns how a client would be carried by a stream; ok is false if there is no such stream.
func (p *Proxy) Way(stream string, client netip.Addr, name string) (w Way, ok bool) {
	p.mu.Lock()
	r := p.streams[stream]
	p.mu.Unlock()
	if r == nil {
		return w, false
	}
	w = Way{Stream: r.stream.Load(), Name: name, Named: -1}
	w.Allowed = w.Stream.Allows == nil || w.Stream.Allows(client)
	i := w.Stream.Routes.Find(client, []byte(name))
	if i < 0 {
		return w, true
	}
	w.Target = &w.Stream.Pools[i]
	h := p.choose(w.Target, client, name, p.lanes.Load()+1)
	w.Ask, w.Keyed, w.Affinity, w.Named = h.ask, h.keyed, h.affinity, h.named
	w.Usable = h.affinity.IsUsable(h.view, h.named, time.Duration(h.ask.Now))
	return w, true
}
