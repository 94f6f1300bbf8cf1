package probe

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"

	"pharos/internal/traffic/health"
)

// Limits of what is read of an answer. A longer head is not HTTP that a check could
// understand; of a content only so much is looked at, and nothing unless it is matched.
const (
	maxLine    = 4096    // octets of a status line or field line
	maxInterim = 8       // interim (1xx) responses; as many as the gateway lets through
	maxFields  = 100     // field lines of a response
	maxContent = 1 << 18 // octets of content; as the configuration says
)

const userAgent = "pharos-probe"

// errNotHTTP is wrapped by errors about what was answered.
var errNotHTTP = errors.New("not HTTP/1")

// response is what a probe looks at of an HTTP response.
type response struct {
	status   int
	location string
	content  []byte // at most maxContent octets
	whole    bool   // content is all there was
}

// askHTTP asks for the path, follows redirects, and looks at the status and the content.
func (t *target) askHTTP(ctx context.Context, dial dialer) outcome {
	path := cmp.Or(t.terms().Path, "/")
	for redirects := 0; ; redirects++ {
		var c *connection
		r, err := t.exchange(ctx, dial, path, &c)
		if err != nil {
			return t.tls.noted(c, t.failed(err, "waiting for a response"))
		}
		if t.isRedirect(r) && redirects < t.terms().Redirects {
			if path, err = t.redirected(path, r.location); err == nil {
				continue
			}
			return t.tls.noted(c, outcome{cause: fmt.Sprintf("status %d: %v", r.status, err)})
		}
		return t.tls.noted(c, t.judge(r))
	}
}

// judge says what a response that is the last one means.
func (t *target) judge(r response) outcome {
	o := outcome{cause: "status " + strconv.Itoa(r.status)}
	if !t.terms().Status.Has(r.status) {
		return o
	}
	if t.match != nil {
		if fault := t.match.fault(r.content, r.whole); fault != "" {
			o.cause += ", but " + fault
			return o
		}
		o.cause += ", with the content expected"
	}
	o.verdict = good
	return o
}

func (t *target) isRedirect(r response) bool {
	switch r.status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return r.location != ""
	}
	return false
}

// redirected returns the request target that location leads to from path. It has to be
// on the same member: what another one says is no evidence about this.
func (t *target) redirected(path, location string) (string, error) {
	scheme := "http"
	if t.tls != nil {
		scheme = "https"
	}
	from, err := url.Parse(scheme + "://" + t.authority() + path)
	if err != nil {
		return "", err
	}
	to, err := from.Parse(location)
	if err != nil || to.Scheme != from.Scheme || !strings.EqualFold(to.Host, from.Host) {
		return "", fmt.Errorf("a redirect to %.80q, which is not on the member", location)
	}
	return to.RequestURI(), nil
}

// authority returns what stands in the Host field, or :authority.
func (t *target) authority() string { return cmp.Or(t.terms().Host, t.address) }

// exchange makes one request on a connection of its own, *used.
func (t *target) exchange(ctx context.Context, dial dialer, path string, used **connection) (response, error) {
	if t.terms().HTTP2 {
		return t.exchange2(ctx, dial, path, used)
	}
	var protocols []string
	if t.tls != nil {
		protocols = []string{"http/1.1"}
	}
	c, err := t.connect(ctx, dial, "tcp", protocols)
	if err != nil {
		return response{}, err
	}
	defer c.Close()
	*used = c
	if _, err := c.Write(t.request(path)); err != nil {
		return response{}, &during{"sending the request", err}
	}
	return t.readResponse(bufio.NewReaderSize(c, maxLine))
}

// request returns the bytes of an HTTP check. RFC 9112 §9.6: close says that
// nothing follows; the connection is not used again.
func (t *target) request(path string) []byte {
	method := cmp.Or(t.terms().Method, http.MethodGet)
	b := []byte(method + " " + path + " HTTP/1.1\r\nHost: " + t.authority() + "\r\nUser-Agent: " + userAgent + "\r\nAccept: */*\r\nConnection: close\r\n")
	if method == http.MethodPost {
		b = append(b, "Content-Length: 0\r\n"...) // RFC 9110 §8.6
	}
	return append(append(b, t.terms().Fields...), "\r\n"...)
}

