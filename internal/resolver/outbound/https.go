package outbound

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/resolver/iterate"
)

// Limits of HTTP/2 connections. Chosen, not derived.
const (
	// httpsPerServer is how many connections there are to one server. It says itself
	// how many requests each takes at a time.
	httpsPerServer = 4

	// pingAfter is how long a connection with a request on it may be silent before
	// its other end is asked whether it is there, and pingTimeout how long that takes.
	pingAfter   = time.Second
	pingTimeout = time.Second

	// maxFields is how many octets the fields of a response may have.
	maxFields = 16 << 10
)

// mediaType is what a DNS message is (RFC 8484 §6).
const mediaType = "application/dns-message"

// httpsLink is HTTP/2 with one server.
type httpsLink struct {
	url       *url.URL
	transport *http.Transport
}

func (h *httpsLink) close() { h.transport.CloseIdleConnections() }

// httpsTo returns the link to a server, nil after close.
func (l *links) httpsTo(to linkTo) *httpsLink {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.https[to]; h != nil || l.closed {
		return h
	}
	p := l.peerLocked(to)
	var only http.Protocols
	only.SetHTTP2(true) // RFC 8484 §5.2: the least that is recommended
	h := &httpsLink{
		url: &url.URL{Scheme: "https", Host: p.Name, Path: p.Path},
		transport: &http.Transport{
			Protocols: &only, TLSClientConfig: p.over(tls.VersionTLS12, "h2"), TLSHandshakeTimeout: l.connect,
			MaxConnsPerHost: httpsPerServer, IdleConnTimeout: encryptedIdle, MaxResponseHeaderBytes: maxFields,
			DisableCompression: true, // the lengths of messages are padded for a reason
			HTTP2:              &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: l.ping},
			// The name is for TLS and HTTP. It is not looked up: the configuration has
			// the address. Nor is there a proxy.
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				d := net.Dialer{Timeout: l.connect}
				return d.DialContext(ctx, "tcp", to.at.String())
			},
		},
	}
	if p.Name == "" { // known by its pin alone
		h.url.Host = to.at.String()
	} else if addr, err := netip.ParseAddr(p.Name); err == nil && addr.Is6() { // RFC 3986 §3.2.2
		h.url.Host = "[" + p.Name + "]"
	}
	l.https[to] = h
	return h
}

// askHTTPS asks over HTTP/2.
func (l *links) askHTTPS(ctx context.Context, to linkTo, query []byte) ([]byte, time.Duration, error) {
	h := l.httpsTo(to)
	if h == nil {
		return nil, 0, net.ErrClosed
	}
	for again := false; ; again = true {
		reply, took, reused, err := h.ask(ctx, l, to, query)
		if err == nil || again || !reused || ctx.Err() != nil {
			return reply, took, err
		}
		h.transport.CloseIdleConnections()
	}
}

// ask asks by POST, which caches on the way leave alone (RFC 8484 §4.1), with id 0
// all the same. reused tells whether it was on a connection that there was.
func (h *httpsLink) ask(ctx context.Context, l *links, to linkTo, query []byte) (reply []byte, took time.Duration, reused bool, err error) { //arch:size a reply, its time and what to do without
	var sent time.Time
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if sent, reused = time.Now(), i.Reused; i.Reused {
				l.reused[to.over].Add(1)
			}
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			if err != nil {
				l.broken[to.over].Add(1)
				return
			}
			l.met(to.over, &state)
		},
	})
	content := append([]byte{0, 0}, query[2:]...)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), bytes.NewReader(content))
	if err != nil {
		return nil, 0, false, fmt.Errorf("%w: %w", iterate.ErrLocal, err)
	}
	r.Header = http.Header{
		"Content-Type": {mediaType}, "Accept": {mediaType},
		"User-Agent": {""}, // RFC 8484 §8.2: nothing that tells clients apart
	}
	response, err := h.transport.RoundTrip(r) // no redirection is followed
	if err != nil {
		if reused && ctx.Err() == nil {
			l.broken[to.over].Add(1)
		}
		return nil, 0, reused, plainError(err)
	}
	defer response.Body.Close()
	reply, err = readReply(response)
	return reply, time.Since(sent), reused && errors.Is(err, errBroken), err
}

// errBroken: the connection ended before the reply did.
var errBroken = errors.New("the connection broke")

// readReply returns the DNS message that a response is to have.
func readReply(response *http.Response) ([]byte, error) {
	if response.StatusCode != http.StatusOK {
		return nil, errors.New("the server answers with HTTP status " + strconv.Itoa(response.StatusCode))
	}
	if kind := response.Header.Get("Content-Type"); kind != mediaType {
		return nil, fmt.Errorf("the server answers with content of type %.40q, not %s", kind, mediaType)
	}
	reply, err := io.ReadAll(io.LimitReader(response.Body, dnswire.MaxMessage+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errBroken, err)
	case len(reply) > dnswire.MaxMessage:
		return nil, errors.New("the server answers with more than a DNS message")
	case len(reply) < 2 || reply[0] != 0 || reply[1] != 0: // RFC 8484 §4.1: as it was asked
		return nil, errors.New("the server answers with another id")
	}
	return reply, nil
}

// plainError takes the request's URI from an error of net/http.
func plainError(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
