package logline

import (
	"fmt"
	"slices"
	"strings"
)

// Variable is something that is known of a request.
type Variable uint8

// The variables. Times are seconds with six decimals.
const (
	Time        Variable = iota // when its first octet came: RFC 3339, milliseconds, UTC
	TimeCommon                  // the same as 22/Nov/2026:15:04:05 +0000
	TimeUnix                    // the same as seconds since 1970, with milliseconds
	Client                      // address of the connection's other end
	ClientPort                  // and its port
	Believed                    // address of the client, as trusted proxies tell it
	Local                       // our address and port
	User                        // who was authenticated
	Method                      // of the request
	Scheme                      // http or https
	Host                        // that was asked for
	Target                      // as it was sent
	Path                        // normalised
	Query                       // with its "?"
	Protocol                    // HTTP/1.0, HTTP/1.1, HTTP/2.0 or HTTP/3.0
	Version                     // 1.0, 1.1, 2 or 3
	TLS                         // version of TLS, such as TLSv1.3
	Cipher                      // cipher suite
	ServerName                  // that the client named in its TLS handshake
	CertVerify                  // verified: the client has shown a certificate, and it is good; none: it has shown none
	CertSubject                 // whom it is made out to
	CertNames                   // its alternative names, with commas between
	CertPrint                   // its SHA-256, in hexadecimal
	Status                      // that was sent; 0: nothing was answered
	In                          // octets of request content
	Out                         // octets of response content, as sent
	Coding                      // that the gateway has compressed with: gzip, br or zstd
	Seconds                     // from the first octet of the request to the end of the response
	Queue                       // waiting for a member
	Connect                     // opening a connection to the member; nothing on one that was kept
	FirstByte                   // from when the member was turned to, to the head of its response
	ID                          // request id
	TraceID                     // of W3C trace context
	SpanID                      // the gateway's own
	Sampled                     // 1 if spans are exported
	Route                       // that was followed
	Pool                        // that it led to
	Member                      // that answered
	Address                     // of the member
	Tries                       // how many members were asked
	Reason                      // why the gateway answered itself
	Filter                      // of the route, that refused or answered
	Agent                       // field User-Agent
	Referer                     // field Referer
	Field                       // a field of the request
	Response                    // a field of the response, as the member sent it
	Cookie                      // a cookie of the request

	count
)

// variables are their names. Those of JSON objects are part of what programs rely on.
var variables = [count]struct {
	name     string
	isNumber bool
	isPlain  bool // it has no octet that is escaped anywhere
	isNamed  bool // it stands before a dot and the name of a field or cookie
}{
	Time: {name: "time", isPlain: true}, TimeCommon: {name: "time.common", isPlain: true}, TimeUnix: {name: "time.unix", isNumber: true, isPlain: true},
	Client: {name: "client", isPlain: true}, ClientPort: {name: "client.port", isNumber: true, isPlain: true}, Believed: {name: "client.believed", isPlain: true}, Local: {name: "local", isPlain: true}, User: {name: "user"},
	Method: {name: "method", isPlain: true}, Scheme: {name: "scheme", isPlain: true}, Host: {name: "host"}, Target: {name: "target"}, Path: {name: "path"}, Query: {name: "query"},
	Protocol: {name: "protocol", isPlain: true}, Version: {name: "version", isPlain: true}, TLS: {name: "tls", isPlain: true}, Cipher: {name: "cipher", isPlain: true}, ServerName: {name: "serverName"},
	CertVerify: {name: "clientCert.verify", isPlain: true}, CertSubject: {name: "clientCert.subject"}, CertNames: {name: "clientCert.names"}, CertPrint: {name: "clientCert.sha256", isPlain: true},
	Status: {name: "status", isNumber: true, isPlain: true}, In: {name: "in", isNumber: true, isPlain: true}, Out: {name: "out", isNumber: true, isPlain: true}, Coding: {name: "coding", isPlain: true},
	Seconds: {name: "seconds", isNumber: true, isPlain: true}, Queue: {name: "queue", isNumber: true, isPlain: true}, Connect: {name: "connect", isNumber: true, isPlain: true}, FirstByte: {name: "firstByte", isNumber: true, isPlain: true},
	ID: {name: "id", isPlain: true}, TraceID: {name: "trace", isPlain: true}, SpanID: {name: "span", isPlain: true}, Sampled: {name: "sampled", isNumber: true, isPlain: true},
	Route: {name: "route"}, Pool: {name: "pool"}, Member: {name: "member"}, Address: {name: "address"}, Tries: {name: "tries", isNumber: true, isPlain: true},
	Reason: {name: "reason"}, Filter: {name: "filter"}, Agent: {name: "agent"}, Referer: {name: "referer"},
	Field: {name: "field", isNamed: true}, Response: {name: "response", isNamed: true}, Cookie: {name: "cookie", isNamed: true},
}

// Names returns what may stand between braces.
func Names() (names []string) {
	for _, v := range variables {
		if v.isNamed {
			v.name += ".NAME"
		}
		names = append(names, v.name)
	}
	return names
}

// secrets are fields that would give whoever reads the log what they protect.
var secrets = []string{"authorization", "proxy-authorization", "cookie", "set-cookie"}

// parseVariable reads a name such as status or field.User-Agent.
func parseVariable(text string) (v Variable, name string, err error) {
	for i := range variables {
		switch v := &variables[i]; {
		case !v.isNamed && v.name == text:
			return Variable(i), "", nil
		case v.isNamed && strings.HasPrefix(text, v.name+"."):
			name = text[len(v.name)+1:]
			if name == "" || strings.ContainsFunc(name, func(c rune) bool { return !isToken(c) }) {
				return 0, "", fmt.Errorf("{%s}: %q is no name of a field or cookie (RFC 9110 §5.1)", text, name)
			}
			if Variable(i) != Cookie && slices.Contains(secrets, strings.ToLower(name)) {
				return 0, "", fmt.Errorf("{%s}: %s holds secrets, which a log must not; cookie.NAME is one cookie", text, name)
			}
			return Variable(i), name, nil
		}
	}
	return 0, "", fmt.Errorf("there is no {%s}; there are %s", text, strings.Join(Names(), ", "))
}

func isToken(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}
