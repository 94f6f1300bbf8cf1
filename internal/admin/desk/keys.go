package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/signer"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// findSigned returns the zone that an operator means, if it is signed here.
func (d *Desk) findSigned(name string) (Zone, signer.State, error) {
	z, err := d.config.Zone(name)
	if err != nil {
		return Zone{}, signer.State{}, err
	}
	if z.Signers != nil {
		if st, ok := z.Signers.State(z.Name); ok {
			return z, st, nil
		}
	}
	return Zone{}, signer.State{}, refuse("zone %s is not signed here; give it the key dnssec with the name of a policy, such as %q", z.Name, config.PolicyDefault)
}

// refused is the answer to what a signer has refused.
func refused(err error) error {
	return &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
}

// Keys returns the keys of a zone, where they are in their life, and what comes
// next.
func (d *Desk) Keys(_ context.Context, name string) (api.ZoneKeys, error) {
	z, st, err := d.findSigned(name)
	if err != nil {
		return api.ZoneKeys{}, err
	}
	out := api.ZoneKeys{
		Name: z.Name.String(), Policy: z.Policy, Serial: uint32(st.Serial), Renew: st.Renew, Problem: st.Problem, Keys: []api.ZoneKey{},
	}
	if st.Signed {
		out.Expires = st.Expires
	}
	if st.Progress != nil {
		out.Done, out.Of = st.Progress()
	}
	if st.Algorithm != nil {
		out.Algorithm = algorithmText(st.Algorithm)
	}
	if st.Elsewhere != nil {
		out.Offline = &api.Offline{Until: st.Elsewhere.Until, Lacks: st.Elsewhere.Lacks}
	}
	if st.Waiting != 0 {
		for _, s := range st.Servers {
			switch {
			case s.Err != nil:
				out.Waiting = append(out.Waiting, fmt.Sprintf("%s: %v", s.Address, s.Err))
			case s.Serial.Less(st.Serial):
				out.Waiting = append(out.Waiting, fmt.Sprintf("%s has serial %d", s.Address, s.Serial))
			}
		}
	}
	now := clock.Now()
	for _, v := range st.Keys {
		k := api.ZoneKey{
			Tag: v.Key.Tag(), Role: v.Key.Role.String(), Algorithm: sign.AlgorithmName(v.Key.Algorithm), State: v.Phase,
			DNSKEY: v.DNSKEY.String(), Signatures: v.Signs.String(), DS: v.DS.String(), Next: v.Next,
			Made: v.Key.Made, Active: v.Key.Active, Retired: v.Key.Retired,
		}
		if v.In > 0 {
			k.At = now.Add(v.In).Round(time.Second)
		}
		if len(v.Key.DNSKEY) > 0 {
			k.Record = lineOf(z.Name, rdata.TypeDNSKEY, z.KeyTTL, v.Key.DNSKEY)
		}
		out.Keys = append(out.Keys, k)
	}
	return out, nil
}

func lineOf(name dnsname.Name, t rdata.Type, ttl rdata.TTL, data []byte) string {
	return rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: data}.String()
}

// Rollover has the keys of a role replaced.
func (d *Desk) Rollover(_ context.Context, name, role string, compromised bool) (api.Applied, error) {
	z, st, err := d.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	if role == "algorithm" {
		return d.algorithmChange(z, st)
	}
	r, ok := kasp.ParseRole(role)
	if !ok {
		return api.Applied{}, misunderstood("%q is no role of a key: want zsk, ksk or csk", role)
	}
	if err := z.Signers.Roll(z.Name, r, compromised); err != nil {
		return api.Applied{}, refused(err)
	}
	out := d.applied()
	for _, v := range st.Keys {
		if v.Key.Role == r && v.Key.Wanted && !v.Key.Foreign {
			out.Changed = append(out.Changed, fmt.Sprintf("zone %s: %s %d is being replaced; \"pharos zone keys\" shows how far that is", z.Name, r, v.Key.Tag()))
		}
	}
	return out, nil
}

// algorithmChange says how far the change of a zone's algorithm is, which a change of
// its policy begins.
func (d *Desk) algorithmChange(z Zone, st signer.State) (api.Applied, error) {
	if st.Algorithm == nil {
		return api.Applied{}, refused(errors.New("no change of the algorithm is under way; one begins with the policy: change dnssec.policies[].algorithm, or zones[].dnssec, and \"pharos reload\"; it then goes on by itself"))
	}
	return d.applied(fmt.Sprintf("zone %s: %s", z.Name, algorithmText(st.Algorithm))), nil
}

func algorithmText(c *kasp.AlgorithmChange) string {
	var from []string
	for _, a := range c.From {
		from = append(from, sign.AlgorithmName(a))
	}
	text := fmt.Sprintf("from %s to %s, step %d of %d: %s", strings.Join(from, ", "), sign.AlgorithmName(c.To), c.Step, kasp.AlgorithmSteps, c.Text)
	if c.In > 0 {
		text += fmt.Sprintf(" (in %s)", c.In.Round(time.Second))
	}
	return text
}

