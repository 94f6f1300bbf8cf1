package config

import (
	"fmt"
	"net/netip"
	"slices"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Rewriting is what the resolver says in place of, or after, what the Internet says.
// Zones of this node are answered as they are, whatever stands here.
type Rewriting struct {
	// LocalData is what you say yourself about single names. It comes before all else.
	LocalData LocalData `json:"localData"`
	// HideTypes are types that are answered as if there were no such records, with the
	// extended error Filtered: [AAAA] for clients without IPv6.
	HideTypes []rdata.Type `json:"hideTypes,omitzero" max:"100" example:"AAAA"`
	// Policies are response policy zones (RPZ): lists of names, addresses and name
	// servers with what is to be answered about them. Of several that have something to
	// say the first one counts.
	Policies []PolicyZone `json:"policies,omitzero" max:"64"`
	// Rebinding keeps public names from having private addresses.
	Rebinding Rebinding `json:"rebinding"`
	// DNS64 makes addresses for clients that have IPv6 alone.
	DNS64 DNS64 `json:"dns64"`
}

// LocalData is what you say yourself about single names.
type LocalData struct {
	// Records are in master file form, with absolute names.
	Records []string `json:"records,omitzero" max:"100000" example:"printer.lan 300 A 192.0.2.7"`
	// Hosts are files of lines "address name...", as /etc/hosts, also as block lists
	// have them ("0.0.0.0 name"). Each address gets a PTR record to the first name
	// beside it. A file that changes is read again within seconds.
	Hosts []string `json:"hosts,omitzero" format:"file" max:"100" example:"/etc/hosts"`
	// Zones say what becomes of names without data. Outside of them names without data
	// are resolved.
	Zones []LocalZone `json:"zones,omitzero" max:"100000"`
}

// paths returns the names of files.
func (l *LocalData) paths() []*string {
	paths := make([]*string, len(l.Hosts))
	for i := range l.Hosts {
		paths[i] = &l.Hosts[i]
	}
	return paths
}

// LocalZone says what becomes of the names at and below one name.
type LocalZone struct {
	// Name is where the local zone begins. Of several above a name the closest counts.
	Name dnsname.Name `json:"name" required:"true" example:"lan"`
	// Kind is what becomes of them. Names with data have that, and others: transparent
	// are resolved, type-transparent too and so are types without data, static do not
	// exist, refuse are refused, drop get no answer. redirect: all names have the data of
	// the zone's name. nxdomain: none exists, nodata: none has records, pass: all are
	// resolved, data or not.
	Kind string `json:"kind" enum:"transparent,type-transparent,static,redirect,refuse,drop,nxdomain,nodata,pass" default:"static" example:"redirect"`
}

// PolicyZone is one response policy zone.
type PolicyZone struct {
	// Zone is the name of a zone of this node, of any kind; in a view also one outside of
	// views. It is not answered to clients, unless the zone's own query says to whom.
	Zone dnsname.Name `json:"zone" required:"true" example:"rpz.example.com"`
	// Action is what is done by its rules. given: what they say; disabled: nothing, but
	// it is counted and logged; any other: that, whatever they say.
	Action string `json:"action" enum:"given,disabled,passthru,nxdomain,nodata,drop,tcp-only,cname" default:"given" example:"disabled"`
	// CNAME is where action cname leads. In place of an asterisk as its first label
	// stands the name asked for.
	CNAME dnsname.Name `json:"cname,omitzero" example:"garden.example.com"`
	// ExtendedError is told with what does not exist by a rule (RFC 8914): blocked by
	// your own decision, censored by order of somebody else, filtered as the client
	// wished. With other answers made by a rule it is Forged Answer. none: nothing is
	// told.
	ExtendedError string `json:"extendedError" enum:"blocked,censored,filtered,none" default:"blocked" example:"filtered"`
}

// Rebinding keeps public names from having private addresses: a page from one site
// would have its name changed to an address inside, and read what is there.
type Rebinding struct {
	// Protect takes such addresses out of answers, with the extended error Blocked. It is
	// off by default because many honest names have private addresses: those of your
	// own networks in public zones, of VPNs, of devices with certificates.
	Protect bool `json:"protect" default:"false" example:"true"`
	// Private are the addresses that public names have no business with.
	Private []netip.Prefix `json:"private" default:"0.0.0.0/8,10.0.0.0/8,100.64.0.0/10,127.0.0.0/8,169.254.0.0/16,172.16.0.0/12,192.168.0.0/16,::/127,fc00::/7,fe80::/10" max:"1000" example:"10.0.0.0/8"`
	// Except are names at and below which they are fine. So are names of routes to other
	// servers than those of all names.
	Except []dnsname.Name `json:"except,omitzero" max:"10000" example:"corp.example.com"`
}

// DNS64 makes AAAA records of A records for names that have none (RFC 6147), for
// clients behind a NAT64.
type DNS64 struct {
	// Prefixes are those of the NAT64, of length 32, 40, 48, 56, 64 or 96; each gives an
	// address for each A record. None: there is no DNS64. 64:ff9b::/96 is the
	// well-known one.
	Prefixes []netip.Prefix `json:"prefixes,omitzero" max:"8" example:"64:ff9b::/96"`
	// Exclude are networks of AAAA records that count as if they were not there.
	Exclude []netip.Prefix `json:"exclude" default:"::ffff:0:0/96" max:"100" example:"2001:db8::/32"`
	// IgnoreAAAA are names at and below which AAAA records are passed over where there
	// are A records.
	IgnoreAAAA []dnsname.Name `json:"ignoreAAAA,omitzero" max:"1000" example:"broken6.example.com"`
	// Private makes addresses also of private IPv4 addresses with the well-known prefix,
	// which RFC 6052 forbids; with others they always are.
	Private bool `json:"private" default:"false" example:"true"`
}

// ViewResolver is what the resolver of a view does otherwise than resolver says.
type ViewResolver struct {
	// Inherit takes over what resolver says of keys that are not set here. With false
	// only what stands here holds.
	Inherit bool `json:"inherit" default:"true" example:"false"`
	Rewriting
}

// Over returns what holds in a view, outside of which outer holds.
func (v *ViewResolver) Over(outer *Rewriting) *Rewriting {
	if !v.Inherit {
		return &v.Rewriting
	}
	r := v.Rewriting
	if l := &r.LocalData; len(l.Records)+len(l.Hosts)+len(l.Zones) == 0 {
		r.LocalData = outer.LocalData
	}
	if len(r.HideTypes) == 0 {
		r.HideTypes = outer.HideTypes
	}
	if len(r.Policies) == 0 {
		r.Policies = outer.Policies
	}
	if !r.Rebinding.Protect {
		r.Rebinding = outer.Rebinding
	}
	if len(r.DNS64.Prefixes) == 0 {
		r.DNS64 = outer.DNS64
	}
	return &r
}

// checkRewriting checks what stands at path; zones are those that may be policy zones.
func (c *Config) checkRewriting(to *checker, path string, r *Rewriting, zones []Zone) {
	seen := map[dnsname.Name]bool{}
	for i, p := range r.Policies {
		at := fmt.Sprintf("%s.policies[%d]", path, i)
		switch known := slices.ContainsFunc(zones, func(z Zone) bool { return z.Name == p.Zone }); {
		case p.Zone.IsZero():
		case !known:
			to.fail(at+".zone", fmt.Sprintf("%s is none of the zones", p.Zone), "add it to zones: with its file, or with the primaries it is transferred from")
		case seen[p.Zone]:
			to.fail(at+".zone", fmt.Sprintf("%s stands twice", p.Zone), "remove the second one, which has nothing more to say")
		}
		seen[p.Zone] = true
		if (p.Action == "cname") != !p.CNAME.IsZero() {
			to.fail(at+".cname", "cname goes with action cname, and only with that", "add or remove one of the two")
		}
	}
	c.checkPrefixes(to, path+".rebinding.private", r.Rebinding.Private)
	c.checkPrefixes(to, path+".dns64.prefixes", r.DNS64.Prefixes)
	c.checkPrefixes(to, path+".dns64.exclude", r.DNS64.Exclude)
	first := map[dnsname.Name]bool{}
	for i, z := range r.LocalData.Zones {
		if first[z.Name] {
			to.fail(fmt.Sprintf("%s.localData.zones[%d].name", path, i), fmt.Sprintf("%s stands twice", z.Name), "remove one of them")
		}
		first[z.Name] = true
	}
}

// checkRewritings checks what stands outside of views and within.
func (c *Config) checkRewritings(to *checker) {
	c.checkRewriting(to, "resolver", &c.Resolver.Rewriting, c.Zones)
	for i, v := range c.Views {
		c.checkRewriting(to, fmt.Sprintf("views[%d].resolver", i), &v.Resolver.Rewriting, append(slices.Clip(v.Zones), c.Zones...))
	}
}

// policyZones adds the zones with policies to those that not everybody may ask about.
func (c *Config) policyZones(rules map[dnsname.Name][]TransferRule) {
	add := func(r *Rewriting) {
		for _, p := range r.Policies {
			if _, there := rules[p.Zone]; !there {
				rules[p.Zone] = nil // nobody
			}
		}
	}
	add(&c.Resolver.Rewriting)
	for i := range c.Views {
		add(&c.Views[i].Resolver.Rewriting)
	}
}
