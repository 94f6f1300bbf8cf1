package migrate

import (
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// This file is what a Plan has of TLS: listeners, certificates, how other servers are
// known, and transfers that want it.

// Encrypted are the listeners that are not in clear text, and what they show.
type Encrypted struct {
	DoT, DoH, DoQ []netip.AddrPort
	Path          string // of DoH; "": the usual one
	Certificates  []Certificate
	SelfSigned    bool
}

// Certificate is a certificate and its key, in files.
type Certificate struct{ File, Key string }

// PeerTLS says how a server is known; the zero PeerTLS: it is asked in clear text.
type PeerTLS struct {
	Name, CA, Pin    string
	Certificate, Key string // what is shown to it
}

// RuleTLS is what a client has to show before it gets a zone.
type RuleTLS struct {
	Required bool
	CA, Name string
}

// known reports whether it can be told that a server is the one that is meant: with TLS
// that is a must here, as else anybody on the way could be it.
func (t PeerTLS) known() bool { return t.Name != "" || t.Pin != "" }

const unknownServer = "nothing says how the server is known, and anybody could take its place: write its name, or the pin of its key, under tls of the server"

// addCertificate takes a certificate once.
func (e *Encrypted) addCertificate(c Certificate) {
	if c.File != "" && c.Key != "" && !slices.Contains(e.Certificates, c) {
		e.Certificates = append(e.Certificates, c)
	}
}

// isPin reports whether text is a SHA-256 in base64.
func isPin(text string) bool {
	octets, err := base64.StdEncoding.DecodeString(text)
	return err == nil && len(octets) == 32
}

// finishTLS leaves out what our configuration would refuse: listeners without a
// certificate, and rules for TLS without a listener.
func (r *reader) finishTLS(at place, zones []*Zone) {
	e := &r.result.Plan.Encrypted
	e.DoT, e.DoH, e.DoQ = unique(e.DoT), unique(e.DoH), unique(e.DoQ)
	e.Certificates = atMost(r, at, "certificates", e.Certificates, maxRules)
	for _, list := range []*[]netip.AddrPort{&e.DoT, &e.DoH, &e.DoQ} {
		*list = atMost(r, at, "encrypted addresses to listen on", *list, maxListen)
	}
	// TCP of DNS, DoT and DoH share their ports, as do UDP of DNS and DoQ.
	r.withoutClash(at, &e.DoT, r.result.Plan.Listen)
	r.withoutClash(at, &e.DoH, r.result.Plan.Listen, e.DoT)
	r.withoutClash(at, &e.DoQ, r.result.Plan.Listen)
	if any := len(e.DoT)+len(e.DoH)+len(e.DoQ) > 0; any && len(e.Certificates) == 0 && !e.SelfSigned {
		r.note(at, "encrypted listeners", "they have no certificate here: write it under tls.certificates, and the addresses under listen")
		e.DoT, e.DoH, e.DoQ = nil, nil, nil
	}
	if len(e.DoT)+len(e.DoQ) > 0 {
		return
	}
	for _, z := range zones {
		z.Transfer = slices.DeleteFunc(z.Transfer, func(rule Rule) bool {
			bad := rule.TLS != RuleTLS{}
			if bad {
				r.note(at, "transfer rule of zone "+z.Name, "it is for TLS, and there is no listener for that: write one under listen.dot")
			}
			return bad
		})
	}
}

// withoutClash takes out of list what others listen on.
func (r *reader) withoutClash(at place, list *[]netip.AddrPort, others ...[]netip.AddrPort) {
	*list = slices.DeleteFunc(*list, func(a netip.AddrPort) bool {
		bad := slices.ContainsFunc(others, func(o []netip.AddrPort) bool { return slices.Contains(o, a) })
		if bad {
			r.note(at, "listener at "+a.String(), "another listener has this address and port")
		}
		return bad
	})
}

// write writes listen and tls.
func (p *Plan) writeListen(b *strings.Builder) {
	e := &p.Encrypted
	if len(p.Listen)+len(e.DoT)+len(e.DoH)+len(e.DoQ) > 0 {
		b.WriteString("listen:\n")
	}
	for _, l := range []struct {
		key  string
		list []netip.AddrPort
	}{{"dns", p.Listen}, {"dot", e.DoT}, {"doh", e.DoH}, {"doq", e.DoQ}} {
		if len(l.list) > 0 {
			fmt.Fprintf(b, "  %s: %s\n", l.key, flow(l.list))
		}
	}
	if len(e.Certificates) > 0 || e.SelfSigned {
		b.WriteString("tls:\n")
	}
	if e.SelfSigned {
		b.WriteString("  selfSigned: true\n")
	}
	if len(e.Certificates) > 0 {
		b.WriteString("  certificates:\n")
	}
	for _, c := range e.Certificates {
		fmt.Fprintf(b, "    - {certificate: %s, key: %s}\n", quote(c.File), quote(c.Key))
	}
}

// parts returns the key tls of a server, if it has one.
func (t PeerTLS) parts() []string {
	return tlsParts([][2]string{{"name", t.Name}, {"ca", t.CA}, {"pin", t.Pin}, {"certificate", t.Certificate}, {"key", t.Key}})
}

// parts returns the key tls of a rule, if it has one.
func (t RuleTLS) parts() []string {
	if t.Required && t.CA == "" {
		return []string{"tls: {required: true}"}
	}
	return tlsParts([][2]string{{"ca", t.CA}, {"name", t.Name}})
}

func tlsParts(keys [][2]string) []string {
	var parts []string
	for _, k := range keys {
		if k[1] != "" {
			parts = append(parts, k[0]+": "+quote(k[1]))
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"tls: {" + strings.Join(parts, ", ") + "}"}
}
