package node

import (
	"fmt"
	"iter"
	"net/netip"
	"path/filepath"
	"slices"

	"pharos/internal/admin/config"
	"pharos/internal/admin/versions"
	"pharos/internal/authority/aliases"
	"pharos/internal/authority/journal"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/outbound"
	"pharos/internal/resolver/rrcache"
	"pharos/internal/serve/admission"
	"pharos/internal/serve/dnsserver"
)

// This file is split horizon. A view is a Snapshot of its own, within that of the
// node: it has its own zones, rules and resolver, and shares the rest. So what
// answers, transfers and takes NOTIFY need not know of views: it is given the
// snapshot of the view that the client belongs to.
//
//	client, key, subnet -> choose -> Snapshot of the view --- not its zone ---> under
//	                              -> the Snapshot itself   (unless isolated)
//
// A zone is known by its view and its name. Drivers know zones by name alone, so
// each view has drivers of its own, and their folders; names stay plain outside of
// views, and are written zone@view within.

// asker is for whom a question is.
type asker struct {
	client netip.Addr   // of the socket: what it may do
	near   netip.Addr   // whom the answer is for: the client, or one whom a trusted one names
	key    dnsname.Name // that the query is signed with; zero: none
}

func askerAt(client netip.Addr) asker { return asker{client: client, near: client} }

// view is what makes a Snapshot that of a view.
type view struct {
	config  *config.View
	clients *admission.ACL
	own     *viewParts // nil while nothing is served: pharos check
}

// viewParts are what a view has of its own beyond one snapshot.
type viewParts struct {
	*keeping
	secondaries *xfr.Secondaries
	notifier    *xfr.Notifier
	aliases     *aliases.Driver
	recursor    // empty without recursion
}

// closeTransfers ends what talks to other servers of the zones, and of ALIAS targets.
func (p *viewParts) closeTransfers() {
	p.signers.Close()
	p.aliases.Close()
	p.notifier.Close()
	p.secondaries.Close()
}

// close ends all of it; twice does no harm.
func (p *viewParts) close() {
	p.closeTransfers()
	if p.keeper != nil {
		p.keeper.Close()
	}
	p.keeping.close()
	if p.resolver != nil {
		p.resolver.Close()
	}
}

// has reports whether who signs with key belongs to the view.
func (v *view) has(key dnsname.Name) bool { return slices.Contains(v.config.Keys, key) }

// choose returns the snapshot that answers a: of the first view that has its key, and its
// network if another one has the key too, or else of the first that has its network.
func (s *Snapshot) choose(a asker) *Snapshot {
	if v, _ := s.byKey(a); v != nil {
		return v
	}
	for _, v := range s.views {
		if v.view.clients.Allows(a.near) {
			return v
		}
	}
	return s
}

// byKey returns the view that a belongs to by its key, if there is one, and whether the
// key alone has decided.
func (s *Snapshot) byKey(a asker) (v *Snapshot, alone bool) {
	if a.key.IsZero() {
		return nil, false
	}
	isNear := false
	for _, other := range s.views {
		switch {
		case !other.view.has(a.key):
		case v == nil:
			v, alone, isNear = other, true, other.view.clients.Allows(a.near)
		default:
			alone = false
			if !isNear && other.view.clients.Allows(a.near) {
				v, isNear = other, true
			}
		}
	}
	return v, alone
}

// scopeOf returns how many leading bits of addr decide which view it belongs to.
func (s *Snapshot) scopeOf(addr netip.Addr) int {
	scope := 0
	for _, v := range s.views {
		scope = max(scope, v.view.clients.Reach(addr))
		if v.view.clients.Allows(addr) {
			break
		}
	}
	return scope
}

