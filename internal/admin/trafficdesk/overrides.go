package trafficdesk

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/clock"
	"pharos/internal/cluster/document"
	"pharos/internal/cluster/state"
	"pharos/internal/traffic/health"
	"pharos/internal/traffic/override"
	"pharos/internal/traffic/overrides"
	"pharos/internal/traffic/pool"
)

// This file takes what operators say of members: it finds the members that they mean, says
// what will come of it, and refuses what they would not want if they knew.

// Members returns what can be asked and said of members.
func (d *Desk) Members() api.MemberCalls {
	return api.MemberCalls{Pool: d.Pool, Overrides: d.Said, Override: d.Override}
}

// Pool returns one pool as it is now.
func (d *Desk) Pool(name string) (api.Pool, error) {
	p, err := d.pool(name)
	if err != nil {
		return api.Pool{}, err
	}
	return d.show(p), nil
}

// Said returns everything that operators say of members.
func (d *Desk) Said() []api.Override {
	all := []api.Override{}
	for _, o := range d.Overrides.All() {
		all = append(all, d.override(o.Pool, o.Member))
	}
	return all
}

func (d *Desk) pool(name string) (*pool.Pool, error) {
	if p := d.Registry().Pool(name); p != nil {
		return p, nil
	}
	var names []string
	for _, p := range d.Registry().Pools() {
		names = append(names, p.Name())
	}
	return nil, refuse(http.StatusNotFound, "there is no pool %q; %s", name, known(name, names))
}

