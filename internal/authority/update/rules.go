package update

import (
	"net/netip"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Client is who asks for an update.
type Client struct {
	Address netip.Addr   // IPv4 as IPv4
	Key     dnsname.Name // that signed the message, zero if none did
}

// String names the client for logs and for the history of a zone.
func (c Client) String() string {
	if c.Key.IsZero() {
		return c.Address.String()
	}
	return c.Address.String() + " with key " + c.Key.String()
}

// Rule lets a client change some records, or keeps it from that.
type Rule struct {
	Deny    bool
	Network netip.Prefix // the client's address is in it; zero: any
	Key     dnsname.Name // the message is signed with it; zero: with any or none
	// Names and Subtrees are the owner names it is about: those of Names, and those
	// of Subtrees with all below. Self adds the name that the key has (BIND's "self").
	// With none of the three it is about all names of the zone.
	Names, Subtrees []dnsname.Name
	Self            bool
	// Types it is about; none: all but those of ownTypes. ANY stands for every type.
	Types []rdata.Type
}

// Rules are tried in their order, for every record of an update by itself. The
// first that is about the client, the name and the type decides; if there is none,
// the record may not be changed. So is it with BIND's update-policy.
type Rules []Rule

// ownTypes are the types that a rule without types is not about: those that make
// the zone what it is, and those that a signer makes (as with BIND's update-policy).
var ownTypes = []rdata.Type{rdata.TypeSOA, rdata.TypeNS, rdata.TypeRRSIG, rdata.TypeNSEC, rdata.TypeNSEC3}

// Knows reports whether any rule could let the client change anything: who is not
// known need not be read any further.
func (rs Rules) Knows(c Client) bool {
	return slices.ContainsFunc(rs, func(r Rule) bool { return !r.Deny && r.isFor(c) })
}

// Allow reports whether the client may change records of a name and type.
func (rs Rules) Allow(c Client, name dnsname.Name, t rdata.Type) bool {
	for _, r := range rs {
		if r.isFor(c) && r.isAboutName(c, name) && r.isAboutType(t) {
			return !r.Deny
		}
	}
	return false
}

func (r *Rule) isFor(c Client) bool {
	return (!r.Network.IsValid() || r.Network.Contains(c.Address)) && (r.Key.IsZero() || r.Key == c.Key)
}

func (r *Rule) isAboutName(c Client, name dnsname.Name) bool {
	if len(r.Names)+len(r.Subtrees) == 0 && !r.Self {
		return true
	}
	return slices.Contains(r.Names, name) || r.Self && !c.Key.IsZero() && name == c.Key ||
		slices.ContainsFunc(r.Subtrees, name.IsSubdomainOf)
}

func (r *Rule) isAboutType(t rdata.Type) bool {
	if len(r.Types) == 0 {
		return !slices.Contains(ownTypes, t)
	}
	return slices.Contains(r.Types, t) || slices.Contains(r.Types, rdata.TypeANY)
}
