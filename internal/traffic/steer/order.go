package steer

import (
	"net/netip"
	"slices"

	"pharos/internal/dns/rdata"
	"pharos/internal/traffic/pool"
)

// cycleSlots bounds the turns of an order that is made for one class of clients; each share
// is then off by less than a thousandth.
const cycleSlots = 1 << 10

// merge makes of members with the same record one, the first of them, with the sum of their
// weights (RFC 2181 §5), and returns the weights of those kept.
func (d *decision) merge() []int {
	first := make(map[string]int, len(d.kept)) // by RDATA, weight left out: position in kept
	kept := make([]int32, 0, len(d.kept))
	weights := make([]int, 0, len(d.kept))
	var twins map[int32]string
	for _, i := range d.kept {
		m := &d.view.Members[i]
		id := string(d.Spec.identity(m, d.Type))
		at, seen := first[id]
		if !seen {
			at = len(kept)
			first[id] = at
			kept, weights = append(kept, i), append(weights, 0)
		} else {
			if twins == nil {
				twins = map[int32]string{}
			}
			twins[i] = d.view.Members[kept[at]].Name
		}
		weights[at] += d.weightOf(m)
	}
	if twins != nil {
		at := 0
		d.narrow("same", "", func(*pool.Member) string {
			i := d.kept[at]
			at++
			if name := twins[i]; name != "" {
				return "same record as " + name + ", which stands for both"
			}
			return ""
		})
	}
	d.kept = kept
	return weights
}

// weightOf returns the share of a member, in thousandths: its weight, unless the pool is one
// where all are equal, and what it has of that now.
func (d *decision) weightOf(m *pool.Member) int {
	weight := m.Weight
	if d.view.Policy == pool.RoundRobin {
		weight = 1
	}
	return max(weight*m.Share, 1)
}

// orderOf returns one cycle of turns over the members kept, as positions in kept.
func (d *decision) orderOf(weights []int) []int32 {
	positions := make([]int32, len(d.kept))
	for i := range positions {
		positions[i] = int32(i)
	}
	return pool.Cycle(positions, weights, cycleSlots)
}

// isSharedOrder reports whether the members kept are those that the pool's view has
// compiled an order for, which is then shared.
func (d *decision) isSharedOrder() *pool.Choice {
	var c *pool.Choice
	switch d.Type {
	case rdata.TypeA:
		c = &d.view.V4
	case rdata.TypeAAAA:
		c = &d.view.V6
	default:
		return nil
	}
	if !slices.Equal(c.Eligible, d.kept) || len(c.Order) == 0 {
		return nil
	}
	return c
}

// sticky is what puts the records of a Prepared in the order of a client's network.
type sticky struct {
	bits4, bits6 int
	members      []uint64 // hashes of the members' names, by record
	weights      []float64
}

// keyOf returns what the order of a client goes by.
func (s *sticky) keyOf(client netip.Addr) uint64 { return hashNetwork(client, s.bits4, s.bits6) }

// first appends to picks the n records that stand first for key, best first.
func (s *sticky) first(key uint64, n int, picks []uint16) []uint16 {
	var scores [MaxLimit]float64
	start := len(picks)
	for i, member := range s.members {
		own := score(key, member, s.weights[i])
		have := len(picks) - start
		at := have
		for at > 0 && scores[at-1] < own {
			at--
		}
		if at >= n {
			continue
		}
		if have < n {
			picks = append(picks, 0)
			have++
		}
		copy(scores[at+1:have], scores[at:have-1])
		copy(picks[start+at+1:], picks[start+at:len(picks)-1])
		scores[at], picks[start+at] = own, uint16(i)
	}
	return picks
}
