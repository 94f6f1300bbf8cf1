package state

import "encoding/base64"

// PoolOrigin is how the gateway speaks to the members of a pool. Checks have their own.
type PoolOrigin struct {
	// Protocol is what requests are carried by: http1 is HTTP/1.1; http2 is HTTP/2, over TLS
	// by ALPN, else as with prior knowledge (RFC 9113 §3.3); auto is what each member chooses by
	// ALPN, and HTTP/1.1 for WebSockets. gRPC needs HTTP/2.
	Protocol string `json:"protocol,omitzero" enum:",http1,http2,auto" default:"" example:"http2"`
	// TLS has connections encrypted, and members prove who they are: name, pin or both.
	TLS OriginTLS `json:"tls,omitzero"`
	// ProxyProtocol begins connections with a PROXY header of version v1 or v2 that names the
	// client. Then each request has a connection of its own.
	ProxyProtocol string `json:"proxyProtocol,omitzero" enum:",v1,v2" default:"" example:"v2"`
}

// OriginTLS is how a member is known. Files are read again at each handshake, and
// kept connections end when they change.
type OriginTLS struct {
	// Name is asked for (SNI), and proven by the certificate of the member.
	Name string `json:"name,omitzero" format:"hostname" default:"" example:"origin.example.com"`
	// CA is a file of authorities, PEM. Empty: those of the system.
	CA string `json:"ca,omitzero" format:"file" default:"" example:"/etc/pharos/members-ca.pem"`
	// Pin is the SHA-256 of the public key of the member, in base64. Without a name nothing
	// else counts.
	Pin string `json:"pin,omitzero" default:"" example:"8Rw90Ej3Ttt8RRkrg+WYDS9n7IS03bk5bjP/UXPtaY8="`
	// Certificate and key are PEM files of what is shown to members that ask (mutual TLS).
	Certificate string `json:"certificate,omitzero" format:"file" default:"" example:"tls/gateway.crt"`
	// Key is the private key of that certificate.
	Key string `json:"key,omitzero" format:"file" default:"" example:"tls/gateway.key"`
}

// On reports whether members are spoken to over TLS.
func (t *OriginTLS) On() bool { return t.Name != "" || t.Pin != "" }

func (o *PoolOrigin) paths() []*string { return []*string{&o.TLS.CA, &o.TLS.Certificate, &o.TLS.Key} }

// checkApplied reports what only the configuration file may say.
func (o *PoolOrigin) checkApplied(at string, report Report) {
	for _, key := range []struct{ name, value string }{{"ca", o.TLS.CA}, {"certificate", o.TLS.Certificate}, {"key", o.TLS.Key}} {
		if key.value != "" {
			report(at+"tls."+key.name, "a pool that is applied at run time cannot have files read", "put the pool into the configuration file")
		}
	}
}

// check reports what is wrong with o.
func (o *PoolOrigin) check(at string, report Report) {
	t := &o.TLS
	if !t.On() && *t != (OriginTLS{}) {
		report(at+"tls", "nothing says how a member is known", "add name, the name in its certificate, or pin, the SHA-256 of its public key")
	}
	if (t.Certificate == "") != (t.Key == "") {
		report(at+"tls", "a certificate needs its key, and a key its certificate", "add the other one")
	}
	if pin, err := base64.StdEncoding.DecodeString(t.Pin); t.Pin != "" && (err != nil || len(pin) != 32) {
		report(at+"tls.pin", "not the 32 octets of a SHA-256 in base64", "print it with: openssl x509 -in FILE -noout -pubkey | openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64")
	}
	if o.Protocol == "auto" && !t.On() {
		report(at+"protocol", "members choose the protocol by ALPN, which is part of TLS, and these are spoken to in the clear", "add tls, or make it http2 if all members speak that, or http1")
	}
	if o.ProxyProtocol != "" && (o.Protocol == "http2" || o.Protocol == "auto") {
		report(at+"proxyProtocol", "many clients share a connection of HTTP/2, and a PROXY header names one", "leave it out, or make the protocol http1; X-Forwarded-For names the client in each request")
	}
}
