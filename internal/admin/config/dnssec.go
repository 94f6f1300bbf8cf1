package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"pharos/internal/cluster/document"
)

// Names of policies with a meaning of their own.
const (
	// PolicyDefault is there without being listed: every key at its default.
	PolicyDefault = "default"
	// PolicyInsecure leads a zone out of DNSSEC.
	PolicyInsecure = "insecure"
)

// DNSSEC is how zones are signed that say so with their key dnssec.
type DNSSEC struct {
	// KeyEncryption is a file with the 32 octets, as 64 hexadecimal digits, that
	// private keys are encrypted with in the data folder. Keep it where a stolen
	// disk or backup of the data folder does not have it too. Empty: the file in
	// the environment variable PHAROS_KEY_ENCRYPTION, or the systemd credential
	// pharos-keys; without either, one is made beside the keys.
	KeyEncryption string `json:"keyEncryption,omitzero" format:"file" example:"/etc/pharos/keys.kek"`
	// Policies are the ways of signing that zones choose from by name. The policy
	// "default" is always there; one with that name changes it.
	Policies []Policy `json:"policies,omitzero" max:"1000"`
}

// Policy is a way of signing zones. What is changed here is changed in the zones
// step by step, so that nobody who validates them is ever left without a chain of
// trust.
type Policy struct {
	// Name is what zones[].dnssec says.
	Name string `json:"name" required:"true" format:"identifier" example:"long-lived"`
	// Algorithm is what keys sign with. Another one is introduced beside the one
	// before, as RFC 6781 §4.1.4 has it.
	Algorithm string `json:"algorithm" enum:"rsasha256,ecdsap256sha256,ecdsap384sha384,ed25519,ed448" default:"ecdsap256sha256" example:"ed25519"`
	// Keys is csk for one key that signs everything, or ksk-zsk for one that the
	// parent names and another that signs, so that this one can be replaced without
	// the parent.
	Keys string `json:"keys" enum:"csk,ksk-zsk" default:"csk" example:"ksk-zsk"`
	// OfflineKSK leaves the KSK on a machine without a network: it is never made here, only
	// its public half is imported, and what it has to sign is signed there for months
	// ahead ("pharos zone keys ksr"). Needs keys: ksk-zsk.
	OfflineKSK bool `json:"offlineKSK" default:"false" example:"true"`
	// KSKLifetime is how long a KSK or CSK is used before its successor takes over.
	// 0: until "pharos zone rollover".
	KSKLifetime Duration `json:"kskLifetime" default:"0" min:"0s" max:"36500d" example:"365d"`
	// ZSKLifetime is how long a ZSK is used before its successor takes over. 0: until
	// "pharos zone rollover".
	ZSKLifetime Duration `json:"zskLifetime" default:"90d" min:"0s" max:"36500d" example:"30d"`
	// KeyTTL is the TTL of the DNSKEY, CDS and CDNSKEY records.
	KeyTTL Duration `json:"keyTTL" default:"1h" min:"1s" max:"7d" step:"1s" example:"2h"`
	// SignatureLifetime is how long a signature is good.
	SignatureLifetime Duration `json:"signatureLifetime" default:"14d" min:"1m" max:"365d" step:"1s" example:"30d"`
	// SignatureRefresh is how long before its end a signature is made anew. Keep it
	// longer than the EXPIRE time of the zone and its longest TTL together.
	SignatureRefresh Duration `json:"signatureRefresh" default:"4d" min:"10s" max:"300d" step:"1s" example:"10d"`
	// SignatureJitter is by how much less the lifetimes of signatures are, each by
	// another part of it, so that they do not all come due at once.
	SignatureJitter Duration `json:"signatureJitter" default:"5d" min:"1s" max:"300d" step:"1s" example:"1d"`
	// Denial is how absence is proven: nsec; nsec3, which hides names from whoever
	// walks the zone; or compact, which proves it for the name asked for, with a record
	// made and signed then (RFC 9824). With compact every answer is signed as it is
	// asked for, so other servers cannot serve the zone signed, and algorithm has to be
	// ecdsap256sha256 or ed25519 if answers shall be quick.
	Denial string `json:"denial" enum:"nsec,nsec3,compact" default:"nsec" example:"nsec3"`
	// NSEC3 is the parameters of denial nsec3. The defaults are those of RFC 9276.
	NSEC3 NSEC3 `json:"nsec3,omitzero"`
	// ZONEMD puts a digest of the zone into it (RFC 8976), by which whoever has a copy of
	// the zone can tell that it is whole. It is made anew for each version, from all of the
	// zone: that takes as long as reading it once, so leave it off for large zones that
	// change all the time.
	ZONEMD string `json:"zonemd" enum:"off,sha384,sha512" default:"off" example:"sha384"`
	// CDS is when CDS and CDNSKEY records ask the parent for its DS records (RFC 7344):
	// always, rollover for as long as the parent shows others, or none.
	CDS string `json:"cds" enum:"always,rollover,none" default:"rollover" example:"always"`
	// NotifyParent is dsync to tell the parent when there are new CDS records, by NOTIFY to
	// where its DSYNC record says (RFC 9859), if resolver.allow is not empty; or off.
	NotifyParent string `json:"notifyParent" enum:"dsync,off" default:"dsync" example:"off"`
	// Parent are servers of the parent zone, which are all asked for the DS records
	// that they show. Empty: they are looked up by the resolver, if resolver.allow is
	// not empty. Without either an operator says what the parent has, with
	// "pharos zone ds NAME --submitted".
	Parent []netip.AddrPort `json:"parent,omitzero" max:"64" example:"192.0.2.1:53"`
	// ParentInterval is how often they are asked.
	ParentInterval Duration `json:"parentInterval" default:"1h" min:"1s" max:"7d" example:"10m"`
	// ParentTTL is the TTL of the parent's DS records, if it does not show a longer
	// one.
	ParentTTL Duration `json:"parentTTL" default:"1d" min:"0s" max:"30d" example:"1h"`
	// ParentPropagation is how long after all asked servers of the parent show a
	// change some other may still not.
	ParentPropagation Duration `json:"parentPropagation" default:"1h" min:"0s" max:"30d" example:"1d"`
	// Watch is which servers of the zone have to show a step of a rollover before the next:
	// notify for those under zones[].notify and servers; secondaries for those that the NS
	// records of the zone name as well, as far as a rule of zones[].transfer lets them have
	// the zone; all for all of these, wherever they get it from. A server is asked at port
	// 53; this node's own addresses are not. Where NS records name servers that cannot be
	// reached from here, choose notify.
	Watch string `json:"watch" enum:"notify,secondaries,all" default:"secondaries" example:"all"`
	// Servers are further servers of the zones that have to show it, such as those behind a
	// hidden primary's secondaries.
	Servers []netip.AddrPort `json:"servers,omitzero" max:"64" example:"192.0.2.2:53"`
	// Propagation is how long after this node and all servers that are watched show a
	// version some other may still not.
	Propagation Duration `json:"propagation" default:"5m" min:"0s" max:"30d" example:"1h"`
	// Safety is added to every wait at whose end something is taken away.
	Safety Duration `json:"safety" default:"1h" min:"0s" max:"30d" example:"1d"`
	// Purge is how long a key that nobody needs any more is kept.
	Purge Duration `json:"purge" default:"90d" min:"1s" max:"3650d" example:"30d"`
}

