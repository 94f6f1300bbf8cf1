package config

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// checker records what does not agree within a file.
type checker struct {
	file     string
	root     *document.Node
	problems *document.Problems
}

// fail records a problem with the value at path.
func (c *checker) fail(path, text, remedy string) {
	p := document.Problem{File: c.file, Path: path, Text: text, Remedy: remedy}
	if c.root != nil {
		at := c.root.At(path)
		p.Line, p.Column = at.Line, at.Column
		p.Text = c.placed(text, path, at.Line)
	}
	c.problems.Add(p)
}

// mention is an entry of a list, or a key of one, in a text.
var mention = regexp.MustCompile(`\b[a-z][A-Za-z]*(\.[A-Za-z]+)*\[[0-9]+\]([.\[][A-Za-z0-9]+\]?)*`)

// placed returns a text with the lines of the other entries that it mentions, by whole paths
// or by those from where it is about.
func (c *checker) placed(text, about string, line int) string {
	return mention.ReplaceAllStringFunc(text, func(path string) string {
		for within := about; ; within = within[:max(strings.LastIndexAny(within, ".["), 0)] {
			whole := strings.TrimPrefix(within+"."+path, ".")
			if n := c.root.At(whole); n != c.root.At(whole[:strings.LastIndexAny(whole, ".[")]) { // it is there
				if n.Line == 0 || n.Line == line {
					return path
				}
				return fmt.Sprintf("%s (line %d)", path, n.Line)
			}
			if within == "" {
				return path
			}
		}
	})
}

// check reports what is wrong between the keys of a file, each of which is well
// formed by itself.
func (c *Config) check(to *checker) {
	c.checkListen(to)
	c.checkKeys(to)
	c.checkDNS(to)
	c.checkAnswers(to)
	c.checkRoutes(to)
	c.checkResolver(to)
	c.checkRewritings(to)
	c.checkZones(to)
	checkMembership(to, "zones", c.Zones)
	c.checkDNSSEC(to)
	c.Resources.Check(to.fail)
	c.checkSameRoutes(to)
	c.checkSteering(to)
	c.checkGateway(to)
	c.checkStreams(to)
}

// checkListen finds addresses that two listeners want.
func (c *Config) checkListen(to *checker) {
	taken, said := map[string]string{}, map[string]bool{}
	claim := func(protocol, path string, list []netip.AddrPort) {
		for i, a := range list {
			at := fmt.Sprintf("%s[%d]", path, i)
			if path == "listen.admin" {
				at = path
			}
			key := protocol + " " + a.String()
			if other, ok := taken[key]; ok && a.Port() != 0 && !said[at] {
				said[at] = true
				to.fail(at, fmt.Sprintf("%s is already used by %s", a, other), "choose another address or port")
			} else if !ok {
				taken[key] = at
			}
		}
	}
	l := &c.Listen
	claim("tcp", "listen.dns", l.DNS)
	claim("udp", "listen.dns", l.DNS)
	claim("tcp", "listen.dot", l.DoT)
	claim("tcp", "listen.doh", l.DoH)
	claim("udp", "listen.doh3", l.DoH3)
	claim("udp", "listen.doq", l.DoQ)
	claim("tcp", "listen.http", l.HTTP)
	claim("tcp", "listen.https", l.HTTPS)
	if c.Gateway.HTTP3.Enabled {
		claim("udp", "listen.https", l.HTTPS)
	}
	if l.Admin.IsValid() {
		claim("tcp", "listen.admin", []netip.AddrPort{l.Admin})
	}
	for i := range c.Streams {
		claim(c.Streams[i].Protocol, fmt.Sprintf("streams[%d].listen", i), c.Streams[i].Listen)
	}
	if c.HasTLS() && len(c.TLS.Certificates) == 0 && !c.TLS.SelfSigned {
		to.fail("listen", "encrypted listeners need a certificate", "add tls: {certificates: [{certificate: FILE, key: FILE}]}, or, to try them out, tls: {selfSigned: true}")
	}
}

// HasEncrypted reports whether there is an encrypted listener of DNS.
func (l *Listen) HasEncrypted() bool { return len(l.DoT)+len(l.DoH)+len(l.DoH3)+len(l.DoQ) > 0 }