// wantsContent reports whether the content is to be read.
func (t *target) wantsContent() bool {
	return t.match != nil || t.key.Check.Kind == health.AgentHTTP
}

// readResponse reads the final response, as much of it as is looked at.
func (t *target) readResponse(r *bufio.Reader) (response, error) {
	code, err := readStatus(r)
	if err != nil || !t.wantsContent() && t.terms().Redirects == 0 {
		return response{status: code}, err
	}
	fields, err := readFields(r)
	if err != nil {
		return response{}, err
	}
	out := response{status: code, location: fields.location}
	if !t.wantsContent() || t.terms().Method == http.MethodHead || code == http.StatusNoContent || code == http.StatusNotModified {
		out.whole = true
		return out, nil
	}
	out.content, out.whole, err = readContent(fields.content(r))
	return out, err
}

// readContent reads what is looked at of a content, and reports whether that is all.
func readContent(r io.Reader) (content []byte, whole bool, err error) {
	content, err = io.ReadAll(io.LimitReader(r, maxContent+1))
	if len(content) > maxContent {
		return content[:maxContent], false, nil
	}
	return content, true, err
}

// fields are the fields of a response that matter to a probe.
type fields struct {
	location string
	chunked  bool
	length   int64 // -1: until the connection ends
}

// content returns what reads the content (RFC 9112 §6.3).
func (f fields) content(r *bufio.Reader) io.Reader {
	switch {
	case f.chunked:
		return httputil.NewChunkedReader(r)
	case f.length >= 0:
		return &exactly{r, f.length}
	}
	return r
}

// exactly reads n octets; fewer are an error.
type exactly struct {
	r io.Reader
	n int64
}

// Read is part of io.Reader.
func (e *exactly) Read(b []byte) (int, error) {
	if e.n == 0 {
		return 0, io.EOF
	}
	n, err := e.r.Read(b[:min(int64(len(b)), e.n)])
	if e.n -= int64(n); err == io.EOF && e.n > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// readStatus reads the status code of the final response (RFC 9110 §15.2: any
// number of interim responses may come before it).
func readStatus(r *bufio.Reader) (int, error) {
	for range maxInterim {
		line, err := readLine(r)
		if err != nil {
			return 0, err
		}
		code, err := statusOf(line)
		if err != nil || code >= 200 || code == 101 {
			return code, err
		}
		if _, err := readFields(r); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("%w: more than %d interim responses", errNotHTTP, maxInterim)
}

// statusOf reads a status line (RFC 9112 §4): HTTP-version SP 3DIGIT SP [reason].
// The space before an absent reason may be missing.
func statusOf(line string) (int, error) {
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if (version != "HTTP/1.1" && version != "HTTP/1.0") || err != nil || len(code) != 3 || n < 100 {
		return 0, fmt.Errorf("%w: answered %.40q", errNotHTTP, line)
	}
	return n, nil
}

// readFields reads the fields of a response, to their end.
func readFields(r *bufio.Reader) (fields, error) {
	f := fields{length: -1}
	for range maxFields {
		line, err := readLine(r)
		if err != nil || line == "" {
			return f, err
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(name) {
		case "location":
			f.location = value
		case "transfer-encoding":
			f.chunked = strings.EqualFold(value, "chunked")
		case "content-length":
			if n, err := strconv.ParseUint(value, 10, 62); err == nil {
				f.length = int64(n)
			}
		}
	}
	return f, fmt.Errorf("%w: more than %d fields in a response", errNotHTTP, maxFields)
}

// readLine reads a line without its end. RFC 9112 §2.2: a lone LF ends one, too.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", fmt.Errorf("%w: answered %.40q", errNotHTTP, line)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return "", fmt.Errorf("%w: answered %.40q and closed", errNotHTTP, line)
	case err != nil:
		return "", err
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return string(line), nil
}
