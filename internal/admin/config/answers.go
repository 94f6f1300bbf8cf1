package config

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"pharos/internal/dns/dnsname"
)

// Answers are choices of what is answered, and to whom.
type Answers struct {
	// Access says who may ask at all, for each listener: the first entry that names
	// the listener a query came to, or names none, decides. Without an entry
	// everybody may ask. It is looked at before anything else: views, the rules of
	// zones, the resolver.
	Access []Access `json:"access,omitzero" max:"1000"`
	// ClientSubnet says whose word is taken for who asks.
	ClientSubnet ClientSubnet `json:"clientSubnet"`
	// MinimalResponses leaves out what an answer can do without: addresses of mail,
	// service and name servers beside the records that name them. Glue in referrals
	// stays, for it is needed.
	MinimalResponses bool `json:"minimalResponses" default:"false" example:"true"`
	// Identity is told in class CH, for debugging. What is empty is refused.
	Identity Identity `json:"identity"`
	// CookieSecretPrevious is the secret before CookieSecret (RFC 9018 §5): cookies
	// made with it are good still, and answered with new ones. To change secrets on
	// several servers, give all of them the new one here first, then swap the two,
	// and an hour later remove the old one.
	CookieSecretPrevious string `json:"cookieSecretPrevious" default:"" example:"445536bcd2513298075a5d379663c962"`
	// RateLimits refines RateLimit.
	RateLimits RateLimits `json:"rateLimits"`
}

// Access says who may ask at the listeners it names.
type Access struct {
	// Listeners are the addresses of listen.* that the entry is for; all if there
	// are none. An address such as 0.0.0.0:53 is for what comes to any of the
	// addresses that it stands for.
	Listeners []netip.AddrPort `json:"listeners,omitzero" max:"64"`
	// Allow are the networks that may ask; everybody if there are none.
	Allow []netip.Prefix `json:"allow,omitzero" max:"10000"`
	// Deny are the networks that may not. Of the entries of both lists the longest
	// that holds the client's address decides; of equal ones, deny.
	Deny []netip.Prefix `json:"deny,omitzero" max:"10000"`
	// Drop gives those who may not ask no answer at all, in place of REFUSED with
	// the extended error Prohibited. Who is dropped asks again, and again.
	Drop bool `json:"drop" default:"false" example:"true"`
}

// Identity is what the server tells about itself in class CH.
type Identity struct {
	// Name is the answer to TXT of id.server and hostname.bind (RFC 4892).
	Name string `json:"name" default:"" example:"ns1.fra"`
	// Version is the answer to TXT of version.server and version.bind.
	Version string `json:"version" default:"" example:"Pharos"`
}

// RateLimits refines the limit of answers over UDP. A limit of 0 is that of
// RateLimit; without RateLimit none of this has an effect.
type RateLimits struct {
	// Slip is one of how many answers too many is sent all the same, without
	// records and marked as truncated, so that a client whose address was forged
	// comes by TCP. 1: all are; 0: none, all are dropped.
	Slip int `json:"slip" default:"2" min:"0" max:"100" example:"1"`
	// IPv4Prefix is how many leading bits of an address make a network with one
	// account.
	IPv4Prefix int `json:"ipv4Prefix" default:"24" min:"1" max:"32" example:"32"`
	// IPv6Prefix is the same for IPv6.
	IPv6Prefix int `json:"ipv6Prefix" default:"56" min:"1" max:"64" example:"64"`
	// Answer is the limit of answers with records in a second.
	Answer int `json:"answer" default:"0" min:"0" max:"1000000" example:"100"`
	// Empty is the limit of referrals and of answers without records.
	Empty int `json:"empty" default:"0" min:"0" max:"1000000" example:"50"`
	// NXDomain is the limit of answers that a name does not exist.
	NXDomain int `json:"nxdomain" default:"0" min:"0" max:"1000000" example:"20"`
	// Failure is the limit of all other response codes.
	Failure int `json:"failure" default:"0" min:"0" max:"1000000" example:"10"`
}

// maxIdentity is what one character-string of a TXT record can have, in octets.
const maxIdentity = 255

