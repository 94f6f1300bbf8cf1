package steer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pharos/internal/traffic/health"
	"pharos/internal/traffic/pool"
)

// maxSupposed bounds how many members and places are supposed to be otherwise: an
// operator reads no more.
const maxSupposed = 12

// WhatIf returns, a line each, what would change the answer that in leads to at a turn: a
// member that comes or goes, a client somewhere else, and calm. Each line is a decision made
// by the code that decides, with one thing supposed to be otherwise.
func WhatIf(in Input, turn uint64) (lines []string) {
	now := answerOf(in, turn)
	asked := 0
	for i := range in.View.Members {
		m := &in.View.Members[i]
		from, to := "down", "up"
		state := health.Up
		if slices.Contains(now, m.Name) && m.State != health.Down {
			from, to, state = m.State.String(), "down", health.Down
		}
		if m.State == state || state == health.Up && m.State == health.Poor || m.State == health.Draining {
			continue
		}
		if m.State == health.Unknown {
			from = "unknown"
		}
		if asked++; asked > maxSupposed {
			break
		}
		other := in
		other.View = in.View.Supposing(m.Target, state)
		if then := answerOf(other, turn); !slices.Equal(then, now) {
			lines = append(lines, fmt.Sprintf("%s %s instead of %s: %s", m.Name, to, from, say(then)))
		}
	}
	lines = append(lines, in.released(turn, now)...)
	lines = append(lines, in.elsewhere(turn, now)...)
	return append(lines, in.without(turn, now)...)
}

// released supposes that nobody drained a member.
func (in Input) released(turn uint64, now []string) (lines []string) {
	for i := range in.View.Members {
		m := &in.View.Members[i]
		if m.State != health.Draining || len(lines) == maxSupposed {
			continue
		}
		other := in
		other.View = in.View.SupposingReleased(i)
		if then := answerOf(other, turn); !slices.Equal(then, now) {
			lines = append(lines, fmt.Sprintf("%s up and not drained: %s", m.Name, say(then)))
		}
	}
	return lines
}

// without supposes the chain to lack a filter.
func (in Input) without(turn uint64, now []string) (lines []string) {
	for i := range in.Spec.Filters {
		if k := in.Spec.Filters[i].Kind; k == Weighted || k == Limit {
			continue // they leave nobody out, but by number
		}
		spec := *in.Spec
		spec.Filters = slices.Delete(slices.Clone(in.Spec.Filters), i, i+1)
		other := in
		other.Spec = &spec
		if then := answerOf(other, turn); !slices.Equal(then, now) {
			lines = append(lines, fmt.Sprintf("without the filter %s: %s", in.Spec.Filters[i].String(), say(then)))
		}
	}
	return lines
}

// elsewhere supposes the client to be where members are.
func (in Input) elsewhere(turn uint64, now []string) (lines []string) {
	if sees := sightOf(in.Spec.Filters); !sees.places {
		return nil
	}
	said := map[pool.Place]bool{}
	for i := range in.View.Members {
		p := in.View.Members[i].Place
		if said[p] || isUnplaced(&p) || len(said) == maxSupposed {
			continue
		}
		said[p] = true
		other := in
		other.Client.Place, other.Trips = Locate(p, "supposition"), nil
		if then := answerOf(other, turn); !slices.Equal(then, now) {
			lines = append(lines, fmt.Sprintf("a client at %s: %s", describe(&p), say(then)))
		}
	}
	return lines
}

// answerOf returns the members of an answer, or its set addresses.
func answerOf(in Input, turn uint64) (names []string) {
	p := Decide(in, nil)
	for _, i := range p.Pick(turn, in.Client.Addr, nil) {
		if member := p.Members[i]; member >= 0 {
			names = append(names, p.View.Members[member].Name)
		} else if addr, ok := netip.AddrFromSlice(p.RDATA(int(i))); ok {
			names = append(names, addr.String())
		}
	}
	return names
}

func say(names []string) string {
	if len(names) == 0 {
		return "nobody (NODATA)"
	}
	return strings.Join(names, ", ")
}
