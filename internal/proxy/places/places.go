// Package places counts who is there, so that no client takes all the places.
//
// It owns what one client is (a prefix of addresses) and how many places each has. What a place
// is, and what becomes of who has none, is for others.
//
// Entry points: Places.Take, Places.TakeClient, Prefix.Of.
//
// Concurrency: all methods may be called from any goroutine.
package places

import (
	"net/netip"
	"sync"
	"sync/atomic"
)

// Prefix is how many bits of an address are one client.
type Prefix struct{ V4, V6 int }

var (
	// Proven is for connections, whose address is proven by their handshake.
	Proven = Prefix{32, 64}
	// Written is for datagrams, whose address anybody may have written.
	Written = Prefix{24, 56}
)

// Of returns the client that an address is of.
func (p Prefix) Of(client netip.Addr) netip.Prefix {
	length := p.V6
	if client.Is4() {
		length = p.V4
	}
	network, _ := client.Prefix(length)
	return network
}

// Places are those of one listener or server. The zero value has nobody.
type Places struct {
	taken atomic.Int64

	mu      sync.Mutex             // guards clients
	clients map[netip.Prefix]int32 // only those that there are; as many as connections at most
}

// Take takes a place of at most so many; false: there is none.
func (p *Places) Take(most int) bool {
	if p.taken.Add(1) > int64(most) {
		p.taken.Add(-1)
		return false
	}
	return true
}

// Give gives back what Take has taken.
func (p *Places) Give() { p.taken.Add(-1) }

// TakeClient takes one of the places of a client, of at most so many; 0: any number.
func (p *Places) TakeClient(client netip.Addr, by Prefix, most int) bool {
	network := by.Of(client)
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.clients[network]
	if most > 0 && int(n) >= most {
		return false
	}
	if p.clients == nil {
		p.clients = map[netip.Prefix]int32{}
	}
	p.clients[network] = n + 1
	return true
}

// GiveClient gives back what TakeClient has taken.
func (p *Places) GiveClient(client netip.Addr, by Prefix) {
	network := by.Of(client)
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.clients[network]; n > 1 {
		p.clients[network] = n - 1
	} else {
		delete(p.clients, network)
	}
}