func (c *Config) checkAnswers(to *checker) {
	c.checkTaps(to)
	c.checkAccessLines(to)
	c.checkTracing(to)
	c.checkCompression(to)
	c.checkPrefixes(to, "alias.refuse", c.Alias.Refuse)
	if c.Alias.MaxRefresh < c.Alias.MinRefresh {
		to.fail("alias.maxRefresh", "less than alias.minRefresh", "raise it, or lower the other")
	}
	c.checkViews(to)
	d := &c.DNS
	if secret, err := hex.DecodeString(d.CookieSecretPrevious); d.CookieSecretPrevious != "" && (err != nil || len(secret) != 16) {
		to.fail("dns.cookieSecretPrevious", "not 32 hexadecimal digits", "take the secret that was in use before")
	}
	if d.CookieSecretPrevious != "" && d.CookieSecret == "" {
		to.fail("dns.cookieSecretPrevious", "there is no dns.cookieSecret that came after it", "add cookieSecret, or remove this")
	}
	for key, text := range map[string]string{"name": d.Identity.Name, "version": d.Identity.Version} {
		if len(text) > maxIdentity {
			to.fail("dns.identity."+key, fmt.Sprintf("%d octets, which one string of a TXT record cannot have", len(text)), fmt.Sprintf("choose a text of at most %d", maxIdentity))
		}
	}
	for i, a := range d.Access {
		path := fmt.Sprintf("dns.access[%d]", i)
		if len(a.Allow) == 0 && len(a.Deny) == 0 {
			to.fail(path, "the entry neither allows nor denies anybody", "add allow or deny, or remove it")
		}
		c.checkPrefixes(to, path+".allow", a.Allow)
		c.checkPrefixes(to, path+".deny", a.Deny)
	}
}

// checkPrefixes checks that networks are written without host bits, which may be a
// mistake for something else.
func (c *Config) checkPrefixes(to *checker, path string, prefixes []netip.Prefix) {
	for i, p := range prefixes {
		if p.IsValid() && p != p.Masked() {
			to.fail(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%v has bits set after its length", p), fmt.Sprintf("write %v, or %v/%d for the one address", p.Masked(), p.Addr(), p.Addr().BitLen()))
		}
	}
}

// checkQuery checks the rules of who may ask about a zone.
func (c *Config) checkQuery(to *checker, path string, rules []TransferRule) {
	for i, r := range rules {
		at := fmt.Sprintf("%s.query[%d]", path, i)
		if !r.Network.IsValid() && r.Key.IsZero() {
			to.fail(at, "the rule names nobody", "add network or key")
		}
		if r.TLS != (TransferTLS{}) {
			to.fail(at+".tls", "only rules of transfer look at TLS", "remove it")
		}
		c.checkKeyName(to, at, r.Key)
	}
}

// Restricted returns the zones that not everybody may ask about.
func (c *Config) Restricted() map[dnsname.Name][]TransferRule {
	rules := map[dnsname.Name][]TransferRule{}
	for _, z := range c.Zones {
		if len(z.Query) > 0 {
			rules[z.Name] = z.Query
		}
	}
	c.policyZones(rules)
	return rules
}

// Alias bounds how ALIAS records are resolved: names that have the addresses of
// another one, be it at the apex of a zone.
type Alias struct {
	// MinRefresh is how often a target is asked for at most, however short its TTL.
	// Each change of its addresses is a new version of the zone.
	MinRefresh Duration `json:"minRefresh" default:"30s" min:"1s" max:"24h" example:"5m"`
	// MaxRefresh is how often it is asked for at least, however long its TTL.
	MaxRefresh Duration `json:"maxRefresh" default:"1h" min:"1s" max:"24h" example:"10m"`
	// Keep leaves the ALIAS records in the zone, in answers and in transfers, beside
	// the addresses: for secondaries that resolve them as well.
	Keep bool `json:"keep" default:"false" example:"true"`
	// MaxPerZone is how many ALIAS records of one zone are resolved: each has the
	// resolver work for whoever writes the zone. Those beyond it are answered SERVFAIL.
	MaxPerZone int `json:"maxPerZone" default:"1000" min:"0" max:"10000" example:"10"`
	// Refuse are networks whose addresses are not taken from a target: whoever owns its
	// name would have them answered in the name of our zones. Add your private ones if
	// zones are written by strangers.
	Refuse []netip.Prefix `json:"refuse" default:"0.0.0.0/8,127.0.0.0/8,169.254.0.0/16,224.0.0.0/4,::/127,fe80::/10,ff00::/8" max:"10000" example:"10.0.0.0/8"`
}
