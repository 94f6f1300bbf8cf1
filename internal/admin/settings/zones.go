// Package settings says what an operator has written in the words of those who do it: it
// takes package config's parts and returns the options of drivers. The configuration has
// been checked, so that nothing here fails; what reads files is elsewhere.
package settings

import (
	"encoding/hex"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/authority/childkeys"
	"pharos/internal/authority/gate"
	"pharos/internal/authority/kasp"
	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/sign"
	"pharos/internal/authority/signer"
	"pharos/internal/authority/update"
	"pharos/internal/dns/dnssec"
	"pharos/internal/dns/rdata"
	"pharos/internal/dns/zonemd"
)

// Signing returns how the policy of a zone, which has one, has it signed.
func Signing(c *config.Zone) *signer.Settings {
	p, ok := c.Signing()
	if !ok {
		panic("BUG: the configuration has no policy " + c.DNSSEC) // it has been checked
	}
	s := &signer.Settings{
		KeyTTL: rdata.TTL(p.KeyTTL.Std() / time.Second), Life: p.SignatureLifetime.Std(), Jitter: p.SignatureJitter.Std(),
		Renew: p.SignatureRefresh.Std(), Parents: p.Parent, ParentEvery: p.ParentInterval.Std(),
		Policy: kasp.Policy{
			Off: c.DNSSEC == config.PolicyInsecure, Algorithm: algorithmOf(p.Algorithm), Single: p.Keys == "csk", OfflineKSK: p.OfflineKSK,
			KSKLifetime: p.KSKLifetime.Std(), ZSKLifetime: p.ZSKLifetime.Std(), KeyTTL: p.KeyTTL.Std(), Propagation: p.Propagation.Std(),
			ParentTTL: p.ParentTTL.Std(), ParentPropagation: p.ParentPropagation.Std(), Safety: p.Safety.Std(), Purge: p.Purge.Std(),
			CDS: map[string]kasp.CDS{"always": kasp.CDSAlways, "rollover": kasp.CDSRollover, "none": kasp.CDSNone}[p.CDS],
		},
	}
	if algorithm := map[string]uint8{"sha384": zonemd.SHA384, "sha512": zonemd.SHA512}[p.ZONEMD]; algorithm != 0 {
		s.ZONEMD = []uint8{algorithm}
	}
	s.Live, s.Exported = p.Denial == "compact", IsExported(c)
	if p.Denial == "nsec3" {
		salt, err := hex.DecodeString(p.NSEC3.Salt)
		if err != nil {
			panic("BUG: " + err.Error()) // the configuration has been checked
		}
		s.NSEC3 = &sign.NSEC3{Iterations: uint16(p.NSEC3.Iterations), Salt: salt, OptOut: p.NSEC3.OptOut}
	}
	return s
}

func algorithmOf(word string) uint8 {
	return map[string]uint8{
		"rsasha256": dnssec.RSASHA256, "ecdsap256sha256": dnssec.ECDSAP256, "ecdsap384sha384": dnssec.ECDSAP384,
		"ed25519": dnssec.Ed25519, "ed448": dnssec.Ed448,
	}[word]
}

// Gate returns by which rules a version of a zone goes live.
func Gate(c *config.Zone) gate.Rules {
	return gate.Rules{
		Serial: serialStrength(c), Glue: strength(c.Gate.Glue), Aliases: strength(c.Gate.Aliases),
		Signatures: strength(c.Gate.Signatures), ZONEMD: strength(c.Gate.ZONEMD), RequireZONEMD: c.Gate.ZONEMD == "require", MaxChange: float64(c.Gate.MaxChange) / 100, MinRecords: c.Gate.MinRecords,
		MaxRecords: int(c.Gate.MaxRecords), MaxNames: int(c.Gate.MaxNames), MaxRRset: int(c.Gate.MaxRRset), MaxTypes: int(c.Gate.MaxTypes),
	}
}

// Children returns what the children of a zone may have done to their DS records.
func Children(c *config.Zone) childkeys.Rules {
	return childkeys.Rules{Remove: !c.Children.KeepSigned, Bootstrap: c.Children.Bootstrap}
}

// serialStrength resolves "auto": who writes a file may forget its serial, which
// other servers load all the same; a program that changes a zone never may. A
// transfer with a serial that does not go forward is refused by package xfr,
// unless an operator forces it.
func serialStrength(c *config.Zone) gate.Strength {
	switch {
	case c.Gate.Serial != "auto" && c.Gate.Serial != "":
		return strength(c.Gate.Serial)
	case c.Kind == "secondary":
		return gate.Off
	case c.Kind != "file":
		return gate.Refuse
	case len(c.Transfer) > 0 || len(c.Notify) > 0:
		return gate.Warn
	}
	return gate.Off
}

func strength(word string) gate.Strength {
	return map[string]gate.Strength{"warn": gate.Warn, "refuse": gate.Refuse, "require": gate.Refuse}[word]
}

// Updates returns who may change what of a zone.
func Updates(c *config.Zone) update.Rules {
	var rules update.Rules
	for _, r := range c.Updates {
		rules = append(rules, update.Rule{
			Deny: r.Deny, Network: r.Network, Key: r.Key, Names: r.Names, Subtrees: r.Subtrees, Self: r.Self, Types: r.Types,
		})
	}
	return rules
}

// IsExported reports whether other servers may get the zone, so that it has to have the
// present answers for its steered names. A secondary hands on what it was given: whoever
// else has the zone from its primary holds the same records under the same serial.
func IsExported(c *config.Zone) bool {
	return c.Kind != "secondary" && (len(c.Transfer) > 0 || len(c.Notify) > 0)
}

// Reading returns what bounds what is read of a zone before the gate can look at it.
func Reading(c *config.Zone) masterfile.Limits {
	return masterfile.Limits{Records: int(c.Gate.MaxRecords)}
}