// enter returns for whom a query is, and the snapshot that answers it. A trusted
// client that names a network gets told for which network the answer is good
// (RFC 7871 §7.2.1).
func (s *Snapshot) enter(r *dnsserver.Request, key dnsname.Name) (*Snapshot, asker) {
	a := askerAt(r.Client.Addr())
	a.key = key
	option := r.Query.EDNS.Subnet
	isTrusted := option != nil && s.subnets.Allows(a.client)
	subnet := dnswire.Subnet{}
	if isTrusted {
		if subnet, _ = dnswire.ParseSubnet(option); subnet.IsSet() {
			a.near = subnet.Prefix.Addr()
		}
	}
	chosen := s.choose(a)
	if isTrusted {
		scope := 0
		if _, alone := s.byKey(a); subnet.IsSet() && !alone {
			scope = s.scopeOf(a.near)
		}
		r.Out.AddSubnet(option, scope)
	}
	return chosen, a
}

// find returns the zone that answers for a name, and the snapshot that it is in: that
// of the closest zone above the name, in the view or, unless it is isolated, outside.
// A zone of the view that cannot be served hides those outside: what they say is not
// for its clients.
func (s *Snapshot) find(n dnsname.Name, t rdata.Type) (*zone.Zone, *Snapshot) {
	mine := s.zones.Find(n, t)
	if s.under == nil {
		return mine, s
	}
	other := s.under.zones.Find(n, t)
	if other == nil || mine != nil && !isCloser(other, mine, n, t) || s.isBrokenAt(n, other.Origin()) {
		return mine, s
	}
	return other, s.under
}

// isCloser reports whether zone a answers for a name rather than b: its apex is
// closer to the name. For DS at an apex it is the zone above (RFC 4035 §3.1.4.1).
func isCloser(a, b *zone.Zone, n dnsname.Name, t rdata.Type) bool {
	if t == rdata.TypeDS && (a.Origin() == n) != (b.Origin() == n) {
		return b.Origin() == n
	}
	return a.Origin().Len() > b.Origin().Len()
}

// isBrokenAt reports whether n belongs to a zone of s that cannot be served, with its
// apex at or below top.
func (s *Snapshot) isBrokenAt(n, top dnsname.Name) bool {
	if s.broken == 0 {
		return false
	}
	for ; !n.IsZero() && n.Len() >= top.Len(); n = n.Parent() {
		if a := s.apexes.Get(n); a != nil && a.served.Zone == nil {
			return true
		}
	}
	return false
}

// apex returns the zone of the configuration with the given apex, of the view or, if
// it has none, from outside; and the snapshot it is in.
func (s *Snapshot) apex(name dnsname.Name) (*apex, *Snapshot) {
	a := s.apexes.Get(name)
	if a == nil && s.under != nil {
		return s.under.apexes.Get(name), s.under
	}
	return a, s
}

// viewName returns the name of the view that s is of; empty outside of views.
func (s *Snapshot) viewName() string {
	if s.view == nil {
		return ""
	}
	return s.view.config.Name
}

// everyZone returns the zones of s and of its views.
func (s *Snapshot) everyZone() iter.Seq[*versions.Zone] {
	return func(yield func(*versions.Zone) bool) {
		for _, each := range append([]*Snapshot{s}, s.views...) {
			for z := range each.served() {
				if !yield(z) {
					return
				}
			}
		}
	}
}

// latest returns the zones of s that may be others than in the snapshot before.
func (s *Snapshot) latest() iter.Seq[*versions.Zone] {
	return func(yield func(*versions.Zone) bool) {
		for _, each := range append([]*Snapshot{s}, s.views...) {
			if !each.takesOver {
				for z := range each.served() {
					if !yield(z) {
						return
					}
				}
				continue
			}
			for _, name := range each.revised {
				if !yield(each.apexes.Get(name).served) {
					return
				}
			}
		}
	}
}

// zoneCount returns how many there are.
func (s *Snapshot) zoneCount() int {
	count := s.apexes.Len()
	for _, v := range s.views {
		count += v.apexes.Len()
	}
	return count
}

// hasID reports whether there is a zone with an id, in whatever view.
func (s *Snapshot) hasID(id string) bool {
	view, name, err := versions.ParseID(id)
	return err == nil && s.zoneOf(view, name) != nil
}

