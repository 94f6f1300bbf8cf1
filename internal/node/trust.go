package node

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/xfr"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
	"pharos/internal/resolver/custody"
	"pharos/internal/resolver/failures"
	"pharos/internal/resolver/iterate"
	"pharos/internal/resolver/localroot"
	"pharos/internal/resolver/outbound"
)

// resolving is the resolver outside of views, and what all resolvers believe.
type resolving struct {
	failures *failures.Store // of views too
	recursor
	trust      *custody.Custody
	root       localroot.Copy
	rootSource *xfr.Secondaries // nil: no copy is transferred
	rootFile   masterfile.Watched
}

// openTrust reads what is trusted. Nobody is asked about it before goLive.
func (n *Node) openTrust(cfg *config.Config) error {
	anchors, err := configuredAnchors(cfg.Resolver, n.started)
	if err != nil {
		return err
	}
	n.trust = custody.Open(custody.Config{
		Folder: filepath.Join(cfg.Data, "trust"), Anchors: anchors, Update: cfg.Resolver.Trust.Update,
		Negative: cfg.Resolver.NegativeTrustAnchors, Log: n.log, Apply: n.applyTrust,
		Problem: func(c, about, text string) { n.problem(code(c), about, text) },
		Ask: func(ctx context.Context, name dnsname.Name, t rdata.Type, cd bool) (iterate.Answer, error) {
			return n.resolver.Resolve(ctx, name, t, outbound.Options{DO: true, CD: cd, Anew: true})
		},
	})
	return nil
}

// configuredAnchors returns the trust anchors to begin with.
func configuredAnchors(r config.Resolver, now time.Time) ([]rdata.Record, error) {
	switch {
	case r.Trust.File != "":
		text, err := os.ReadFile(r.Trust.File)
		if err != nil {
			return nil, fmt.Errorf("resolver.trust.file: %w", err)
		}
		anchors, err := anchor.Parse(now, r.Trust.File, text)
		if err != nil {
			return nil, fmt.Errorf("resolver.trust.file: %w", err)
		}
		return anchors, nil
	case len(r.TrustAnchors) > 0:
		return r.Anchors()
	}
	return iterate.RootAnchors(), nil
}

// startTrust begins to look after what is trusted, if anybody resolves with it.
func (n *Node) startTrust(r config.Resolver) {
	if r.Validate && len(r.Allow) > 0 {
		n.trust.Start()
	}
}

// followTrust takes the negative trust anchors of a changed configuration over.
func (n *Node) followTrust(prev, next *Snapshot) {
	if prev == nil || slices.Equal(prev.Config.Resolver.NegativeTrustAnchors, next.Config.Resolver.NegativeTrustAnchors) {
		return
	}
	n.trust.Configure(next.Config.Resolver.NegativeTrustAnchors)
}

// applyTrust gives the resolvers what counts now. It is called by custody.
func (n *Node) applyTrust(anchors []rdata.Record, negative []dnsname.Name) {
	n.resolver.Trust(anchors, negative)
	for _, v := range n.current.Load().views {
		if own := v.view.own; own != nil && own.resolver != nil {
			own.resolver.Trust(anchors, negative)
		}
	}
}

func (n *Node) trustCalls() api.TrustCalls {
	return api.TrustCalls{Anchors: n.TrustAnchors, Add: n.AddNegative, Remove: n.RemoveNegative}
}

// TrustAnchors returns what chains of trust begin with, and where they are not followed.
func (n *Node) TrustAnchors() api.TrustAnchors {
	r := n.current.Load().Config.Resolver
	out := api.TrustAnchors{Validate: r.Validate, Update: r.Trust.Update, Points: []api.TrustPoint{}, Negative: []api.NegativeAnchor{}}
	for _, p := range n.trust.Points() {
		point := api.TrustPoint{Zone: p.Zone.String(), Checked: p.Checked, Next: p.Next, Failures: p.Failures, Problem: p.Problem, Keys: []api.TrustKey{}}
		for _, k := range p.Keys {
			point.Keys = append(point.Keys, api.TrustKey{
				Tag: k.Tag(), Algorithm: k.Algorithm(), State: k.State.String(), Since: k.Since, Until: k.Until(),
				Trusted: k.State == anchor.Valid || k.State == anchor.Missing,
				Record:  fmt.Sprintf("%v DNSKEY %s", p.Zone, rdata.AppendText(nil, rdata.TypeDNSKEY, k.RDATA)),
			})
		}
		for _, data := range p.Configured {
			d, _ := dnssec.ParseDS(data)
			point.Keys = append(point.Keys, api.TrustKey{Tag: d.Tag, Algorithm: d.Algorithm, State: "configured", Trusted: true,
				Record: fmt.Sprintf("%v DS %s", p.Zone, rdata.AppendText(nil, rdata.TypeDS, data))})
		}
		out.Points = append(out.Points, point)
	}
	out.LocalRoot = n.localRoot()
	for _, e := range n.trust.Negatives() {
		negative := api.NegativeAnchor{Name: e.Name.String(), Since: e.Since, Until: e.Until, Reason: e.Reason, Force: e.Forced, Tried: e.Verdict}
		if !e.Forced {
			negative.Retry = e.Retest
		}
		out.Negative = append(out.Negative, negative)
	}
	return out
}

// AddNegative has nothing validated at and below a name for a while.
func (n *Node) AddNegative(_ context.Context, a api.NegativeChange) (api.Applied, error) {
	name, err := dnsname.Parse(a.Name)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	lasts := anchor.NegativeDefault
	if a.For != "" {
		if lasts, err = time.ParseDuration(a.For); err != nil {
			return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: fmt.Errorf("for: %w; write it as in 12h", err)}
		}
	}
	if err := n.trust.Add(name, lasts, a.Reason, a.Force); err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	}
	until := clock.Now().Add(lasts).UTC().Format(time.DateTime)
	n.log.Info("negative trust anchor added", "name", name, "until", until, "reason", a.Reason)
	return n.trustChanged(fmt.Sprintf("negative trust anchor %v: nothing at and below it is validated until %s", name, until))
}

// RemoveNegative ends that.
func (n *Node) RemoveNegative(_ context.Context, text string) (api.Applied, error) {
	name, err := dnsname.Parse(text)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	if err := n.trust.Remove(name); err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	}
	n.log.Info("negative trust anchor removed", "name", name)
	return n.trustChanged(fmt.Sprintf("negative trust anchor %v: removed", name))
}

func (n *Node) trustChanged(what string) (api.Applied, error) {
	s := n.current.Load()
	out := api.Applied{Changed: []string{what}, Revision: s.Revision}
	if r := s.Config.Resolver; !r.Validate || len(r.Allow) == 0 && !slices.ContainsFunc(s.views, func(v *Snapshot) bool { return v.view.own != nil && v.view.own.resolver != nil }) {
		out.Warnings = append(out.Warnings, "nothing is validated on this node, so it changes nothing now: resolver.validate is false, or resolver.allow is empty")
	}
	return out, nil
}
