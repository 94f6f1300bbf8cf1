package httpproxy

import "pharos/internal/proxy/http1"

// alternative is what clients are told of where else their requests are answered (RFC 7838).
type alternative struct {
	line []byte // the field line
}

// newAlternative returns what tells clients so; nil if there is nothing to tell.
func newAlternative(value string) *alternative {
	if value == "" {
		return nil
	}
	return &alternative{line: []byte("Alt-Svc: " + value + "\r\n")}
}

// appendAltSvc appends what the client is told. When the gateway goes, it says nothing: who
// would come back over UDP finds nobody there, or what comes after it, which says it anew.
func (c *client) appendAltSvc(b []byte) []byte {
	if c.server.draining.Load() {
		return b
	}
	return append(b, c.altSvc.line...)
}

// isAltSvc reports whether a field of an origin server tells clients where else it is. Where the
// gateway has its own, that is taken out: it is about addresses of the origin server, which
// clients do not reach, or the gateway's own, of which it knows less.
func isAltSvc(name []byte) bool { return http1.EqualFold(name, altSvcName) }

var altSvcName = []byte("Alt-Svc")