// zoneOf returns a zone of s or of one of its views as it is served, or nil.
func (s *Snapshot) zoneOf(view string, name dnsname.Name) *versions.Zone {
	if view != "" {
		s = s.viewOf(view)
	}
	if s == nil {
		return nil
	}
	if a := s.apexes.Get(name); a != nil {
		return a.served
	}
	return nil
}

// compileViews compiles the views of the configuration into s, which has the zones
// outside of views already.
func (s *Snapshot) compileViews(cfg *config.Config, from before) error {
	for i := range cfg.Views {
		c := &cfg.Views[i]
		v := *s
		v.views, v.read, v.broken, v.lives, v.revised, v.gone = nil, 0, 0, 0, nil, nil
		within := *cfg // the configuration as the view has it
		within.Zones, within.Views = c.Zones, nil
		within.Resolver.Rewriting = *c.Resolver.Over(&cfg.Resolver.Rewriting)
		v.Config, v.restricted = &within, within.Restricted()
		v.reporting = compileReporting(c.Zones)
		v.view = &view{config: c}
		var err error
		if v.view.clients, err = admission.AllowOnly(c.Clients); err != nil {
			return fmt.Errorf("views[%d].clients: %w", i, err)
		}
		switch c.Recursion {
		case "on":
			v.recursion = everybody
		case "off":
			v.recursion = new(admission.ACL)
		}
		inside, err := from.within(c, &v)
		if err != nil {
			return fmt.Errorf("views[%d]: %w", i, err)
		}
		steered := inside.steers(s.State.Resources().Steer)
		v.steered = inside.guide.table(steered, s.pools)
		if err = v.compileRules(inside.cache, inside.prev); err != nil {
			return fmt.Errorf("views[%d].resolver.%w", i, err)
		}
		v.compileZones(&within, steered, inside)
		s.read += v.read
		s.views = append(s.views, &v)
	}
	s.link()
	return nil
}

