package config

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"pharos/internal/dns/dnsname"
)

// View is a set of zones for some clients only (split horizon). Names that are in
// none of its zones are answered from the zones outside of views, unless it is
// isolated.
type View struct {
	// Name is what commands and logs call the view: letters, digits, - and _.
	Name string `json:"name" required:"true" example:"inside"`
	// Clients are the networks that the view is for.
	Clients []netip.Prefix `json:"clients,omitzero" max:"10000"`
	// Keys are the keys that the view is for. What is signed with one of them belongs
	// to this view whatever address it comes from: so a secondary server can have the
	// zones of several views, with a key for each. Of several views that have a key it is
	// the first of those whose clients the sender is among, or else the first.
	Keys []dnsname.Name `json:"keys,omitzero" max:"1000"`
	// Isolated has the view answer nothing but its own zones, and recursion if that
	// is on.
	Isolated bool `json:"isolated" default:"false" example:"true"`
	// Recursion says whether clients of the view may use the resolver: inherit leaves
	// it to resolver.allow. Each view has a resolver and a cache of its own, so that
	// nothing learned in one is answered in another.
	Recursion string `json:"recursion" enum:"inherit,on,off" default:"inherit" example:"off"`
	// CacheSize is the memory for what the view's resolver has learned.
	CacheSize Size `json:"cacheSize" default:"64MiB" min:"1MiB" max:"1TiB" example:"16MiB"`
	// Resolver is what the view's resolver does otherwise than resolver says.
	Resolver ViewResolver `json:"resolver"`
	// Zones are the zones of the view, of any kind. The same zone may stand in several views
	// and outside of them, each with content, updates and signatures of its own. A catalog
	// lists zones of its view, and has its members served there. Commands call a zone by its
	// name and view, as in example.com@inside.
	Zones []Zone `json:"zones,omitzero" max:"100000"`
}

// ClientSubnet says whose word is taken for who asks (RFC 7871).
type ClientSubnet struct {
	// Trusted are the resolvers that may say for which of their clients they ask
	// (EDNS client subnet). The view is then chosen by that client's network. What
	// others say of it is ignored.
	Trusted []netip.Prefix `json:"trusted" default:"" max:"10000" example:"192.0.2.0/24"`
}

// EveryZone returns the zones outside of views and those within.
func (c *Config) EveryZone() []Zone {
	all := slices.Clip(c.Zones)
	for _, v := range c.Views {
		all = append(all, v.Zones...)
	}
	return all
}

var viewName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)

func (c *Config) checkViews(to *checker) {
	first := map[string]int{}
	for i, v := range c.Views {
		path := fmt.Sprintf("views[%d]", i)
		if v.Name != "" && !viewName.MatchString(v.Name) {
			to.fail(path+".name", fmt.Sprintf("%q is no name for a view", v.Name), "use letters, digits, - and _")
		}
		if j, twice := first[v.Name]; twice && v.Name != "" {
			to.fail(path+".name", fmt.Sprintf("view %s is already views[%d]", v.Name, j), "remove one of them")
		}
		first[v.Name] = i
		if len(v.Clients) == 0 && len(v.Keys) == 0 {
			to.fail(path, "the view is for nobody", "add clients or keys")
		}
		c.checkPrefixes(to, path+".clients", v.Clients)
		for k, key := range v.Keys {
			c.checkKeyName(to, fmt.Sprintf("%s.keys[%d]", path, k), key)
		}
		c.checkZoneList(to, path+".zones", v.Zones)
		checkMembership(to, path+".zones", v.Zones)
	}
	c.checkPrefixes(to, "dns.clientSubnet.trusted", c.DNS.ClientSubnet.Trusted)
}
