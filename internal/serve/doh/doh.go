// Package doh answers DNS over HTTPS: a query is the content of a POST, or the
// parameter dns of a GET, and its answer the content of the response.
//
//	HTTP/2   dnsserver.Entrance (TCP, TLS) -> Carrier -> http2, http1 -> session -+-> rules of Handler
//	HTTP/3   package doq (QUIC)            -> quic-go -----------------> Handler -+
//	both     -> dnsserver.Visit.Ask -> the Handler of all listeners
//
// It owns what is HTTP about it: the path, methods, status codes, freshness, and
// the limits of HTTP/2. Connections and their number are dnsserver's.
//
//	200  an answer, be it an error of DNS
//	400  no query, or not in base64url     404  another path
//	405  another method                    413  more than 65,535 octets
//	415  another media type                431  fields of more than 16 KB
//	503  more queries than may wait for answers
//
// Entry points: Handler; NewCarrier, Carrier.Carry; WithVisit.
//
// Concurrency: a Handler serves any number of requests at once.
//
// Sources: RFC 8484, RFC 9110, RFC 9113, RFC 7838. Why HTTP/2 is not net/http's: docs/decisions/0058.
package doh

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/serve/dnsserver"
)

// mediaType is what a DNS message is (RFC 8484 §6).
const mediaType = "application/dns-message"

// Handler answers requests of connections that have a Visit.
type Handler struct {
	Path   string // where queries are answered
	AltSvc string // the field of that name in answers: where else they are to be had (RFC 7838); empty: none
}

// visitKey is where net/http carries the Visit of a connection: it has no other
// place for it.
type visitKey struct{}

// WithVisit returns the context of a connection, which the contexts of its requests
// come from.
func WithVisit(ctx context.Context, v *dnsserver.Visit) context.Context {
	return context.WithValue(ctx, visitKey{}, v)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, ok := r.Context().Value(visitKey{}).(*dnsserver.Visit)
	if !ok {
		panic("BUG: a request of a connection without a visit")
	}
	if h.AltSvc != "" {
		w.Header().Set("Alt-Svc", h.AltSvc)
	}
	if r.URL.Path != h.Path {
		refuse(w, h.elsewhere())
		return
	}
	deadlines := streamLimits{ResponseController: http.NewResponseController(w), limits: v.Limits()}
	deadlines.begin()
	query, why := readQuery(r, v)
	if why != nil {
		refuse(w, why)
		return
	}
	outcome := v.AskAndWait(query, func(answer []byte, _ bool) error {
		if v.IsSpent() {
			w.Header().Set("Connection", "close") // HTTP/2: GOAWAY
		}
		deadlines.answer()
		err := write(w, answer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			v.Count(dnsserver.SlowClients)
		}
		return err
	}, func() context.Context {
		deadlines.wait()
		return r.Context()
	})
	switch outcome {
	case dnsserver.Alien:
		refuse(w, &notDNS)
	case dnsserver.Busy:
		w.Header().Set("Retry-After", "1")
		refuse(w, &tooMany)
	case dnsserver.Silent, dnsserver.Lost:
		panic(http.ErrAbortHandler) // resets the stream: there is no answer
	}
}

// streamLimits holds a client that holds up one stream while its connection lives: quic-go has
// time limits for connections only.
type streamLimits struct {
	*http.ResponseController
	limits dnsserver.Limits
}

func (l *streamLimits) begin() { l.SetReadDeadline(time.Now().Add(l.limits.Read)) }

func (l *streamLimits) wait() { l.SetWriteDeadline(time.Time{}) }

func (l *streamLimits) answer() { l.SetWriteDeadline(time.Now().Add(l.limits.Write)) }

// refusal is why a request is not answered with a DNS message.
type refusal struct {
	status int
	text   string
}

