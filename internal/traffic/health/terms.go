package health

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unique"
)

// Terms are what a check asks and what it expects, beside its kind. Each kind uses
// some of them; the zero value of each means the least that can be asked.
//
// Terms are comparable, because a Target is a key: lists are texts with a separator.
type Terms struct {
	// HTTP, HTTPS and AgentHTTP.
	Host      string    `json:"host,omitempty"`      // Host field; "": the address
	Path      string    `json:"path,omitempty"`      // request target; "": "/"
	Method    string    `json:"method,omitempty"`    // "": GET
	Fields    string    `json:"fields,omitempty"`    // field lines, each with its CRLF
	Status    StatusSet `json:"status,omitzero"`     // what counts as healthy; zero: 200-399
	Match     Match     `json:"match,omitzero"`      // of the content; zero: it is not read
	Redirects int       `json:"redirects,omitempty"` // how many are followed, on the same target only
	HTTP2     bool      `json:"http2,omitempty"`     // RFC 9113: by prior knowledge, over TLS by ALPN

	TLS Encryption `json:"tls,omitzero"` // kinds with IsEncrypted

	Service  string   `json:"service,omitempty"` // GRPC, GRPCS; "": the server as a whole
	Question Question `json:"question,omitzero"` // DNS
	Send     string   `json:"send,omitempty"`    // UDP, Agent: octets sent first
	Expect   string   `json:"expect,omitempty"`  // UDP: octets the answer begins with; "": any answer
	Program  Program  `json:"program,omitzero"`  // Command
}

// Match is what the content of a response must have. The zero Match asks nothing.
type Match struct {
	Contains string `json:"contains,omitempty"`
	Regexp   string `json:"regexp,omitempty"` // RE2
	// JSON is the place of a value in a JSON content, keys and indexes parted by dots
	// ("checks.0.state"), and Value what it must be, as text.
	JSON  string `json:"json,omitempty"`
	Value string `json:"value,omitempty"`
}

// Encryption is how a handshake of a check is made.
type Encryption struct {
	NoVerify   bool          `json:"noVerify,omitempty"`   // any certificate is taken
	ServerName string        `json:"serverName,omitempty"` // SNI and the name to be proven; "": the host, else the address
	CA         string        `json:"ca,omitempty"`         // file of authorities; "": those of the system
	Warn       time.Duration `json:"warn,omitempty"`       // how long before its end a certificate is warned of; 0: never
}

// Question is what a DNS check asks.
type Question struct {
	Name   string `json:"name,omitempty"`
	Type   string `json:"type,omitempty"`
	Rcodes string `json:"rcodes,omitempty"` // accepted, parted by commas; "": NOERROR
	Answer string `json:"answer,omitempty"` // data one record must have, in presentation format; "": any answer, also none
	TCP    bool   `json:"tcp,omitempty"`
}

// Program is what a Command check runs. Lists are parted by NUL, which no argument can
// have.
type Program struct {
	Args   string `json:"args,omitempty"`
	Env    string `json:"env,omitempty"` // NAME=value
	User   string `json:"user,omitempty"`
	Folder string `json:"folder,omitempty"`
}

// List returns the parts of a list of Program.
func List(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, "\x00")
}

// TermsOnce stands for Terms. Equal Terms have equal ones, which makes a Target small
// and quick to compare. The zero value stands for the zero Terms.
type TermsOnce struct{ handle unique.Handle[Terms] }

// Once returns what stands for t.
func (t Terms) Once() TermsOnce {
	if t == (Terms{}) {
		return TermsOnce{}
	}
	return TermsOnce{unique.Make(t)}
}

// Get returns the Terms that o stands for.
func (o TermsOnce) Get() Terms {
	if o == (TermsOnce{}) {
		return Terms{}
	}
	return o.handle.Value()
}

// validate reports terms that would not stay in their place in a request, or cannot
// be carried out.
func (t Terms) validate() error {
	switch {
	case t.Path != "" && t.Path[0] != '/':
		return fmt.Errorf("path %q: want it to begin with /", t.Path)
	case strings.ContainsFunc(t.Path, isNotVisible):
		return fmt.Errorf("path %q: has a space or control character: write it percent-encoded", t.Path)
	case strings.ContainsFunc(t.Host, isNotVisible):
		return fmt.Errorf("host %q: has a space or control character", t.Host)
	case strings.ContainsFunc(t.Method, isNotVisible):
		return fmt.Errorf("method %q: has a space or control character", t.Method)
	case t.Redirects < 0 || t.Redirects > MaxRedirects:
		return fmt.Errorf("redirects %d: want 0 to %d", t.Redirects, MaxRedirects)
	}
	for line := range strings.Lines(t.Fields) {
		name, value, isField := strings.Cut(strings.TrimSuffix(line, "\r\n"), ": ")
		if !isField || name == "" || strings.ContainsFunc(name, isNotVisible) || strings.ContainsAny(value, "\r\n\x00") || !strings.HasSuffix(line, "\r\n") {
			return fmt.Errorf("field %q: want a name, a colon, a space and a value without control characters", line)
		}
	}
	if _, err := regexp.Compile(t.Match.Regexp); err != nil {
		return fmt.Errorf("regexp: %w", err)
	}
	return nil
}

// MaxRedirects bounds Terms.Redirects. Arbitrary; a health page that needs more is lost.
const MaxRedirects = 5

func isNotVisible(r rune) bool { return r <= ' ' || r >= 0x7F }
