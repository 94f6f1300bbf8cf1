package httpproxy

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// sharedFile opens a file of the shared folder beside the repository.
func sharedFile(t *testing.T, name string) *os.File {
	t.Helper()
	shared := os.Getenv("PHAROS_SHARED")
	for dir, _ := os.Getwd(); shared == ""; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			shared = filepath.Join(dir, "..", "shared")
		}
		if dir == "/" {
			break
		}
	}
	f, err := os.Open(filepath.Join(shared, name))
	if errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") == "true" {
			t.Fatalf("the shared test data is missing: %v", err)
		}
		t.Skip("the shared test data is not here; set PHAROS_SHARED to its folder")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// plainRequest is a request as the strictest reader understands it.
type plainRequest struct {
	method, target string
	minor          string
	late           bool     // an empty line came before it (RFC 9112 §2.2)
	fields         []string // "name: value", names in lower case
	content        string
}

var (
	strictRequestLine = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+) ([!-~]+) HTTP/1\.([01])$`)
	strictField       = regexp.MustCompile(`^([!#$%&'*+.^_|~0-9A-Za-z` + "`" + `-]+):[ \t]*([^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?[ \t]*$`)
	strictLength      = regexp.MustCompile(`^[0-9]{1,18}$`)
	strictChunkLine   = regexp.MustCompile(`^([0-9A-Fa-f]{1,16})(;[\t\x20-\x7e]*)?$`)
)

var errCut = errors.New("the connection ends within the content")

// readPlain is a second, naive implementation of RFC 9112, with regular
// expressions and no mercy. It returns io.EOF when there is no whole head, errCut
// when the connection ends within content, and an error for everything that is
// not a request.
func readPlain(r *bufio.Reader) (q plainRequest, err error) {
	head := readMessageHead(r)
	if head == "\r\n" {
		q.late, head = true, readMessageHead(r)
	}
	if head == "" {
		return q, io.EOF
	}
	lines := strings.Split(strings.TrimSuffix(head, "\r\n\r\n"), "\r\n")
	m := strictRequestLine.FindStringSubmatch(lines[0])
	if m == nil {
		return q, fmt.Errorf("request line %q", lines[0])
	}
	q.method, q.target, q.minor = m[1], m[2], m[3]
	seen := map[string][]string{}
	for _, line := range lines[1:] {
		f := strictField.FindStringSubmatch(line)
		if f == nil {
			return q, fmt.Errorf("field line %q", line)
		}
		name := strings.ToLower(f[1])
		seen[name] = append(seen[name], f[2])
		q.fields = append(q.fields, name+": "+f[2])
	}
	if n := len(seen["host"]); n > 1 || n == 0 && q.minor == "1" {
		return q, fmt.Errorf("%d Host fields", len(seen["host"]))
	}
	lengths, codings := seen["content-length"], seen["transfer-encoding"]
	switch {
	case len(lengths)+len(codings) == 0:
		return q, nil
	case len(lengths)+len(codings) > 1:
		return q, fmt.Errorf("framing fields %q %q", lengths, codings)
	case len(lengths) == 1 && strictLength.MatchString(lengths[0]):
		n, _ := strconv.ParseInt(lengths[0], 10, 64)
		content, _ := io.ReadAll(io.LimitReader(r, n))
		if int64(len(content)) != n {
			return q, errCut
		}
		q.content = string(content)
		return q, nil
	case len(codings) == 1 && strings.EqualFold(codings[0], "chunked") && q.minor == "1":
		q.content, err = readPlainChunks(r)
		return q, err
	}
	return q, fmt.Errorf("framing fields %q %q", lengths, codings)
}

func readPlainChunks(r *bufio.Reader) (string, error) {
	var content strings.Builder
	for {
		line, err := r.ReadString('\n')
		if err == io.EOF {
			return "", errCut
		}
		m := strictChunkLine.FindStringSubmatch(strings.TrimSuffix(line, "\r\n"))
		if err != nil || m == nil {
			return "", fmt.Errorf("chunk line %q: %v", line, err)
		}
		n, err := strconv.ParseInt(m[1], 16, 63)
		if err != nil {
			return "", err
		}
		if n == 0 {
			break
		}
		data, _ := io.ReadAll(io.LimitReader(r, n+2))
		if int64(len(data)) < n+2 {
			return "", errCut
		}
		if !bytes.HasSuffix(data, []byte("\r\n")) {
			return "", fmt.Errorf("chunk data %q", data)
		}
		content.Write(data[:n])
	}
	for {
		line, err := r.ReadString('\n')
		if line == "\r\n" {
			return content.String(), nil
		}
		if err == io.EOF {
			return "", errCut
		}
		if err != nil || !strictField.MatchString(strings.TrimSuffix(line, "\r\n")) {
			return "", fmt.Errorf("trailer line %q: %v", line, err)
		}
	}
}

// recorder is an origin that keeps every request it reads, and every octet it
// cannot read as one.
type recorder struct {
	mu       sync.Mutex
	requests []plainRequest
	octets   []byte // that they came in
	faults   []error
}

func (rec *recorder) serve(conn net.Conn, r *bufio.Reader) {
	var tape bytes.Buffer
	r = bufio.NewReader(io.TeeReader(r, &tape))
	for {
		q, err := readPlain(r)
		if err == io.EOF || err == errCut {
			return // a request given up half-way is cut off: nobody can take it for whole
		}
		if err == nil && (q.minor != "1" || q.late) {
			err = errors.New("a request of HTTP/1.0, or an empty line before it")
		}
		rec.mu.Lock()
		if err != nil {
			rec.faults = append(rec.faults, err)
		} else {
			rec.requests = append(rec.requests, q)
			rec.octets = append(rec.octets, tape.Next(tape.Len()-r.Buffered())...)
		}
		rec.mu.Unlock()
		if err != nil {
			return
		}
		io.WriteString(conn, ok2)
	}
}

func (rec *recorder) take() ([]plainRequest, []error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	requests, faults := rec.requests, rec.faults
	rec.requests, rec.faults = nil, nil
	return requests, faults
}

// takeOctets returns the octets of whole requests that have come since it did so last.
func (rec *recorder) takeOctets() []byte {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	octets := rec.octets
	rec.octets = nil
	return octets
}

// TestRequestFraming sends each case on a connection of its own and compares
// what the origin recorded with what the strict reader makes of the same
// octets. A case is
//
//   - rejected, when nothing was forwarded and the first answer is an error;
//   - forwarded clean, when the requests at the origin are exactly the first
//     requests of the strict reading, in number, method, target and content, in
//     our framing;
//   - ambiguous otherwise.
//
// In three cases ("X: X Transfer-Encoding: chunked" and the like) the words that
// would smuggle stand within a field value: by RFC 9110 §5.5 they mean nothing,
// Content-Length: 4 frames the content "23\r\n", and what follows is a complete
// request of its own. Forwarding that one as a second, separate request with our
// own framing is what pipelining is (RFC 9112 §9.3.2); the origin sees no octet
// of it in the content of the first.
func TestRequestFraming(t *testing.T) {
	rec := new(recorder)
	g := startGateway(t, Config{}, startOrigin(t, rec.serve))
	rejected, clean, ambiguous, pipelined := 0, 0, 0, 0
	publishedFramings(t, func(name string, raw []byte) {
		answer := g.ask(string(raw))
		got, faults := rec.take()
		fault := judge(raw, answer, got, faults)
		switch {
		case fault != "":
			ambiguous++
			t.Errorf("%s: %s\nsent %q\nanswer %q", name, fault, raw, answer)
		case len(got) == 0:
			rejected++
		default:
			clean++
			if len(got) > 1 {
				pipelined++
			}
		}
	})
	n := rejected + clean + ambiguous
	t.Logf("request framing: %d cases, %d rejected, %d forwarded clean (%d of them two separate pipelined requests), %d ambiguous", n, rejected, clean, pipelined, ambiguous)
}

// publishedFramings calls with each of the published cases of how requests can be framed.
func publishedFramings(t *testing.T, with func(name string, raw []byte)) {
	t.Helper()
	unzipped, err := gzip.NewReader(sharedFile(t, "conformance/request-framing.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for lines := json.NewDecoder(unzipped); ; n++ {
		var c struct {
			Name string `json:"name"`
			Raw  []byte `json:"raw_b64"`
		}
		if err := lines.Decode(&c); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		with(c.Name, c.Raw)
	}
	if n != 1756 {
		t.Errorf("got %d cases, want 1756", n)
	}
}

// isHTTP2Refusal reports whether a gateway has answered in HTTP/2, and with an error: one of
// the cases is a request of that version.
func isHTTP2Refusal(answer string) bool {
	const goAway, reset = 7, 3
	for b := []byte(answer); len(b) >= 9 && !strings.HasPrefix(answer, "HTTP/"); {
		length := int(b[0])<<16 | int(b[1])<<8 | int(b[2])
		if len(b) < 9+length {
			return false
		}
		payload := b[9 : 9+length]
		if b[3] == reset && payload[3] != 0 || b[3] == goAway && payload[7] != 0 {
			return true
		}
		b = b[9+length:]
	}
	return false
}

// judge returns what is wrong with how one case was treated; "" when nothing is.
func judge(raw []byte, answer string, got []plainRequest, faults []error) string {
	if len(faults) > 0 {
		return fmt.Sprintf("the origin cannot read what was forwarded: %v", faults)
	}
	if len(got) == 0 {
		if isHTTP2Refusal(answer) {
			return ""
		}
		if !strings.HasPrefix(answer, "HTTP/1.1 4") && !strings.HasPrefix(answer, "HTTP/1.1 5") || !strings.Contains(answer, "\r\nConnection: close\r\n") {
			return "not forwarded, and not refused with an error and close"
		}
		return ""
	}
	strict := bufio.NewReader(bytes.NewReader(raw))
	for i, q := range got {
		want, err := readPlain(strict)
		if err != nil {
			return fmt.Sprintf("request %d was forwarded, the strict reader says %v", i, err)
		}
		want.target = strings.ReplaceAll(want.target, "//", "/") // the normal form of package route
		if q.method != want.method || q.target != want.target || q.content != want.content {
			return fmt.Sprintf("request %d: got %+v, want %+v", i, q, want)
		}
	}
	if n := strings.Count(answer, "HTTP/1.1 200 OK\r\n"); n != len(got) {
		return fmt.Sprintf("%d requests forwarded, %d answered", len(got), n)
	}
	return ""
}
