package migrate

import (
	"net/netip"
	"slices"
	"strings"
)

// This file is what named.conf says of TLS: tls and http statements, and what names them.

// tlsFiles are the options of a tls statement that are taken.
type tlsFiles struct{ certificate, key, ca, hostname string }

// tlsOf returns what a tls statement says; ok is false, with a note, if there is none of
// that name.
func (b *bind) tlsOf(name string, at *statement) (f tlsFiles, ok bool) {
	s := b.tls[name]
	if s == nil {
		b.note(at.place, at.String(), "there is no tls statement %s", clip(name))
		return f, false
	}
	block, _ := s.block()
	for i := range block {
		switch o := &block[i]; o.word(0) {
		case "cert-file":
			f.certificate = below(b.directory, o.word(1))
		case "key-file":
			f.key = below(b.directory, o.word(1))
		case "ca-file":
			f.ca = below(b.directory, o.word(1))
		case "remote-hostname":
			f.hostname = o.word(1)
		default:
			if what := "tls " + name + ": " + o.String(); !b.seen[what] {
				b.seen[what] = true
				b.note(o.place, what, "the versions are tls.minVersion, the ciphers those of the library")
			}
		}
	}
	return f, true
}

// peerTLS returns how the server that e names is known; ok is false, with a note, if it
// cannot be told.
func (b *bind) peerTLS(e *statement) (t PeerTLS, ok bool) {
	name := e.after("tls")
	if name == "" || name == "none" {
		return t, true
	}
	if name == "ephemeral" {
		b.note(e.place, e.String(), "%s", unknownServer)
		return t, false
	}
	f, ok := b.tlsOf(name, e)
	if !ok {
		return t, false
	}
	t = PeerTLS{Name: f.hostname, CA: f.ca}
	if f.certificate != "" && f.key != "" {
		t.Certificate, t.Key = f.certificate, f.key
	}
	if !t.known() {
		b.note(e.place, e.String(), "%s", unknownServer)
		return t, false
	}
	return t, true
}

// inClear leaves out servers that are to be told over TLS.
func (b *bind) inClear(s *statement, all []Peer) []Peer {
	return slices.DeleteFunc(all, func(p Peer) bool {
		bad := p.TLS != PeerTLS{}
		if bad {
			b.note(s.place, s.String()+" "+p.Address.String(), "NOTIFY goes over UDP and TCP, not over TLS: name the port for that")
		}
		return bad
	})
}

// listenTLS takes a listener with tls or http.
func (b *bind) listenTLS(o *statement, list []statement, wildcard netip.Addr) {
	e := &b.result.Plan.Encrypted
	name, http := o.after("tls"), o.after("http")
	switch {
	case name == "" || name == "none":
		b.note(o.place, o.String(), "HTTP without TLS: let the proxy before it ask over TLS, or over listen.dns")
		return
	case name == "ephemeral":
		e.SelfSigned = true
	default:
		f, ok := b.tlsOf(name, o)
		if !ok {
			return
		}
		if f.ca != "" {
			b.note(o.place, o.String(), "certificates of clients are wanted for transfers only: see zones[].transfer[].tls")
		}
		if f.certificate == "" || f.key == "" {
			b.note(o.place, o.String(), "tls statement %s has no certificate", clip(name))
			return
		}
		e.addCertificate(Certificate{f.certificate, f.key})
	}
	to, port := &e.DoT, uint16(853)
	if http != "" {
		to, port = &e.DoH, 443
		b.path(o, http)
	}
	for _, addr := range b.listenAddresses(o, list, wildcard) {
		*to = append(*to, netip.AddrPortFrom(addr, b.portOf(o, o.after("port"), port)))
	}
}

// path takes the path of DoH from an http statement.
func (b *bind) path(o *statement, name string) {
	if name == "default" {
		return
	}
	s := b.http[name]
	if s == nil {
		b.note(o.place, o.String(), "there is no http statement %s", clip(name))
		return
	}
	block, _ := s.block()
	for i := range block {
		inner, isList := block[i].block()
		if block[i].word(0) != "endpoints" || !isList {
			b.note(block[i].place, "http "+name+": "+block[i].String(), "bounded by dns.encrypted")
			continue
		}
		for j := range inner {
			path := inner[j].word(0)
			have := b.result.Plan.Encrypted.Path
			if j > 0 || have != "" && have != path || !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "{}?# ") {
				b.note(inner[j].place, "http "+name+": endpoint "+path, "there is one path: see dns.encrypted.path")
				continue
			}
			b.result.Plan.Encrypted.Path = path
		}
	}
}
