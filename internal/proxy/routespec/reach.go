package routespec

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"pharos/internal/cluster/state"
	"pharos/internal/diskfile"
	"pharos/internal/proxy/h2origin"
	"pharos/internal/proxy/origins"
	"pharos/internal/proxy/tlscert"
	"pharos/internal/serve/proxyheader"
)

const (
	// idleStreams is how long a connection of HTTP/2 to an origin server is kept that carries
	// nothing: a little less than servers wait, mostly a minute.
	idleStreams = 50 * time.Second
	// sessions is how many sessions of TLS are kept to continue, for all members of a pool.
	sessions = 64
)

// reaches returns how the members of pools are spoken to, for those that are not by
// HTTP/1.1 in the clear.
func reaches(pools []state.Pool) map[string]*origins.Reach {
	all := map[string]*origins.Reach{}
	for i := range pools {
		if o := &pools[i].Origin; o.TLS.On() || o.Protocol == "http2" || o.ProxyProtocol != "" {
			all[pools[i].Name] = reachOf(o)
		}
	}
	return all
}

func reachOf(o *state.PoolOrigin) *origins.Reach {
	r := &origins.Reach{Identity: fmt.Sprintf("%+v", *o)}
	scheme := "http"
	if o.TLS.On() {
		scheme = "https"
		r.TLS = peer(&o.TLS).Config()
		r.TLS.MinVersion, r.TLS.NextProtos = tls.VersionTLS12, []string{"http/1.1"}
		r.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(sessions)
		r.Changed = changed(&o.TLS)
	}
	switch o.ProxyProtocol {
	case "v1":
		r.Header = func(client, local netip.AddrPort) []byte {
			return proxyheader.AppendText(nil, proxyheader.Header{Client: client, Local: local})
		}
	case "v2":
		r.Header = func(client, local netip.AddrPort) []byte {
			return proxyheader.Append(nil, headerOf(client, local), true)
		}
	}
	switch o.Protocol {
	case "http2":
		if r.TLS != nil {
			r.TLS.NextProtos = []string{"h2"}
		}
	case "auto":
		r.Either = r.TLS.Clone()
		r.TLS.NextProtos = []string{"h2", "http/1.1"}
	}
	if o.Protocol == "http2" || o.Protocol == "auto" {
		streams := sync.OnceValue(func() *h2origin.Origins { return h2origin.New(scheme, idleStreams) }) // a Reach that is one already is thrown away
		r.Open = func(ctx context.Context, address netip.AddrPort, dial func(context.Context) (net.Conn, error)) (net.Conn, bool, error) {
			return streams().Open(ctx, address, dial)
		}
		r.Close = func() { streams().Close() }
	}
	return r
}

// headerOf is the header for a client; of two families none is told.
func headerOf(client, local netip.AddrPort) proxyheader.Header {
	if client.Addr().Is4() != local.Addr().Is4() || !client.IsValid() {
		return proxyheader.Header{}
	}
	return proxyheader.Header{Client: client, Local: local}
}

func peer(t *state.OriginTLS) tlscert.Peer {
	return tlscert.Peer{Name: t.Name, CA: t.CA, Pin: t.Pin, Certificate: t.Certificate, Key: t.Key}
}

// changed reports whether a file of t has changed since it was asked last.
func changed(t *state.OriginTLS) func() bool {
	var stamps []diskfile.Stamp
	for _, file := range []string{t.CA, t.Certificate, t.Key} {
		if file != "" {
			stamps = append(stamps, diskfile.StampOf(file))
		}
	}
	if len(stamps) == 0 {
		return nil
	}
	return func() bool {
		if !diskfile.Changed(stamps) {
			return false
		}
		for i := range stamps {
			stamps[i] = diskfile.StampOf(stamps[i].Path)
		}
		return true
	}
}
