package doorway

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// TLS is what is agreed on at a listener.
type TLS struct {
	Least       uint16 // version
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Covers reports whether the certificate for one name is good for another, too.
	Covers    func(name, other string) bool
	Protocols []string // of ALPN, the preferred first
	// Clients says of whom a certificate is asked. The first rule for a name counts.
	Clients []ClientRule
	// Authorities returns those of a file that are believed now.
	Authorities func(file string) *x509.CertPool
}

// ClientRule is what clients show for names.
type ClientRule struct {
	Hosts    []string // in lower case; "*.example.com" is every name below one; none: all names
	Required bool     // without a certificate nobody gets in; else it is asked for
	CA       string   // file with the authorities that have signed it
}

// rule is for whom no certificate is asked.
const noRule = -1

// terms are compiled TLS.
type terms struct {
	TLS
	base  *tls.Config
	rules []clientTerms // of TLS.Clients
}

// clientTerms are the terms for clients of one rule, with the authorities that they
// were made for.
type clientTerms struct{ made atomic.Pointer[ruled] }

type ruled struct {
	authorities *x509.CertPool
	config      *tls.Config
}

func newTerms(t *TLS) *terms {
	out := &terms{TLS: *t, rules: make([]clientTerms, len(t.Clients))}
	out.base = &tls.Config{MinVersion: t.Least, NextProtos: t.Protocols, GetCertificate: t.Certificate}
	if len(t.Clients) > 0 {
		out.base.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return out.configOf(ruleOf(t.Clients, nameOf(hello.ServerName))), nil
		}
	}
	return out
}

// configOf returns the terms of a rule; nil: those of everybody.
func (t *terms) configOf(rule int) *tls.Config {
	if rule == noRule {
		return nil
	}
	authorities := t.Authorities(t.Clients[rule].CA)
	if authorities == nil {
		authorities = x509.NewCertPool() // the file cannot be read: nobody is believed
	}
	at := &t.rules[rule].made
	if now := at.Load(); now != nil && now.authorities == authorities {
		return now.config
	}
	c := t.base.Clone()
	c.GetConfigForClient = nil
	c.ClientCAs, c.ClientAuth = authorities, tls.VerifyClientCertIfGiven
	if t.Clients[rule].Required {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	ownTickets(c)
	at.Store(&ruled{authorities, c})
	return c
}

// ownTickets has c issue tickets of its own and take no others: package tls shares the
// keys between what GetConfigForClient returns, and who was let in by one rule, or by
// authorities that are believed no more, must not come back by another.
func ownTickets(c *tls.Config) {
	keys := &tls.Config{Time: c.Time}
	c.WrapSession = func(state tls.ConnectionState, session *tls.SessionState) ([]byte, error) {
		return keys.EncryptTicket(state, session)
	}
	c.UnwrapSession = func(ticket []byte, state tls.ConnectionState) (*tls.SessionState, error) {
		return keys.DecryptTicket(ticket, state)
	}
}

// ruleOf returns the number of the first rule for a name; noRule: there is none.
func ruleOf(rules []ClientRule, name string) int {
	for i, r := range rules {
		if len(r.Hosts) == 0 {
			return i
		}
		for _, h := range r.Hosts {
			if parent, wild := strings.CutPrefix(h, "*"); h == name || wild && len(name) > len(parent) && strings.HasSuffix(name, parent) {
				return i
			}
		}
	}
	return noRule
}

// nameOf returns a name as rules have it.
func nameOf(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// Identity is what a connection was agreed to be.
type Identity struct {
	Protocol string // of ALPN; empty: none
	// ServerName is the name that the client asked for (SNI), in lower case; empty: none.
	// Version is such as TLSv1.3, and Cipher the suite as IANA calls it.
	ServerName, Version, Cipher string
	// Subject is that of the certificate that the client has proven to own (RFC 4514, in
	// printable ASCII), and Certificate is all of it as a field has it (RFC 9440 §2.2).
	// Empty: none.
	Subject, Certificate string
	// Names are its alternative names (RFC 5280 §4.2.1.6), with commas between, and Print is its
	// SHA-256, in hexadecimal.
	Names, Print string

	terms *terms
	rule  int                    // of clients
	good  atomic.Pointer[string] // the last authority beside ServerName that was asked for and is good; nil: none
}

func (t *terms) identify(state *tls.ConnectionState) *Identity {
	id := &Identity{
		Protocol: state.NegotiatedProtocol, ServerName: nameOf(state.ServerName),
		Version: strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1), Cipher: tls.CipherSuiteName(state.CipherSuite), terms: t,
	}
	id.rule = ruleOf(t.Clients, id.ServerName)
	if c := verified(state.PeerCertificates, state.VerifiedChains); c != nil {
		id.Subject = printable(c.Subject.String())
		id.Certificate = ":" + base64.StdEncoding.EncodeToString(c.Raw) + ":"
		id.Names = printable(strings.Join(namesIn(c), ","))
		id.Print = fmt.Sprintf("%x", sha256.Sum256(c.Raw))
	}
	return id
}

// namesIn returns the alternative names of a certificate.
func namesIn(c *x509.Certificate) []string {
	names := slices.Concat(c.DNSNames, c.EmailAddresses)
	for _, a := range c.IPAddresses {
		names = append(names, a.String())
	}
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}

// printable writes every other octet as RFC 4514 §2.4 has it.
func printable(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' {
			b.Write([]byte{'\\', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

var colon = []byte(":")

// Misdirected says why a request for an authority, a host with or without a port, is not
// answered on the connection; "" if it is. The client has asked for one name and seen the certificate for
// it. What it says for another one counts if the certificate is good for that too, and
// if clients are let in to both by the same rule (RFC 9110 §7.4). What was good once stays so on
// this connection: what counts is the certificate that the client has seen.
func (id *Identity) Misdirected(authority []byte) string {
	if bare, _, _ := bytes.Cut(authority, colon); id.ServerName != "" && string(bare) == id.ServerName {
		return "" // mostly; without a copy
	}
	if good := id.good.Load(); good != nil && string(authority) == *good {
		return ""
	}
	another := string(authority)
	problem := id.misdirected(another)
	if problem == "" {
		id.good.Store(&another)
	}
	return problem
}

func (id *Identity) misdirected(authority string) string {
	host := nameOf(withoutPort(authority))
	if host == id.ServerName {
		return ""
	}
	if ruleOf(id.terms.Clients, host) != id.rule {
		return "clients show a certificate for one of the two names, and the connection was made for the other"
	}
	if host == "" || id.ServerName == "" && isAddress(host) {
		return "" // no client can ask for an address by name (RFC 6066 §3)
	}
	if id.terms.Covers(id.ServerName, host) {
		return ""
	}
	return "the certificate of this connection is not good for the host of the request"
}

// withoutPort returns the host of host:port, an IPv6 address without its brackets.
func withoutPort(host string) string {
	if at := strings.LastIndexByte(host, ':'); at > strings.LastIndexByte(host, ']') {
		host = host[:at]
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
