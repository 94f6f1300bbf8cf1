package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"pharos/internal/admin/api"
	"pharos/internal/admin/config"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/signer"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// This file is what an operator sees and does of the keys of signed zones.

func (n *Node) dnssecCalls() api.DNSSECCalls {
	return api.DNSSECCalls{
		Keys: n.ZoneKeys, Import: n.ImportKey, Withdraw: n.WithdrawKey, Rollover: n.Rollover, DS: n.ZoneDS, Submitted: n.Submitted,
	}
}

// findSigned returns the zone that an operator means, if it is signed here.
func (n *Node) findSigned(name string) (*apex, signer.State, error) {
	_, a, err := n.findZone(name)
	if err != nil {
		return nil, signer.State{}, err
	}
	st, ok := n.signers.State(a.served.Name)
	if !ok {
		return nil, st, &api.Refused{Status: http.StatusUnprocessableEntity, Err: fmt.Errorf("zone %s is not signed here; give it the key dnssec with the name of a policy, such as %q", a.served.Name, config.PolicyDefault)}
	}
	return a, st, nil
}

func refuseKey(err error) error {
	return &api.Refused{Status: http.StatusUnprocessableEntity, Err: err}
}

// ZoneKeys returns the keys of a zone, where they are in their life, and what comes
// next.
func (n *Node) ZoneKeys(_ context.Context, name string) (api.ZoneKeys, error) {
	a, st, err := n.findSigned(name)
	if err != nil {
		return api.ZoneKeys{}, err
	}
	out := api.ZoneKeys{
		Name: a.served.Name.String(), Policy: a.config.DNSSEC, Serial: uint32(st.Serial), Renew: st.Renew, Problem: st.Problem, Keys: []api.ZoneKey{},
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
	now := time.Now()
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
			k.Record = lineOf(a.served.Name, rdata.TypeDNSKEY, keyTTL(a), v.Key.DNSKEY)
		}
		out.Keys = append(out.Keys, k)
	}
	return out, nil
}

func keyTTL(a *apex) rdata.TTL {
	p, _ := a.config.Signing()
	return rdata.TTL(p.KeyTTL.Std() / time.Second)
}

func lineOf(name dnsname.Name, t rdata.Type, ttl rdata.TTL, data []byte) string {
	return rdata.Record{Name: name, Type: t, Class: rdata.ClassIN, TTL: ttl, Data: data}.String()
}

// Rollover has the keys of a role replaced.
func (n *Node) Rollover(_ context.Context, name, role string, compromised bool) (api.Applied, error) {
	a, st, err := n.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	if role == "algorithm" {
		return n.algorithmChange(a, st)
	}
	r, ok := kasp.ParseRole(role)
	if !ok {
		return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: fmt.Errorf("%q is no role of a key: want zsk, ksk or csk", role)}
	}
	if err := n.signers.Roll(a.served.Name, r, compromised); err != nil {
		return api.Applied{}, refuseKey(err)
	}
	out := api.Applied{Revision: n.current.Load().Revision}
	for _, v := range st.Keys {
		if v.Key.Role == r && v.Key.Wanted && !v.Key.Foreign {
			out.Changed = append(out.Changed, fmt.Sprintf("zone %s: %s %d is being replaced; \"pharos zone keys\" shows how far that is", a.served.Name, r, v.Key.Tag()))
		}
	}
	return out, nil
}