func (c *Config) checkDNS(to *checker) {
	if p := c.DNS.Encrypted.Path; !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "{}?# ") {
		to.fail("dns.encrypted.path", fmt.Sprintf("%q is no path of a URI", p), "begin it with a slash, as in /dns-query")
	}
	if n := len(c.DNS.NSID); n > maxNSID {
		to.fail("dns.nsid", fmt.Sprintf("%d octets, but every answer has to have room for it", n), fmt.Sprintf("choose a name of at most %d", maxNSID))
	}
	if secret, err := hex.DecodeString(c.DNS.CookieSecret); c.DNS.CookieSecret != "" && (err != nil || len(secret) != 16) {
		to.fail("dns.cookieSecret", "not 32 hexadecimal digits", "make one with: openssl rand -hex 16")
	}
}

// checkRoutes checks that each zone has one route, to servers that can be asked.
func (c *Config) checkRoutes(to *checker) {
	first := map[dnsname.Name]int{}
	for i, r := range c.Resolver.Routes {
		at := fmt.Sprintf("resolver.routes[%d]", i)
		if j, twice := first[r.Zone]; twice && !r.Zone.IsZero() {
			to.fail(at+".zone", fmt.Sprintf("%s has a route already, resolver.routes[%d]", r.Zone, j), "put all servers into one of them")
		}
		first[r.Zone] = i
		c.checkEncrypted(to, at, r)
		c.checkDiscover(to, at, r)
		for k, s := range r.Servers {
			if s.IsValid() && s.Port() == 0 {
				to.fail(fmt.Sprintf("%s.servers[%d]", at, k), "port 0 cannot be reached", "name the server's port, which is 53 in general")
			}
		}
	}
}

// maxDiscovering bounds the routes that discover: each of their servers is asked all the
// time, over connections of its own.
const maxDiscovering = 16

// checkDiscover checks that there is something to discover.
func (c *Config) checkDiscover(to *checker, at string, r ResolverRoute) {
	switch {
	case r.Discover == "" || r.Discover == "off":
		if r.DiscoverCA != "" {
			to.fail(at+".discoverCA", "nothing is discovered", "set discover to opportunistic or strict, or leave it out")
		}
		return
	case r.Kind != "forward":
		to.fail(at+".discover", "only resolvers say how they can be asked encrypted, and a stub zone's servers are none", "leave it out, or make the kind forward")
	case len(r.Servers) == 0:
		to.fail(at+".discover", "the route has no servers to ask in the clear first", "add servers, or leave it out")
	}
	count := 0
	for _, other := range c.Resolver.Routes {
		if other.Discover != "" && other.Discover != "off" {
			count++
		}
	}
	if count > maxDiscovering {
		to.fail(at+".discover", fmt.Sprintf("%d routes discover, more than %d", count, maxDiscovering), "write encrypted servers for the others")
	}
}

// checkEncrypted checks that a route has servers, of one kind, and that encrypted
// ones can be known.
func (c *Config) checkEncrypted(to *checker, at string, r ResolverRoute) {
	switch {
	case len(r.Servers) == 0 && len(r.Encrypted) == 0:
		to.fail(at, "the route leads to no server", "add servers: [ADDRESS:53], or encrypted: [{address: ADDRESS:853, tls: {name: NAME}}]")
	case len(r.Servers) > 0 && len(r.Encrypted) > 0:
		to.fail(at, "what goes to its encrypted servers would go to the others in clear text when they fail", "leave servers or encrypted out")
	}
	for k, s := range r.Encrypted {
		path := fmt.Sprintf("%s.encrypted[%d]", at, k)
		if s.Address.IsValid() && s.Address.Port() == 0 {
			to.fail(path+".address", "port 0 cannot be reached", "name the server's port: 853 for dot and doq, 443 for doh in general")
		}
		if s.TLS == (PeerTLS{}) {
			to.fail(path+".tls", "nothing says how the server is known", "add name, the name in its certificate, or pin, the SHA-256 of its public key")
		}
		c.checkPeerTLS(to, path+".tls", s.TLS, true)
		if !strings.HasPrefix(s.Path, "/") || strings.ContainsAny(s.Path, "{}?# ") {
			to.fail(path+".path", fmt.Sprintf("%q is no path of a URI", s.Path), "begin it with a slash, as in /dns-query; questions are sent by POST")
		}
	}
}

