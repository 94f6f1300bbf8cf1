package custody

import (
	"slices"
	"time"

	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
)

func (k *Custody) anchors() []rdata.Record {
	var all []rdata.Record
	for _, p := range k.points {
		all = append(all, p.Anchors()...)
	}
	return all
}

// Anchors returns what counts now: anchors, and names that are not validated.
func (k *Custody) Anchors() ([]rdata.Record, []dnsname.Name) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.anchors(), k.negatives.Names()
}

// Points returns the trust points as they are now.
func (k *Custody) Points() []anchor.Point {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []anchor.Point
	for _, p := range k.points {
		c := *p
		c.Keys, c.Configured = slices.Clone(p.Keys), slices.Clone(p.Configured)
		all = append(all, c)
	}
	return all
}

// Negatives returns the negative anchors as they are now.
func (k *Custody) Negatives() []anchor.Negative {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.negatives.List)
}

// Add makes name a negative anchor for so long. It is on disk when Add returns.
func (k *Custody) Add(name dnsname.Name, lasts time.Duration, reason string, forced bool) error {
	return k.change(func(n *anchor.Negatives) error { return n.Add(clock.Now(), name, lasts, reason, forced) })
}

// Remove ends a negative anchor that was added.
func (k *Custody) Remove(name dnsname.Name) error {
	return k.change(func(n *anchor.Negatives) error { return n.Remove(name) })
}

// Configure replaces the negative anchors of the configuration.
func (k *Custody) Configure(names []dnsname.Name) {
	k.change(func(n *anchor.Negatives) error {
		for _, e := range n.List {
			if e.Until.IsZero() && !slices.Contains(names, e.Name) {
				k.config.Problem(Mended, e.Name.String(), "")
			}
		}
		n.Configure(clock.Now(), names)
		return nil
	})
}

// Begin replaces the configured anchors, or says why they are not known: then those count
// that do now. What is known of the keys of a zone goes on, if one of the anchors that it
// came from is still there.
func (k *Custody) Begin(anchors []rdata.Record, unread error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tellUnread(unread, true); unread != nil {
		return
	}
	var known []*anchor.Point
	if k.config.Update {
		known = k.points
	}
	before := k.points
	k.points = anchor.New(clock.Now(), anchors, known)
	for _, p := range before { // new ones get their chance first
		k.config.Problem(Failing, p.Zone.String(), "")
		k.config.Problem(Lost, p.Zone.String(), "")
	}
	k.settle()
	k.lookAgain()
}

// lookAgain has run look when it has to do what.
func (k *Custody) lookAgain() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *Custody) change(what func(*anchor.Negatives) error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := what(&k.negatives); err != nil {
		return err
	}
	k.settle()
	k.lookAgain()
	return nil
}