// algorithmChange says how far the change of a zone's algorithm is, which a change of
// its policy begins.
func (n *Node) algorithmChange(a *apex, st signer.State) (api.Applied, error) {
	if st.Algorithm == nil {
		return api.Applied{}, refuseKey(errors.New("no change of the algorithm is under way; one begins with the policy: change dnssec.policies[].algorithm, or zones[].dnssec, and \"pharos reload\"; it then goes on by itself"))
	}
	return api.Applied{Revision: n.current.Load().Revision, Changed: []string{fmt.Sprintf("zone %s: %s", a.served.Name, algorithmText(st.Algorithm))}}, nil
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

// ZoneDS returns what the parent of a zone should have, and what it was last seen to
// have.
func (n *Node) ZoneDS(_ context.Context, name string) (api.ZoneDS, error) {
	a, st, err := n.findSigned(name)
	if err != nil {
		return api.ZoneDS{}, err
	}
	out := api.ZoneDS{
		Name: a.served.Name.String(), DS: []string{}, DNSKEY: []string{}, CDS: []string{}, Shown: "unknown",
		Remove: st.Parent.None, Ready: len(st.Parent.Ask) > 0 || st.Parent.None, Asked: st.ParentAsked, Others: st.Parent.Others, Problem: st.ParentProblem,
	}
	if st.Problem != "" && out.Problem == "" {
		out.Problem = st.Problem
	}
	for _, k := range st.Parent.Ask {
		out.DS = append(out.DS, lineOf(a.served.Name, rdata.TypeDS, keyTTL(a), k.DS(a.served.Name)))
		out.DNSKEY = append(out.DNSKEY, lineOf(a.served.Name, rdata.TypeDNSKEY, keyTTL(a), k.DNSKEY))
	}
	if z := a.served.Zone; z != nil {
		for _, t := range []rdata.Type{rdata.TypeCDS, rdata.TypeCDNSKEY} {
			set, _ := z.RRset(z.Apex(), t)
			at := 0
			for range set.Count {
				var data []byte
				data, _, at = set.Record(at)
				out.CDS = append(out.CDS, lineOf(a.served.Name, t, set.TTL, data))
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
	n.signers.Look(a.served.Name) // for the next time
	return out, nil
}

// Submitted takes an operator's word that the parent has what it should.
func (n *Node) Submitted(_ context.Context, name string) (api.Applied, error) {
	a, _, err := n.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	if err := n.signers.Submitted(a.served.Name); err != nil {
		return api.Applied{}, refuseKey(err)
	}
	return api.Applied{Revision: n.current.Load().Revision, Changed: []string{fmt.Sprintf("zone %s: the parent is taken to show what it was asked for", a.served.Name)}}, nil
}

// ImportKey takes in a key that was made elsewhere.
func (n *Node) ImportKey(_ context.Context, name string, in api.KeyImport) (api.Applied, error) {
	a, _, err := n.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	k, role, err := parseImport(a.served.Name, in)
	if err != nil {
		return api.Applied{}, &api.Refused{Status: http.StatusBadRequest, Err: err}
	}
	if _, err := n.signers.Import(a.served.Name, role, k); err != nil {
		return api.Applied{}, refuseKey(err)
	}
	what := "and signs when it is known everywhere"
	if k.Signer == nil {
		what = "as a key of another signer, and nothing else"
	}
	return api.Applied{Revision: n.current.Load().Revision, Changed: []string{fmt.Sprintf("zone %s: %s %d is published, %s", a.served.Name, role, k.Tag(), what)}}, nil
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
	if !known {
		if role = kasp.ZSK; key.IsSEP() {
			role = kasp.KSK
		}
	}
	return key, role, nil
}

// WithdrawKey takes a key of another signer out of a zone.
func (n *Node) WithdrawKey(_ context.Context, name string, tag uint16) (api.Applied, error) {
	a, _, err := n.findSigned(name)
	if err != nil {
		return api.Applied{}, err
	}
	if err := n.signers.Withdraw(a.served.Name, tag); err != nil {
		return api.Applied{}, refuseKey(err)
	}
	return api.Applied{Revision: n.current.Load().Revision, Changed: []string{fmt.Sprintf("zone %s: key %d is no longer published", a.served.Name, tag)}}, nil
}

// ExportKey returns a private key from the data folder of a configuration, which no
// node needs to use meanwhile.
func ExportKey(path, name string, tag uint16, form string) ([]byte, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	zone, err := dnsname.Parse(name)
	if err != nil {
		return nil, err
	}
	k, err := signer.ReadKey(filepath.Join(cfg.Data, "keys"), cfg.DNSSEC.KeyEncryption, zone, tag)
	if err != nil {
		return nil, err
	}
	if form == "bind" {
		return sign.Pair{Key: k, Owner: zone}.PrivateFile()
	}
	return k.PEM()
}