// NSEC3 is the parameters of hashed denial (RFC 5155).
type NSEC3 struct {
	// OptOut leaves delegations without DS records out of the chain. Only for zones
	// with very many of them.
	OptOut bool `json:"optOut,omitzero" default:"false" example:"true"`
	// Iterations is how often names are hashed again. More than 0 costs everybody and
	// protects nobody; validators refuse more than 50 or 100.
	Iterations int `json:"iterations,omitzero" default:"0" min:"0" max:"50" example:"5"`
	// Salt is up to 32 octets as hexadecimal digits. It serves no purpose, but some
	// registries want one.
	Salt string `json:"salt,omitzero" default:"" example:"aabbccdd"`
}

// Policy returns the policy called name.
func (d *DNSSEC) Policy(name string) (Policy, bool) {
	i := slices.IndexFunc(d.Policies, func(p Policy) bool { return p.Name == name })
	switch {
	case i >= 0:
		return d.Policies[i], true
	case name == PolicyDefault || name == PolicyInsecure:
		p := Policy{}
		document.SetDefaults(&p)
		p.Name = name
		return p, true
	}
	return Policy{}, false
}

// Signing returns the policy that the zone is signed by; ok is false without one.
func (z *Zone) Signing() (p Policy, ok bool) {
	if z.signing == nil {
		return Policy{}, false
	}
	return *z.signing, true
}

