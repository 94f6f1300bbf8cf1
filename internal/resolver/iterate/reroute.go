package iterate

import (
	"cmp"
	"maps"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/resolver/rrcache"
)

// Reroute is an event: other routes count from now on, and other names without a chain
// of trust (Config.Routes and Private). What was learnt at and below names whose route has
// changed is forgotten, as others than now were believed; what is being looked up there
// begins anew, with the new servers, and whoever waits for it gets what comes of that.
type Reroute struct {
	Routes  []Route
	Private []dnsname.Name
}

func (Reroute) event() {}

// reroute takes ev in.
func (r *Resolver) reroute(ev Reroute) {
	next, private := newRoutes(ev.Routes), namesOf(ev.Private)
	changed := make(map[dnsname.Name]bool)
	for zone, was := range r.routes {
		if is := next[zone]; is != nil && is.same(was.Route) {
			next[zone] = was
		} else {
			changed[zone] = true
		}
	}
	for zone := range next {
		if r.routes[zone] == nil {
			changed[zone] = true
		}
	}
	for name := range r.anchors.private {
		changed[name] = changed[name] || !private[name]
	}
	for name := range private {
		changed[name] = changed[name] || !r.anchors.private[name]
	}
	r.setRoutes(next)
	r.anchors.private = private
	maps.DeleteFunc(changed, func(_ dnsname.Name, is bool) bool { return !is })
	if len(changed) == 0 {
		return
	}
	for _, name := range flushed(changed) {
		r.cache.Flush(rrcache.Selection{Name: name, Tree: true})
	}
	r.forgetProofs()
	r.beginAnew(changed)
}

func (r *Resolver) setRoutes(next routes) {
	r.routes = next
	r.routesNow.Store(&next)
}

// flushedMost is for how many names the cache is searched one by one: 16, as each search
// looks at all of it. For more it is emptied below the name that they have in common.
const flushedMost = 16

// flushed returns at and below which names the cache is flushed.
func flushed(changed map[dnsname.Name]bool) []dnsname.Name {
	all := slices.SortedFunc(maps.Keys(changed), dnsname.Name.Compare)
	if len(all) <= flushedMost {
		return all
	}
	common := all[0]
	for _, name := range all {
		common = common.CommonAncestor(name)
	}
	return []dnsname.Name{common}
}

// same reports whether r asks whom other asks.
func (r Route) same(other Route) bool {
	return r.Forward == other.Forward && r.First == other.First && slices.Equal(r.Servers, other.Servers) && slices.Equal(r.Encrypted, other.Encrypted)
}

func namesOf(list []dnsname.Name) map[dnsname.Name]bool {
	all := make(map[dnsname.Name]bool, len(list))
	for _, name := range list {
		all[name] = true
	}
	return all
}

// beginAnew has the lookups at and below names begin once more.
func (r *Resolver) beginAnew(names map[dnsname.Name]bool) {
	var all []*lookup
	for _, l := range r.lookups {
		for name := l.q.name; !name.IsZero(); name = name.Parent() {
			if names[name] {
				all = append(all, l)
				break
			}
		}
	}
	slices.SortFunc(all, func(a, b *lookup) int { // the order of a map is none
		return cmp.Or(a.q.name.Compare(b.q.name), cmp.Compare(a.q.t, b.q.t), a.q.near.Compare(b.q.near))
	})
	for _, l := range all { // what only they wait for ends here
		if l.exchange != nil {
			r.close(l.exchange)
		}
		r.leave(l)
		l.routeless = false
	}
	for _, l := range all {
		if !l.done {
			r.begin(l)
		}
	}
}
