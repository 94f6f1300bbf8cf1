package outbound

import (
	"crypto/tls"
	"slices"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/resolver/iterate"
)

// This file is who the encrypted servers of routes are, while these change.

// peer is a Peer with its TLS sessions.
type peer struct {
	Peer
	left time.Time // no route leads there any more since then; zero: one does
}

// peerStays is how long a peer is known that no route leads to any more, as a question
// may still be on its way: longer than any question takes, and than its connections
// are kept for.
const peerStays = time.Minute

// setPeers makes these the peers that routes lead to, and returns the number of each.
// Those that there were keep theirs, and their connections.
func (l *links) setPeers(now time.Time, list []Peer) []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	byID := make(map[string]int, len(l.peers))
	for number, p := range l.peers {
		if p.left.IsZero() {
			p.left = now
		}
		if p.ID != "" {
			byID[p.ID] = number
		}
	}
	numbers := make([]int, 0, len(list))
	for _, p := range list {
		number, ok := byID[p.ID]
		if !ok {
			l.last++
			number = l.last
			p.TLS = p.TLS.Clone()
			p.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
			l.peers[number] = &peer{Peer: p}
			if p.ID != "" {
				byID[p.ID] = number
			}
		}
		l.peers[number].left = time.Time{}
		numbers = append(numbers, number)
	}
	for number, p := range l.peers {
		if !p.left.IsZero() && now.Sub(p.left) > peerStays {
			l.forgetLocked(number)
		}
	}
	return numbers
}

// forgetLocked ends what is left of a peer.
func (l *links) forgetLocked(number int) {
	delete(l.peers, number)
	for to, h := range l.https {
		if to.peer == number {
			h.close()
			delete(l.https, to)
		}
	}
	for to, q := range l.quics {
		if to.peer == number {
			q.close()
			delete(l.quics, to)
		}
	}
}

// stranger is a peer that nobody can prove to be: of a number that is not known any more.
var stranger = Peer{TLS: &tls.Config{ServerName: "invalid.", MinVersion: tls.VersionTLS13}}

// peer returns how to know the server that to leads to.
func (l *links) peer(to linkTo) Peer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peerLocked(to)
}

func (l *links) peerLocked(to linkTo) Peer {
	if p := l.peers[to.peer]; p != nil {
		return p.Peer
	}
	return stranger
}

// numbered returns routes with the numbers of peers in place of their places in a list.
func numbered(routes []iterate.Route, numbers []int) []iterate.Route {
	out := slices.Clone(routes)
	for i := range out {
		out[i].Encrypted = slices.Clone(out[i].Encrypted)
		for j := range out[i].Encrypted {
			e := &out[i].Encrypted[j]
			e.Peer = numbers[e.Peer]
		}
	}
	return out
}

// Reroute has other routes, peers of theirs and names without a chain of trust count: see
// iterate.Reroute. They count when it returns; connections to peers that stay are kept.
func (d *Driver) Reroute(routes []iterate.Route, peers []Peer, private []dnsname.Name) {
	numbers := d.links.setPeers(clock.Now(), peers)
	d.trusted.setRoutes(routes, peers, private)
	d.inLoop(func() { d.stepAll(iterate.Reroute{Routes: numbered(routes, numbers), Private: private}) })
}
