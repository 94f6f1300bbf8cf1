package simnet

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"time"
)

// Fate is what became of a packet.
type Fate uint8

// The fates.
const (
	Sent      Fate = iota // handed to the network
	Delivered             // given to a socket or server
	CutOff                // dropped by a partition
	Lost                  // dropped by chance
	TooBig                // dropped because of the path's MTU
	Refused               // nothing listens there
	Doubled               // a second copy is under way
	HeldBack              // delayed so that others pass it
)

var fates = [...]string{"sent", "delivered", "cut off", "lost", "too big", "refused", "doubled", "held back"}

// String returns the fate in words.
func (f Fate) String() string { return fates[f] }

// Entry is one line of the log: what happened to one packet, and when.
type Entry struct {
	At       time.Duration // since the network's start
	Fate     Fate
	TCP      bool
	From, To netip.AddrPort
	Size     int    // octets of payload
	Digest   uint64 // of the payload, to tell packets apart
}

// String returns the entry as one line.
func (e Entry) String() string {
	transport := "udp"
	if e.TCP {
		transport = "tcp"
	}
	return fmt.Sprintf("%12s %-9s %s %s > %s %d octets #%08x", e.At, e.Fate, transport, e.From, e.To, e.Size, uint32(e.Digest))
}

// Log returns what happened so far, in order. The slice is the network's own.
func (n *Network) Log() []Entry { return n.log }

func (n *Network) note(f Fate, tcp bool, d Datagram) {
	digest := fnv.New64a()
	digest.Write(d.Payload)
	n.log = append(n.log, Entry{
		At: n.now.Sub(n.cfg.Start), Fate: f, TCP: tcp, From: d.From, To: d.To,
		Size: len(d.Payload), Digest: digest.Sum64(),
	})
}