// known says which word was meant, or which there are.
func known(word string, all []string) string {
	const most = 10
	switch near := document.Nearest(word, all); {
	case near != "":
		return fmt.Sprintf("did you mean %q?", near)
	case len(all) == 0:
		return "there are none"
	case len(all) > most:
		return fmt.Sprintf("there are: %s, and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return "there are: " + strings.Join(all, ", ")
}

func refuse(status int, format string, args ...any) error {
	return &api.Refused{Status: status, Err: fmt.Errorf(format, args...)}
}

// place is a member of a pool.
type place struct{ pool, member string }

func (p place) String() string { return p.pool + "/" + p.member }

// find returns the members that are meant.
func (d *Desk) find(r api.OverrideRequest) (found []place, err error) {
	p, err := d.pool(r.Pool)
	if err != nil {
		return nil, err
	}
	if len(r.Members) == 0 {
		return nil, refuse(http.StatusBadRequest, "name the members, or their addresses; pool %s has them in \"pharos pool show %s\"", r.Pool, r.Pool)
	}
	for _, word := range r.Members {
		at, address, err := d.findMember(p, word)
		if err != nil {
			return nil, err
		}
		found = append(found, at)
		if r.Everywhere {
			found = append(found, d.others(at, address)...)
		}
	}
	return found, nil
}

// findMember returns the member that is called so, or has that address; or of which
// something was said although it is not there now.
func (d *Desk) findMember(p *pool.Pool, word string) (at place, address string, err error) {
	v := p.View()
	var names []string
	for _, m := range v.Members {
		if m.Name == word || m.Address.String() == word || m.Address.Addr().String() == word {
			return place{v.Name, m.Name}, m.Address.String(), nil
		}
		names = append(names, m.Name)
	}
	if _, _, there := d.Overrides.Find(v.Name, word); there {
		return place{v.Name, word}, "", nil
	}
	return place{}, "", refuse(http.StatusNotFound, "pool %s has no member %q; %s", v.Name, word, known(word, names))
}

// others returns the members of other pools that are the same server.
func (d *Desk) others(at place, address string) (others []place) {
	for _, p := range d.Registry().Pools() {
		for _, m := range p.View().Members {
			if other := (place{p.Name(), m.Name}); m.Address.String() == address && other != at {
				others = append(others, other)
			}
		}
	}
	return others
}

// Override says something of members, at run time.
func (d *Desk) Override(ctx context.Context, r api.OverrideRequest) (out api.Overridden, err error) {
	found, err := d.find(r)
	if err != nil {
		return out, err
	}
	now := clock.Now().UTC()
	var said []state.Override
	for _, at := range found {
		o, err := d.say(r, at, now)
		if err != nil {
			return out, err
		}
		said = append(said, o)
	}
	if why := d.leavesNobody(r, found); why != "" && !r.Force {
		return out, refuse(http.StatusConflict, "%s; --force does it nevertheless", why)
	} else if why != "" {
		out.Warnings = append(out.Warnings, why)
	}
	local, err := d.Overrides.Say(ctx, said)
	if err != nil {
		return out, err
	}
	if local {
		out.Warnings = append(out.Warnings, "the store cannot take it now: this node goes by it, and keeps it until the store is back")
	}
	for i, at := range found {
		out.Changed = append(out.Changed, fmt.Sprintf("member %q of pool %q", at.member, at.pool))
		out.Members = append(out.Members, d.override(at.pool, at.member))
		if said[i].State != "" && !r.Everywhere {
			out.Warnings = append(out.Warnings, d.alsoElsewhere(at)...)
		}
	}
	out.Warnings = append(out.Warnings, d.stillHeld(r, found)...)
	out.Revision = d.Revision()
	return out, nil
}

// say returns what is said of one member.
func (d *Desk) say(r api.OverrideRequest, at place, now time.Time) (o state.Override, err error) {
	before, _, _ := d.Overrides.Find(at.pool, at.member)
	o = state.Override{Pool: at.pool, Member: at.member, Weight: before.Weight, Reason: r.Reason, Said: now}
	switch r.Do {
	case "drain":
		o.State = "drain"
	case "disable":
		o.State = "disabled"
	case "resume":
		if r.Force {
			o.State = "ready"
		}
	case "weight":
		o = before
		o.Pool, o.Member, o.Weight, o.Said = at.pool, at.member, r.Weight, now
	default:
		return o, refuse(http.StatusBadRequest, "do: %q is nothing that can be done with a member; want drain, disable, resume or weight", r.Do)
	}
	if r.Do == "drain" || r.Do == "disable" {
		if err := setTimes(&o, r, now); err != nil {
			return o, err
		}
	}
	if override.IsSaid(o) {
		err = state.CheckOverride(&o)
	}
	if err != nil {
		return o, refuse(http.StatusUnprocessableEntity, "%s: %w", at, err)
	}
	return o, nil
}

func setTimes(o *state.Override, r api.OverrideRequest, now time.Time) error {
	for _, t := range []struct {
		name, text string
		from       func() time.Time
		into       *time.Time
	}{
		{"at", r.From, func() time.Time { return now }, &o.From},
		{"until", r.Until, func() time.Time { return later(o.From, now) }, &o.Until},
		{"deadline", r.Deadline, func() time.Time { return later(o.From, now) }, &o.Deadline},
	} {
		if t.text == "" {
			continue
		}
		at, err := parseMoment(t.text, t.from())
		if err != nil {
			return refuse(http.StatusBadRequest, "%s: %w", t.name, err)
		}
		*t.into = at
	}
	if o.From.IsZero() && !o.Until.IsZero() && !o.Until.After(now) {
		return refuse(http.StatusBadRequest, "until: %s is over already", override.Moment(o.Until))
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// parseMoment reads a time, or a duration from then on.
func parseMoment(text string, then time.Time) (time.Time, error) {
	var d document.Duration
	if d.UnmarshalText([]byte(text)) == nil {
		return then.Add(d.Std()), nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if at, err := time.ParseInLocation(layout, text, time.UTC); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a duration, like 90s or 10m, nor a time, like 2026-07-01T22:00:00Z or \"2026-07-01 22:00\" (UTC)", text)
}

// leavesNobody says what will come of it when the members are the last that serve; empty:
// others do.
func (d *Desk) leavesNobody(r api.OverrideRequest, leaving []place) string {
	if r.Do != "drain" && r.Do != "disable" {
		return ""
	}
	var told []string
	for _, at := range leaving {
		p := d.Registry().Pool(at.pool)
		if p == nil || slices.ContainsFunc(told, func(t string) bool { return strings.HasPrefix(t, "pool "+at.pool+":") }) {
			continue
		}
		v := p.View()
		stays := func(i int) bool { return !slices.Contains(leaving, place{at.pool, v.Members[i].Name}) }
		before := pool.TierOf(v.Members, func(int) bool { return true })
		after := pool.TierOf(v.Members, stays)
		if after == pool.UpOnly || after == pool.UnknownOnly || after == before {
			continue
		}
		told = append(told, fmt.Sprintf("pool %s: nobody else is up. %s", at.pool, d.whatThen(at.pool, after)))
	}
	return strings.Join(told, "; ")
}

// whatThen says who is answered and carried to when a pool has nobody left who is up.
func (d *Desk) whatThen(name string, left pool.Tier) string {
	all := "with nobody (NODATA)"
	gateway := "the gateway would answer 503"
	if left == pool.Everybody {
		all, gateway = "with those that are down", "the gateway would go to those that are down"
	}
	var answers []string
	for _, s := range d.Resources().Steer {
		if s.Pool != name {
			continue
		}
		then := all
		switch s.WhenDown {
		case "fallback":
			then = "from the fallback"
		case "nodata":
			then = "with nobody (NODATA)"
		}
		answers = append(answers, fmt.Sprintf("%s would be answered %s", s.Key(), then))
	}
	const most = 5
	if more := len(answers) - most; more > 0 {
		answers = append(answers[:most], fmt.Sprintf("%d more names likewise", more))
	}
	return strings.Join(append(answers, gateway), ", ")
}

// alsoElsewhere says in which other pools the same server is.
func (d *Desk) alsoElsewhere(at place) []string {
	m, there := d.member(at)
	if !there {
		return nil
	}
	var others []string
	for _, o := range d.others(at, m.Address.String()) {
		if m, there := d.member(o); there && m.State != health.Draining {
			others = append(others, o.String())
		}
	}
	if len(others) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the same server (%s) is in use as %s; --everywhere means it there, too", m.Address, strings.Join(others, ", "))}
}

// stillHeld says why members that were resumed are not used.
func (d *Desk) stillHeld(r api.OverrideRequest, found []place) (warnings []string) {
	if r.Do != "resume" {
		return nil
	}
	for _, at := range found {
		m, there := d.member(at)
		if there && m.Override.Weight != 0 {
			warnings = append(warnings, fmt.Sprintf("%s keeps the weight %d in place of the configured %d; \"pharos pool weight %s %s configured\" takes it back",
				at, m.Override.Weight, m.Configured.Weight, at.pool, at.member))
		}
		switch {
		case !there || m.State != health.Draining:
		case m.Configured.Drain && !r.Force:
			warnings = append(warnings, fmt.Sprintf("%s is drained in the configuration: --force has it used nevertheless", at))
		default:
			warnings = append(warnings, fmt.Sprintf("%s is not used: %s", at, m.Cause))
		}
	}
	return warnings
}

// member returns a member as it is now.
func (d *Desk) member(at place) (pool.Member, bool) { return d.Registry().Member(at.pool, at.member) }

// override returns what is said of a member, and what has come of it.
func (d *Desk) override(name, member string) api.Override {
	o, waits, _ := d.Overrides.Find(name, member)
	_, there := d.member(place{name, member})
	p := d.Overrides.Progress(name, member)
	text := p.Text(clock.Now())
	if o.State != "" {
		text = strings.TrimSuffix(override.Cause(o)+"; "+text, "; ")
	}
	if o.Weight != 0 {
		text = fmt.Sprintf("weight %d by the operator; %s", o.Weight, text)
	}
	return api.Override{
		Pool: name, Member: member, State: o.State, Weight: o.Weight, From: o.From, Until: o.Until, Deadline: o.Deadline, Reason: o.Reason, Said: o.Said,
		Local: waits, Missing: !there, Stage: string(p.Stage), Connections: p.Connections, Answers: p.Answers, Text: text,
	}
}

// events returns what operators have changed of members, as changes of state.
func (d *Desk) events(about string, limit int) (events []api.HealthEvent) {
	for _, e := range d.Overrides.Events(limit, func(e overrides.Event) bool {
		return about == "" || slices.Contains([]string{e.Pool, e.Pool + "/" + e.Member, e.Address.String(), e.Address.Addr().String()}, about)
	}) {
		events = append(events, api.HealthEvent{
			At: e.At, Members: []string{e.Pool + "/" + e.Member}, Address: e.Address.String(), Check: "operator", From: e.From, To: e.To, Cause: e.Cause,
		})
	}
	return events
}

// merge returns two lists of events, each the newest first, as one.
func merge(a, b []api.HealthEvent, limit int) []api.HealthEvent {
	all := slices.SortedStableFunc(slices.Values(slices.Concat(a, b)), func(x, y api.HealthEvent) int { return y.At.Compare(x.At) })
	return all[:min(len(all), cmp.Or(limit, defaultHistory))]
}
