package resolverdesk

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
)

// Beliefs are by what resolvers go.
type Beliefs struct {
	Validate  bool
	Update    bool // of trust anchors (RFC 5011)
	Resolves  bool // in a view, or outside
	Revision  uint64
	LocalRoot *api.LocalRoot // nil: there is to be no copy
}

// Trust returns the calls about what is believed.
func (d *Desk) Trust() api.TrustCalls {
	return api.TrustCalls{Anchors: d.TrustAnchors, Add: d.AddNegative, Remove: d.RemoveNegative}
}

// TrustAnchors returns what chains of trust begin with, and where they are not followed.
func (d *Desk) TrustAnchors() api.TrustAnchors {
	now := d.config.Beliefs()
	out := api.TrustAnchors{Validate: now.Validate, Update: now.Update, LocalRoot: now.LocalRoot, Points: []api.TrustPoint{}, Negative: []api.NegativeAnchor{}}
	for _, p := range d.config.Trust.Points() {
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
	for _, e := range d.config.Trust.Negatives() {
		negative := api.NegativeAnchor{Name: e.Name.String(), Since: e.Since, Until: e.Until, Reason: e.Reason, Force: e.Forced, Tried: e.Verdict}
		if !e.Forced {
			negative.Retry = e.Retest
		}
		out.Negative = append(out.Negative, negative)
	}
	return out
}

// AddNegative has nothing validated at and below a name for a while.
func (d *Desk) AddNegative(_ context.Context, a api.NegativeChange) (api.Applied, error) {
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
	if err := d.config.Trust.Add(name, lasts, a.Reason, a.Force); err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	}
	until := clock.Now().Add(lasts).UTC().Format(time.DateTime)
	d.config.Log.Info("negative trust anchor added", "name", name, "until", until, "reason", a.Reason)
	return d.trustChanged(fmt.Sprintf("negative trust anchor %v: nothing at and below it is validated until %s", name, until))
}

// RemoveNegative ends that.
func (d *Desk) RemoveNegative(_ context.Context, text string) (api.Applied, error) {
	name, err := dnsname.Parse(text)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	if err := d.config.Trust.Remove(name); err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
	}
	d.config.Log.Info("negative trust anchor removed", "name", name)
	return d.trustChanged(fmt.Sprintf("negative trust anchor %v: removed", name))
}

func (d *Desk) trustChanged(what string) (api.Applied, error) {
	now := d.config.Beliefs()
	out := api.Applied{Changed: []string{what}, Revision: now.Revision}
	if !now.Validate || !now.Resolves {
		out.Warnings = append(out.Warnings, "nothing is validated on this node, so it changes nothing now: resolver.validate is false, or resolver.allow is empty")
	}
	return out, nil
}
