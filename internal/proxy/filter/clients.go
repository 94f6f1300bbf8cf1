package filter

import (
	"fmt"
	"net/netip"

	"pharos/internal/serve/admission"
)

// Clients says which clients may ask: the longest of the networks that holds a client decides.
type Clients struct {
	Allow []netip.Prefix
	Deny  []netip.Prefix // alone: all others may
}

// clients is a compiled Clients.
type clients struct{ list *admission.ACL }

func (c *Clients) compile() (step, error) {
	if len(c.Allow)+len(c.Deny) == 0 {
		return nil, fmt.Errorf("clients: no network is listed")
	}
	var rules []admission.Rule
	if len(c.Allow) == 0 {
		rules = []admission.Rule{
			{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Action: admission.Allow},
			{Prefix: netip.PrefixFrom(netip.IPv6Unspecified(), 0), Action: admission.Allow},
		}
	}
	for _, p := range c.Allow {
		rules = append(rules, admission.Rule{Prefix: p, Action: admission.Allow})
	}
	for _, p := range c.Deny {
		rules = append(rules, admission.Rule{Prefix: p, Action: admission.Deny})
	}
	list, err := admission.Compile(rules)
	if err != nil {
		return nil, fmt.Errorf("clients: %w", err)
	}
	return &clients{list}, nil
}

func (c *clients) decide(p *Pass) Verdict {
	client := p.Request.Client()
	if c.list.Allows(client) {
		if p.explains {
			p.note("%s may ask", client)
		}
		return Verdict{}
	}
	return Verdict{Status: 403, Kind: "http_request_denied", Text: "the client's address may not ask here"}
}

// Limits bounds requests. 0: what the gateway allows.
type Limits struct {
	Content int64 // octets
	Head    int   // octets of the request line and the fields
	Query   int   // octets, without "?"
}

func (l *Limits) check() error {
	if l.Content <= 0 && l.Head <= 0 && l.Query <= 0 {
		return fmt.Errorf("limits: nothing is limited")
	}
	return nil
}

func (l *Limits) decide(p *Pass) Verdict {
	query := max(len(p.Request.Query())-1, 0)
	switch {
	case l.Head > 0 && p.Request.HeadOctets() > l.Head:
		return Verdict{Status: 431, Kind: "http_request_denied", Text: "the fields of the request are larger than the route allows"}
	case l.Query > 0 && query > l.Query:
		return Verdict{Status: 414, Kind: "http_request_denied", Text: "the query is longer than the route allows"}
	case l.Content > 0 && p.Request.ContentLength() > l.Content:
		return Verdict{Status: 413, Kind: "http_request_denied", Text: "the request content is larger than the route allows", Close: true}
	}
	if l.Content > 0 && (p.MaxContent == 0 || l.Content < p.MaxContent) {
		p.MaxContent = l.Content // what comes without a length is counted
	}
	p.note("within the limits")
	return Verdict{}
}
