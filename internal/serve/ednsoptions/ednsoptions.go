// Package ednsoptions adds what answers say of this server and to its clients, whatever
// the question: who it is, how long a connection may rest, a cookie, and padding.
//
// It owns which of these options an answer gets. It does not own their form (package
// dnswire), nor the hash of a cookie (package cookie).
//
// Entry points: New, Options.Add.
//
// Concurrency: Options are constant after New.
//
// Sources: RFC 6891, RFC 5001, RFC 7828, RFC 7830, RFC 7873, RFC 8467, RFC 9018.
package ednsoptions

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/cookie"
	"pharos/internal/serve/dnsserver"
)

// Config says what there is to say.
type Config struct {
	NSID             string        // as it is sent; "": none
	TCPIdle, TLSIdle time.Duration // how long a connection may rest, over TCP and over DoT
	// Secret is that of cookies, in hexadecimal digits, and Previous one that is still
	// accepted. "": one is made, and none.
	Secret, Previous string
}

// Options are what is added to answers.
type Options struct {
	nsid      []byte
	keepalive [2]byte // over TCP; RFC 7828 §3.1: in units of 100 ms
	overTLS   [2]byte // over DoT
	secrets   cookie.Secrets
}

// New fails on a secret that is none.
func New(c Config) (Options, error) {
	o := Options{nsid: []byte(c.NSID), keepalive: tenths(c.TCPIdle), overTLS: tenths(c.TLSIdle)}
	var err error
	if c.Secret == "" {
		rand.Read(o.secrets.Current[:]) // which never fails
	} else if o.secrets.Current, err = cookie.ParseSecret(c.Secret); err != nil {
		return o, err
	}
	if o.secrets.HasOther = c.Previous != ""; o.secrets.HasOther {
		o.secrets.Other, err = cookie.ParseSecret(c.Previous)
	}
	return o, err
}

// tenths returns a time in units of 100 ms, as far as the option can tell it.
func tenths(d time.Duration) (field [2]byte) {
	binary.BigEndian.PutUint16(field[:], uint16(min(d/(100*time.Millisecond), 1<<16-1)))
	return field
}

// Add adds to out, an answer to q that has no records yet, what the client asks for. It
// reports whether the client has shown a good cookie.
func (o *Options) Add(q *dnswire.Query, client netip.Addr, transport dnsserver.Transport, now time.Time, out *dnswire.Builder) (hasCookie bool) {
	if q.EDNS.Version != 0 { // RFC 6891 §6.1.3: what its options mean is not known here
		return false
	}
	if q.EDNS.Cookie != nil {
		var answer [cookie.Len]byte
		answer, hasCookie = o.secrets.Answer(q.EDNS.Cookie, client, uint32(now.Unix()))
		out.AddOption(dnswire.OptionCookie, answer[:])
	}
	if q.EDNS.NSID && len(o.nsid) > 0 {
		out.AddOption(dnswire.OptionNSID, o.nsid)
	}
	switch { // RFC 7828 §3.2.1: ignored over UDP
	case q.EDNS.Keepalive && transport == dnsserver.TCP:
		out.AddOption(dnswire.OptionKeepalive, o.keepalive[:])
	case q.EDNS.Keepalive && transport == dnsserver.DoT:
		out.AddOption(dnswire.OptionKeepalive, o.overTLS[:])
	}
	if transport.IsEncrypted() { // RFC 8467 §4.1; RFC 7830 §4 lets a server pad unasked
		out.SetPadding(dnswire.PaddingBlock)
	}
	return hasCookie
}