// The refusals that both versions of HTTP have.
var (
	notDNS      = refusal{http.StatusBadRequest, "the content is no DNS query"}
	tooMany     = refusal{http.StatusServiceUnavailable, "too many queries of this connection wait for answers"}
	otherMethod = refusal{http.StatusMethodNotAllowed, "queries come by GET or POST"}
	otherType   = refusal{http.StatusUnsupportedMediaType, "the content must be of type " + mediaType}
	tooLarge    = refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("a DNS message has at most %d octets", dnswire.MaxMessage)}
	noParameter = refusal{http.StatusBadRequest, "there is no parameter dns (RFC 8484 §4.1)"}
	badOctets   = refusal{http.StatusBadRequest, "the parameter dns is not base64url without padding (RFC 8484 §6)"}
	noOctets    = refusal{http.StatusBadRequest, "the parameter dns is empty"}
)

// elsewhere is the refusal of another path.
func (h *Handler) elsewhere() *refusal {
	return &refusal{http.StatusNotFound, "queries are answered at " + h.Path}
}

func refuse(w http.ResponseWriter, why *refusal) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, why.text, why.status)
}

// readQuery returns the query of a request (RFC 8484 §4.1).
func readQuery(r *http.Request, v *dnsserver.Visit) ([]byte, *refusal) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return queryOfURI(nil, []byte(r.URL.RawQuery))
	case http.MethodPost:
		return queryOfContent(r, v)
	}
	return nil, &otherMethod
}

// queryOfURI reads the parameter dns of a GET, into room if it is large enough. RFC 8484 §6:
// base64url without padding. What else is in the URI does not matter.
func queryOfURI(room, raw []byte) ([]byte, *refusal) {
	for part := range bytes.SplitSeq(raw, []byte("&")) {
		text, ok := bytes.CutPrefix(part, []byte("dns="))
		if !ok {
			continue
		}
		query, err := base64.RawURLEncoding.AppendDecode(room[:0], text)
		switch {
		case err != nil:
			return nil, &badOctets
		case len(query) == 0:
			return nil, &noOctets
		}
		return query, nil
	}
	return nil, &noParameter
}

// isMessage reports whether a field Content-Type names a DNS message.
func isMessage(kind []byte) bool {
	kind, _, _ = bytes.Cut(kind, []byte(";"))
	return bytes.EqualFold(bytes.TrimSpace(kind), []byte(mediaType))
}

// queryOfContent reads the content of a POST.
func queryOfContent(r *http.Request, v *dnsserver.Visit) ([]byte, *refusal) {
	if !isMessage([]byte(r.Header.Get("Content-Type"))) {
		return nil, &otherType
	}
	size := int64(dnswire.MaxMessage) // of unknown length: room for the largest
	if r.ContentLength >= 0 {
		size = r.ContentLength
	}
	if size > dnswire.MaxMessage {
		return nil, &tooLarge
	}
	release, ok := v.Reserve(r.Context(), int(size))
	if !ok {
		panic(http.ErrAbortHandler)
	}
	defer release()
	if r.ContentLength > 0 {
		return queryOfLength(r, v, int(size))
	}
	var content bytes.Buffer
	n, err := content.ReadFrom(io.LimitReader(r.Body, dnswire.MaxMessage+1))
	if n > dnswire.MaxMessage {
		return nil, &tooLarge
	}
	return content.Bytes(), unread(v, err)
}

// queryOfLength reads content that has said how long it is: HTTP sees to it that it is.
func queryOfLength(r *http.Request, v *dnsserver.Visit, size int) ([]byte, *refusal) {
	content := make([]byte, size)
	_, err := io.ReadFull(r.Body, content)
	return content, unread(v, err)
}

// unread is what becomes of a request whose content could not be read.
func unread(v *dnsserver.Visit, err error) *refusal {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &refusal{http.StatusBadRequest, "the content ends before its length"}
	}
	v.Count(dnsserver.SlowClients) // too slow, or gone
	panic(http.ErrAbortHandler)
}

// freshness is how long an answer is fresh, before the number. RFC 8484 §5.1: no longer than
// its records. It is private because an answer may be made for one client: by views, by
// steering or by its subnet.
const freshness = "private, max-age="

// write writes an answer.
func write(w http.ResponseWriter, answer []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(answer)))
	h.Set("Cache-Control", freshness+strconv.FormatUint(uint64(dnswire.Freshness(answer)), 10))
	_, err := w.Write(answer)
	return err
}
