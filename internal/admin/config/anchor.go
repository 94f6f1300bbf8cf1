package config

import (
	"fmt"
	"net/url"
	"strings"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Anchors returns the records of TrustAnchors.
func (r Resolver) Anchors() ([]rdata.Record, error) {
	var out []rdata.Record
	for i, text := range r.TrustAnchors {
		record, err := parseAnchor(text)
		if err != nil {
			return nil, fmt.Errorf("resolver.trustAnchors[%d]: %w", i, err)
		}
		out = append(out, record)
	}
	return out, nil
}

// parseAnchor reads "owner [TTL] [IN] DS|DNSKEY RDATA" (RFC 1035 §5.1).
func parseAnchor(text string) (rdata.Record, error) {
	fields := strings.Fields(text)
	if len(fields) < 3 {
		return rdata.Record{}, fmt.Errorf("%q is no record", text)
	}
	owner, err := dnsname.Parse(fields[0])
	if err != nil {
		return rdata.Record{}, err
	}
	for i, word := range fields[1:] {
		t, ok := rdata.ParseType(word)
		if !ok {
			continue // TTL and class
		}
		if t != rdata.TypeDS && t != rdata.TypeDNSKEY {
			return rdata.Record{}, fmt.Errorf("%v is no type of a trust anchor: want DS or DNSKEY", t)
		}
		data, err := rdata.ParseText(t, owner, strings.Join(fields[i+2:], " "))
		if err != nil {
			return rdata.Record{}, err
		}
		return rdata.Record{Name: owner, Type: t, Class: rdata.ClassIN, Data: data}, nil
	}
	return rdata.Record{}, fmt.Errorf("%q has no type: want DS or DNSKEY", text)
}

// checkResolver finds trust anchors that are none.
func (c *Config) checkResolver(to *checker) {
	d := c.Resolver.Designated
	if u, err := url.Parse(d.InfoURL); d.InfoURL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || len(d.InfoURL) > 200) {
		to.fail("resolver.designated.infoURL", fmt.Sprintf("%q is no https URL of at most 200 octets", d.InfoURL), "write it as in https://dns.example.com/about (RFC 9606 §4)")
	}
	if !d.Name.IsZero() && !c.Listen.HasEncrypted() {
		to.fail("resolver.designated.name", "there is no encrypted listener that clients could be told of", "add listen.dot, listen.doh or listen.doq, or leave the name out")
	}
	for i, text := range c.Resolver.TrustAnchors {
		if _, err := parseAnchor(text); err != nil {
			to.fail(fmt.Sprintf("resolver.trustAnchors[%d]", i), err.Error(), `write a DS or DNSKEY record, as in ". DS 20326 8 2 E06D..."`)
		}
	}
	if c.Resolver.Trust.File != "" && len(c.Resolver.TrustAnchors) > 0 {
		to.fail("resolver.trust.file", "resolver.trustAnchors has trust anchors too", "put all of them into one of the two")
	}
	c.checkLocalRoot(to)
	if !c.Resolver.Validate && len(c.Resolver.TrustAnchors) > 0 {
		to.fail("resolver.trustAnchors", "trust anchors are of no use while resolver.validate is false", "remove one of the two")
	}
}

// LocalRoot is a copy of the root zone (RFC 8806).
type LocalRoot struct {
	// Primaries are servers that the root zone is transferred from, the first that
	// answers. Each version is used only if it is signed by the trust anchors and its
	// ZONEMD digest fits (RFC 8976); it is kept in the data folder, and refreshed as its
	// SOA record says. Without a good copy the root's servers are asked as ever. Empty:
	// there is no copy, so that nothing depends on servers that need not allow transfers.
	Primaries []Peer `json:"primaries,omitzero" max:"32"`
	// File has the root zone as a master file, in place of primaries: as IANA publishes
	// it, fetched by other means. It is read again when it changes.
	File string `json:"file,omitzero" format:"file" example:"/var/lib/pharos/root.zone"`
}

// IsSet reports whether there is to be a copy.
func (l LocalRoot) IsSet() bool { return len(l.Primaries) > 0 || l.File != "" }

// Trust is what chains of trust begin with.
type Trust struct {
	// File has the trust anchors, in place of the built-in ones: DS or DNSKEY records in
	// master file form, such as Debian's /usr/share/dns/root.key; the file of
	// unbound-anchor or Unbound; or IANA's root-anchors.xml. It is read again when it changes;
	// one that cannot be read is the problem trust-damaged, and takes nothing away.
	File string `json:"file" format:"file" default:"" example:"/usr/share/dns/root.key"`
	// Update follows the keys of these zones as they change (RFC 5011): a new key that a
	// trusted one has signed for 30 days is trusted, a revoked one no longer. The states
	// are kept in the data folder. What is configured is where it begins. Without it only
	// what is configured counts.
	Update bool `json:"update" default:"true" example:"false"`
}

// checkLocalRoot finds what a copy of the root zone cannot be with.
func (c *Config) checkLocalRoot(to *checker) {
	if !c.Resolver.LocalRoot.IsSet() {
		return
	}
	if c.Resolver.LocalRoot.File != "" && len(c.Resolver.LocalRoot.Primaries) > 0 {
		to.fail("resolver.localRoot.file", "the copy comes from a file or from primaries", "remove one of the two")
	}
	if !c.Resolver.Validate {
		to.fail("resolver.localRoot", "a copy of the root zone is proven by DNSSEC, but resolver.validate is false", "remove one of the two")
	}
	for i, p := range c.Resolver.LocalRoot.Primaries {
		at := fmt.Sprintf("resolver.localRoot.primaries[%d]", i)
		c.checkKeyName(to, at, p.Key)
		c.checkPeerTLS(to, at+".tls", p.TLS, true)
	}
	for i, r := range c.Resolver.Routes {
		if r.Zone.IsRoot() {
			to.fail(fmt.Sprintf("resolver.routes[%d].zone", i), "a route for all names leaves nothing for resolver.localRoot", "remove one of the two")
		}
	}
}