// DS returns what the parent of a zone should have, and what it was last seen to
// have.
func (d *Desk) DS(_ context.Context, name string) (api.ZoneDS, error) {
	z, st, err := d.findSigned(name)
	if err != nil {
		return api.ZoneDS{}, err
	}
	out := api.ZoneDS{
		Name: z.Name.String(), DS: []string{}, DNSKEY: []string{}, CDS: []string{}, Shown: "unknown",
		Remove: st.Parent.None, Ready: len(st.Parent.Ask) > 0 || st.Parent.None, Asked: st.ParentAsked, Others: st.Parent.Others, Problem: st.ParentProblem,
	}
	if st.Problem != "" && out.Problem == "" {
		out.Problem = st.Problem
	}
	for _, k := range st.Parent.Ask {
		out.DS = append(out.DS, lineOf(z.Name, rdata.TypeDS, z.KeyTTL, k.DS(z.Name)))
		out.DNSKEY = append(out.DNSKEY, lineOf(z.Name, rdata.TypeDNSKEY, z.KeyTTL, k.DNSKEY))
	}
	if version := z.Version; version != nil {
		for _, t := range []rdata.Type{rdata.TypeCDS, rdata.TypeCDNSKEY} {
			set, _ := version.RRset(version.Apex(), t)
			at := 0
			for range set.Count {
				var data []byte
				data, _, at = set.Record(at)
				out.CDS = append(out.CDS, lineOf(z.Name, t, set.TTL, data))
			}
		}
	}
	if st.Parent.Looked {
		out.Shown = "no"
		if st.Parent.Agrees {
			out.Shown = "yes"
		}
	}
	for _, set := range st.Parent.Shown {
		for _, v := range st.Keys {
			for _, id := range set {
				if v.Key.ID == id {
					out.Tags = append(out.Tags, v.Key.Tag())
				}
			}
		}
	}
	if st.Parent.Lost != "" {
		out.Problem = st.Parent.Lost
	}
	if n, ok := z.Parents.Notice(z.Name); ok {
		out.Told = &api.ParentTold{To: n.To, At: n.At, Tries: n.Tries, Done: n.Done, Error: n.Error}
	}
	z.Signers.Look(z.Name) // for the next time
	return out, nil
}

// Submitted takes an operator's word that the parent has what it should.
func (d *Desk) Submitted(_ context.Context, name string) (api.Applied, error) {
	z, _, err := d.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	if err := z.Signers.Submitted(z.Name); err != nil {
		return api.Applied{}, refused(err)
	}
	return d.applied(fmt.Sprintf("zone %s: the parent is taken to show what it was asked for", z.Name)), nil
}

// ImportKey takes in a key that was made elsewhere.
func (d *Desk) ImportKey(_ context.Context, name string, in api.KeyImport) (api.Applied, error) {
	z, _, err := d.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	k, role, err := parseImport(z.Name, in)
	if err != nil {
		return api.Applied{}, misunderstood("%w", err)
	}
	if in.Offline {
		if role == 0 {
			role = kasp.KSK // no other can be
		}
		return d.importOffline(z, role, k)
	}
	if role, err = z.Signers.Import(z.Name, role, k); err != nil {
		return api.Applied{}, refused(err)
	}
	what := "and signs when it is known everywhere"
	if k.Signer == nil {
		what = "as a key of another signer, and nothing else"
	}
	return d.applied(fmt.Sprintf("zone %s: %s %d is published, %s", z.Name, role, k.Tag(), what)), nil
}

// parseImport reads a key in one of its forms.
func parseImport(zone dnsname.Name, in api.KeyImport) (*sign.Key, kasp.Role, error) {
	role, known := kasp.ParseRole(in.Role)
	if in.Role != "" && !known {
		return nil, 0, fmt.Errorf("%q is no role of a key: want zsk, ksk or csk", in.Role)
	}
	var key *sign.Key
	switch {
	case in.PEM != "":
		if !known {
			return nil, 0, errors.New("a key in PEM does not say what it is for; give its role: zsk, ksk or csk")
		}
		k, err := sign.ParsePEM(role.Flags(), in.Algorithm, []byte(in.PEM))
		if err != nil {
			return nil, 0, err
		}
		key = k
	default:
		var private []byte
		if in.Private != "" {
			private = []byte(in.Private)
		}
		pair, err := sign.ParsePair([]byte(in.Public), private)
		if err != nil {
			return nil, 0, err
		}
		if pair.Owner != zone {
			return nil, 0, fmt.Errorf("the key is one of %s, not of %s", pair.Owner, zone)
		}
		key = pair.Key
	}
	return key, role, nil // 0: as its flags and the policy say
}

// WithdrawKey takes a key of another signer out of a zone.
func (d *Desk) WithdrawKey(_ context.Context, name string, tag uint16) (api.Applied, error) {
	z, _, err := d.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	if err := z.Signers.Withdraw(z.Name, tag); err != nil {
		return api.Applied{}, refused(err)
	}
	return d.applied(fmt.Sprintf("zone %s: key %d is no longer published", z.Name, tag)), nil
}