// everybody is a list that allows all.
var everybody = func() *admission.ACL {
	acl, err := admission.AllowOnly([]netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return acl
}()

// link has the views of s fall through to s, and gives the rules of both the versions of
// their policy zones.
func (s *Snapshot) link() {
	s.rulebook = s.rulebook.Attach(s.Revision, s.version(s))
	views := make([]*Snapshot, len(s.views))
	for i, v := range s.views {
		linked := *v
		linked.Revision = s.Revision
		if linked.under = s; v.view.config.Isolated {
			linked.under = nil
		}
		linked.rulebook = v.rulebook.Attach(s.Revision, v.version(s))
		views[i] = &linked
	}
	s.views = views
}

// within returns what the view v of c is compiled beside.
func (from before) within(c *config.View, v *Snapshot) (before, error) {
	inside := before{
		status: from.status, guide: from.guide, reading: from.reading,
		Way: versions.Way{View: c.Name, Images: from.Images, Rules: from.Rules, Remarks: from.Remarks, Journaled: from.Journaled},
	}
	if from.prev != nil {
		for _, old := range from.prev.views {
			if old.viewName() == c.Name {
				inside.prev = old
			}
		}
	}
	if from.parts == nil {
		return inside, nil
	}
	own, err := from.parts(c, v)
	if err != nil {
		return inside, err
	}
	v.view.own = own
	inside.cache = own.cache
	inside.Kept, inside.Stages, inside.aliased = own.keepers(), own.stages(aliasStage(own.aliases)), own.aliases
	inside.keys, inside.Accepted, inside.signatures, inside.Journals = own.signers.Keys, own.accepted, own.signatures, own.journals
	inside.Serials, inside.Raise, inside.Exports = own.serials, own.raise, own.exports
	return inside, nil
}

func (p *viewParts) keepers() versions.Keepers {
	return versions.Keepers{
		"catalog":   p.n.catalogVersions(p.view),
		"secondary": func(name dnsname.Name) journal.Version { return journal.Version{Zone: p.secondaries.Version(name)} },
		"store":     p.version,
	}
}

// partsOf returns the parts of a view, which are made when it is new. n.mu is held.
func (n *Node) partsOf(c *config.View, v *Snapshot) (*viewParts, error) {
	p := n.views[c.Name]
	if p == nil {
		p = &viewParts{keeping: &keeping{n: n, view: c.Name}}
		p.keeping.open(v.Config)
		folder := folderOf(v.Config.Data, c.Name)
		p.secondaries = n.newSecondaries(v.Config, filepath.Join(folder, "zones"), c.Name)
		p.aliases = n.openAliases(c.Name, folder, v.Config.Alias)
		p.notifier = xfr.NewNotifier(n.log, func(name dnsname.Name) { n.reportTransfersOf(c.Name, name) })
		if n.views == nil {
			n.views = map[string]*viewParts{}
		}
		n.views[c.Name] = p
	}
	if len(c.Zones) > 0 && p.zones != &c.Zones[0] { // another configuration
		p.zones = &c.Zones[0]
		if err := p.setLedger(v.Config); err != nil {
			return nil, err
		}
	}
	if p.resolver == nil && c.Recursion != "off" {
		r := v.Config.Resolver
		r.CacheSize = c.CacheSize
		p.cache = newCache(r, n.started)
		p.resolver = n.newResolver(r, p.cache, c.Name)
		n.knowOwn(p.cache, c.Name)
		p.keeper = n.newKeeper(r, filepath.Join(v.Config.Data, "views", c.Name, "cache"), p.cache, p.resolver)
	}
	return p, nil
}

// forgetViews ends the parts of views that are gone. n.mu is held.
func (n *Node) forgetViews(next *Snapshot) {
	for name, p := range n.views {
		if !slices.ContainsFunc(next.views, func(v *Snapshot) bool { return v.viewName() == name }) {
			delete(n.views, name)
			go p.close() // ends when what it has under way has ended: not under n.mu, which that may want
		}
	}
}

// viewZoneChanged is zoneChanged for a zone in a view.
func (n *Node) viewZoneChanged(view string, name dnsname.Name) {
	n.mu.Lock()
	defer n.mu.Unlock()
	prev := n.current.Load()
	if prev == nil {
		return
	}
	at := slices.IndexFunc(prev.views, func(v *Snapshot) bool { return v.viewName() == view })
	if at < 0 {
		return
	}
	v := prev.views[at]
	inside, err := n.beside(prev).within(v.view.config, v)
	if err != nil {
		panic("BUG: a view that is there cannot be made: " + err.Error())
	}
	changed := v.withVersion(name, inside)
	if changed == nil {
		return
	}
	next := *prev
	next.Revision++
	next.views = slices.Clone(prev.views)
	next.views[at] = changed
	next.link()
	n.current.Store(&next)
	n.followZone(v, next.views[at], name)
	n.reportZone(changed.apexes.Get(name).served)
	n.reportTransfersOf(view, name)
	n.rulesChanged(prev, &next)
	n.catalogChanged(changed.apexes.Get(name).config)
}

// The drivers of the view that s is of, or those outside of views.

func (n *Node) secondariesOf(s *Snapshot) *xfr.Secondaries {
	if s.view != nil {
		return s.view.own.secondaries
	}
	return n.secondaries
}

func (n *Node) notifierOf(s *Snapshot) *xfr.Notifier {
	if s.view != nil {
		return s.view.own.notifier
	}
	return n.notifier
}

func (n *Node) cacheOf(s *Snapshot) *rrcache.Cache {
	if s.view != nil {
		return s.view.own.cache
	}
	return n.cache
}

func (n *Node) resolverOf(s *Snapshot) *outbound.Driver {
	if s.view != nil {
		return s.view.own.resolver
	}
	return n.resolver
}

// in returns the snapshot that a zone of s or of its views is in.
func (s *Snapshot) in(z *versions.Zone) *Snapshot {
	if z.View == "" {
		return s
	}
	return s.viewOf(z.View)
}

// closeViews closes the parts of all views.
func (n *Node) closeViews(close func(*viewParts)) {
	n.mu.Lock()
	var all []*viewParts
	for _, p := range n.views {
		all = append(all, p)
	}
	n.mu.Unlock()
	for _, p := range all { // without n.mu, which what they have under way may want
		close(p)
	}
}