func (c *Config) resolvePolicies() {
	resolve := func(zones []Zone) {
		for i := range zones {
			if p, ok := c.DNSSEC.Policy(zones[i].DNSSEC); ok {
				zones[i].signing = &p
			}
		}
	}
	resolve(c.Zones)
	for i := range c.Views {
		resolve(c.Views[i].Zones)
	}
}

func (c *Config) checkDNSSEC(to *checker) {
	first := map[string]int{}
	for i, p := range c.DNSSEC.Policies {
		path := fmt.Sprintf("dnssec.policies[%d]", i)
		j, twice := first[p.Name]
		switch {
		case twice:
			to.fail(path+".name", fmt.Sprintf("policy %s is already dnssec.policies[%d]", p.Name, j), "remove one of them")
		case p.Name == PolicyInsecure:
			to.fail(path+".name", "insecure is the word that leads a zone out of DNSSEC", "choose another name")
		}
		first[p.Name] = i
		if salt, err := hex.DecodeString(p.NSEC3.Salt); err != nil || len(salt) > 32 {
			to.fail(path+".nsec3.salt", "not an even number of hexadecimal digits, up to 64", "leave it out (RFC 9276)")
		}
		if p.SignatureLifetime <= p.SignatureRefresh+p.SignatureJitter {
			to.fail(path+".signatureLifetime", fmt.Sprintf("signatures of %s would be due as soon as they are made: refresh and jitter take %s", p.SignatureLifetime, p.SignatureRefresh+p.SignatureJitter),
				"make it longer than signatureRefresh and signatureJitter together")
		}
		if p.OfflineKSK && p.Keys == "csk" {
			to.fail(path+".offlineKSK", "one key cannot both be elsewhere and sign the zone here", "set keys: ksk-zsk")
		}
		if p.Denial == "compact" && p.ZONEMD != "off" && p.ZONEMD != "" {
			to.fail(path+".zonemd", "with denial compact no copy of the zone has its signatures, so there is nothing to make a digest of", "leave it out, or choose denial nsec or nsec3")
		}
		if life, lead := p.ZSKLifetime, 2*(p.KeyTTL+p.Propagation+p.Safety); life != 0 && life < lead && p.Keys != "csk" {
			to.fail(path+".zskLifetime", fmt.Sprintf("%s is not enough for one rollover, which takes %s", life, lead), "make it longer, or keyTTL, propagation and safety shorter")
		}
		for k, a := range p.Servers {
			if a.IsValid() && a.Port() == 0 {
				to.fail(fmt.Sprintf("%s.servers[%d]", path, k), "port 0 cannot be reached", "name the server's port, which is 53 in general")
			}
		}
		for k, a := range p.Parent {
			if a.IsValid() && a.Port() == 0 {
				to.fail(fmt.Sprintf("%s.parent[%d]", path, k), "port 0 cannot be reached", "name the server's port, which is 53 in general")
			}
		}
	}
	c.checkPolicyNames(to, "zones", c.Zones)
	for i, v := range c.Views {
		c.checkPolicyNames(to, fmt.Sprintf("views[%d].zones", i), v.Zones)
	}
}

func (c *Config) checkPolicyNames(to *checker, path string, zones []Zone) {
	for i, z := range zones {
		if _, ok := c.DNSSEC.Policy(z.DNSSEC); z.DNSSEC != "" && !ok {
			to.fail(fmt.Sprintf("%s[%d].dnssec", path, i), fmt.Sprintf("there is no policy %s", z.DNSSEC), "add it under dnssec.policies, or use "+strings.Join(c.policyNames(), ", "))
		}
	}
}

func (c *Config) policyNames() []string {
	names := []string{PolicyDefault, PolicyInsecure}
	for _, p := range c.DNSSEC.Policies {
		if !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}