// maxNSID is what the DNS listeners keep room for in every answer, in octets.
const maxNSID = 64

func (c *Config) checkZones(to *checker) { c.checkZoneList(to, "zones", c.Zones) }

// checkZoneList checks the zones of one view, or those outside of views.
func (c *Config) checkZoneList(to *checker, path string, zones []Zone) {
	first := map[dnsname.Name]int{}
	for i, z := range zones {
		at := fmt.Sprintf("%s[%d]", path, i)
		if z.IsSet() {
			c.checkSet(to, at, z)
			continue
		}
		if z.Names != "" {
			to.fail(at+".names", "the entry has a name already", "remove name, or names")
		}
		if j, twice := first[z.Name]; twice {
			to.fail(at+".name", fmt.Sprintf("zone %s is already %s[%d]", z.Name, path, j), "remove one of them")
			continue
		}
		first[z.Name] = i
		c.checkZone(to, at, z)
	}
}

// checkZone checks that a zone has what its kind needs, and no more, and that the
// keys it names exist.
func (c *Config) checkZone(to *checker, path string, z Zone) {
	switch z.Kind {
	case "file":
		if z.File == "" {
			to.fail(path, `"file" is missing`, "add it, for example file: zones/example.com.zone")
		}
		if len(z.Primaries) > 0 {
			to.fail(path+".primaries", "only a zone of kind secondary has primaries", "add kind: secondary, or remove them")
		}
	case "catalog":
		if z.File != "" || len(z.Primaries) > 0 {
			to.fail(path, "a zone of kind catalog is made here: it has no file and no primaries", "remove them; to serve the members of a catalog that comes from elsewhere, give the zone the key catalog")
		}
	case "store":
		if len(z.Primaries) > 0 {
			to.fail(path+".primaries", "only a zone of kind secondary has primaries", "make it kind: secondary, or remove them")
		}
	case "secondary":
		if len(z.Primaries) == 0 {
			to.fail(path, `a secondary zone needs "primaries"`, `add them, for example primaries: [{address: "192.0.2.1:53"}]`)
		}
		if z.File != "" {
			to.fail(path+".file", "a zone of kind secondary has no file: it is kept in the data folder", "remove it")
		}
	}
	for _, list := range []struct {
		name  string
		peers []Peer
	}{{"primaries", z.Primaries}, {"notify", z.Notify}} {
		for i, p := range list.peers {
			at := fmt.Sprintf("%s.%s[%d]", path, list.name, i)
			if p.Address.IsValid() && p.Address.Port() == 0 {
				to.fail(at+".address", "port 0 cannot be reached", "name the server's port, which is 53 in general")
			}
			c.checkKeyName(to, at, p.Key)
			c.checkPeerTLS(to, at+".tls", p.TLS, list.name == "primaries")
		}
	}
	c.checkQuery(to, path, z.Query)
	for i, r := range z.Transfer {
		at := fmt.Sprintf("%s.transfer[%d]", path, i)
		if !r.Network.IsValid() && r.Key.IsZero() && r.TLS.CA == "" {
			to.fail(at, "the rule names nobody", "add network, key or tls.ca")
		}
		if r.TLS.Name != "" && r.TLS.CA == "" {
			to.fail(at+".tls", "a name in a certificate that anybody may have signed says nothing", `add "ca", the file with the authorities that are believed`)
		}
		if r.TLS != (TransferTLS{}) && len(c.Listen.DoT)+len(c.Listen.DoQ) == 0 {
			to.fail(at+".tls", "there is no listener for transfers over TLS", `add listen: {dot: ["0.0.0.0:853"]}`)
		}
		c.checkKeyName(to, at, r.Key)
	}
	c.checkUpdates(to, path, z)
	c.checkCatalog(to, path, z)
}

