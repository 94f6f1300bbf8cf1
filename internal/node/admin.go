package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/certdesk"
	"pharos/internal/admin/telemetry"
	"pharos/internal/cluster/state"
	"pharos/internal/dns/dnsname"
)

// adminHeadTimeout bounds how long a caller of the admin listener may take to
// say what it wants.
const adminHeadTimeout = 5 * time.Second

func (n *Node) buildAdmin(addr netip.AddrPort) error {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return fmt.Errorf("listen.admin: %w; is another node running? Give this one a port of its own", err)
	}
	n.adminOn = l
	zones, resolvers := n.newDesk(), n.newResolverDesk()
	calls := zones.Zones()
	calls.Accept = n.AcceptZone
	trust := resolvers.Trust()
	trust.Upstreams = n.upstreams
	n.admin = &http.Server{ReadHeaderTimeout: adminHeadTimeout, Handler: api.Handler(api.Calls{
		Status: n.Status, Ready: n.ready, Pools: n.Pools, Zones: n.Zones,
		Explain: n.Explain, Objects: n.Objects, Apply: n.Apply, Delete: n.Delete,
		Reload: func(context.Context) (api.Applied, error) { return n.reload() },
		Zone:   calls, DNSSEC: zones.DNSSEC(), Versions: zones.Versions(),
		Scale: api.ScaleCalls{Show: n.newTrafficDesk().Scale}, Health: api.HealthCalls{History: n.newTrafficDesk().History}, Members: n.newTrafficDesk().Members(), Trust: trust, Cache: resolvers.Cache(), Metrics: telemetry.Handler(n.samples),
	})}
	return nil
}

// Status returns the state of the node at a glance.
func (n *Node) Status() api.Status {
	s := n.current.Load()
	return api.Status{
		Version: api.Version(), Started: n.started, Revision: s.Revision, Store: n.storeStatus(), Config: n.path,
		Listeners: n.listeners(), Zones: s.zoneCount(), Pools: len(s.pools.Pools()), Routes: s.gateway.Routes().Len(),
		Problems: n.problems.All(), Certificates: certdesk.List(&n.certificates), Updates: n.updateSummary(),
	}
}

// ready returns nil when clients may be sent to this node. That an older version
// is served, the store is gone or a pool is down is no reason against it: such
// problems often meet all nodes at once, and then nobody would be left.
func (n *Node) ready() error {
	if n.stopping.Load() {
		return errors.New("the node is stopping")
	}
	var errs []error
	s := n.current.Load()
	for z := range s.everyZone() {
		if z.Zone == nil && s.in(z).apexes.Get(z.Name).config.ListedBy.IsZero() { // what a catalog adds may take its time
			errs = append(errs, fmt.Errorf("zone %s: there is no version of it to serve; \"pharos status\" shows why", z.ID()))
		}
	}
	return errors.Join(errs...)
}

// Zones returns the zones as they are served.
func (n *Node) Zones() []api.Zone {
	all := []api.Zone{}
	s := n.current.Load()
	for z := range s.everyZone() {
		in := s.in(z)
		out := api.Zone{Name: z.Name.String(), View: z.View, Kind: z.Kind, File: z.File, Loaded: z.Loaded()}
		out.Journal, _ = z.Journal.Stats()
		if from := in.apexes.Get(z.Name).config.ListedBy; !from.IsZero() {
			out.Catalog = from.String()
		}
		if z.IsSecondary() {
			out.Secondary, out.Problem = n.secondary(in, z.Name)
		}
		for _, t := range n.notifierOf(in).Notices(z.Name) {
			out.Told = append(out.Told, api.Told{Server: t.To.String(), Serial: uint32(t.Serial), Since: t.Since, Tries: t.Tries, Done: t.Done, Error: t.Error})
		}
		if z.Zone != nil {
			out.Serial = uint32(z.Zone.Serial())
			out.Names, out.Records, _ = z.Zone.Stats()
		}
		if z.Err != nil {
			out.Problem = z.Err.Error()
		}
		all = append(all, out)
	}
	return all
}

// secondary returns how a secondary zone follows its primaries.
func (n *Node) secondary(in *Snapshot, name dnsname.Name) (*api.Secondary, string) {
	st, _ := n.secondariesOf(in).State(name)
	out := &api.Secondary{
		Present: st.Present, Checking: st.Checking, Received: st.LastAt,
		Confirmed: st.Confirmed, NextCheck: st.NextCheck, Expires: st.Expires, Failures: st.Failures,
	}
	if !st.LastAt.IsZero() {
		out.Form, out.From = st.Last.Form.String(), st.Last.From.String()
	}
	return out, st.Problem
}

// Objects returns what was applied at run time, of one kind or of all.
func (n *Node) Objects(_ context.Context, kind string) ([]api.Object, error) {
	var only state.Kind
	if kind != "" {
		var err error
		if only, err = state.ParseKind(kind); err != nil {
			return nil, &api.Refused{Status: http.StatusBadRequest, Err: err}
		}
	}
	objects := []api.Object{}
	for _, o := range n.current.Load().State.Objects() {
		if only == "" || o.Kind == only {
			objects = append(objects, api.Object{Kind: string(o.Kind), Name: o.Name, Revision: o.Revision, Spec: json.RawMessage(o.Body)})
		}
	}
	return objects, nil
}