// checkUpdates checks the rules of dynamic update, and that the zone's kind can be
// updated.
func (c *Config) checkUpdates(to *checker, path string, z Zone) {
	if len(z.Updates) > 0 && z.Kind != "store" {
		to.fail(path+".updates", fmt.Sprintf("a zone of kind %s cannot be changed by updates", z.Kind), "make it kind: store, or remove the rules")
	}
	if z.Children.CDS == "follow" && (z.Kind != "store" || strings.HasPrefix(path, "views")) {
		to.fail(path+".children.cds", "only a zone of kind store, outside of views, can be changed as its children ask", "remove it, or make it such a zone")
	}
	if z.Children.Bootstrap && len(c.Resolver.Allow) == 0 {
		to.fail(path+".children.bootstrap", "signals of name servers are found by the resolver, which is off", "turn it on with resolver.allow, if only for 127.0.0.1")
	}
	if z.ForwardUpdates && z.Kind != "secondary" {
		to.fail(path+".forwardUpdates", "only a zone of kind secondary has a primary to send updates to", "remove it")
	}
	for i, r := range z.Updates {
		at := fmt.Sprintf("%s.updates[%d]", path, i)
		if !r.Network.IsValid() && r.Key.IsZero() && !r.Deny {
			to.fail(at, "the rule lets everybody change the zone", "add key or network")
		}
		if r.Self && r.Key.IsZero() && !r.Network.IsValid() {
			to.fail(at+".self", "the rule names no key or network", "add one")
		}
		for _, list := range []struct {
			key   string
			names []dnsname.Name
		}{{"names", r.Names}, {"subtrees", r.Subtrees}} {
			for j, name := range list.names {
				if !name.IsSubdomainOf(z.Name) {
					to.fail(fmt.Sprintf("%s.%s[%d]", at, list.key, j), fmt.Sprintf("%s is not in zone %s", name, z.Name), "write the whole name, with the zone's")
				}
			}
		}
		for j, t := range r.Types {
			if t.IsMeta() && t != rdata.TypeANY && t != 0 { // 0 is reported as no type
				to.fail(fmt.Sprintf("%s.types[%d]", at, j), fmt.Sprintf("no zone has records of type %s", t), "remove it")
			}
		}
		c.checkKeyName(to, at, r.Key)
	}
}

// checkPeerTLS checks how a server is known.
func (c *Config) checkPeerTLS(to *checker, path string, t PeerTLS, primary bool) {
	switch {
	case t == PeerTLS{}:
	case !primary:
		to.fail(path, "NOTIFY goes over UDP and TCP, not over TLS", "remove it; a key signs the message")
	case t.Name == "" && t.Pin == "":
		to.fail(path, "nothing says how the server is known", "add name, the name in its certificate, or pin, the SHA-256 of its public key")
	case (t.Certificate == "") != (t.Key == ""):
		to.fail(path, "a certificate needs its key, and a key its certificate", "add the other one")
	}
	if pin, err := base64.StdEncoding.DecodeString(t.Pin); t.Pin != "" && (err != nil || len(pin) != 32) {
		to.fail(path+".pin", "not the 32 octets of a SHA-256 in base64", "print it with: openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64")
	}
}

// checkKeyName checks that the key called name exists, if there is a name.
func (c *Config) checkKeyName(to *checker, path string, name dnsname.Name) {
	if !name.IsZero() && !slices.ContainsFunc(c.Keys, func(k Key) bool { return k.Name == name }) {
		to.fail(path+".key", fmt.Sprintf("there is no key %s", name), "add it under keys")
	}
}

func (c *Config) checkKeys(to *checker) {
	first := map[dnsname.Name]int{}
	for i, k := range c.Keys {
		path := fmt.Sprintf("keys[%d]", i)
		if j, twice := first[k.Name]; twice && !k.Name.IsZero() {
			to.fail(path+".name", fmt.Sprintf("key %s is already keys[%d]", k.Name, j), "remove one of them")
		} else {
			first[k.Name] = i
		}
		if (k.Secret == "") == (k.SecretFile == "") {
			to.fail(path, "a key needs either secret or secretFile", "make one with: head -c 32 /dev/urandom | base64")
		}
		if k.Secret != "" {
			if _, err := DecodeSecret(k.Secret); err != nil {
				to.fail(path+".secret", err.Error(), "make one with: head -c 32 /dev/urandom | base64")
			}
		}
	}
}

// DecodeSecret reads the secret of a key. Its errors do not show the text.
func DecodeSecret(text string) ([]byte, error) {
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the secret is not base64")
	}
	if len(secret) == 0 {
		return nil, errors.New("the secret is empty")
	}
	return secret, nil
}
