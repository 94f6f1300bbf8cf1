package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Check is how the health of a pool's members is found out. A member whose
// check fails Fall times in a row is Down, and is Up again after Rise passes.
// Each type uses some of the keys; another one that is set is a mistake.
type Check struct {
	// Type is what a probe does. tcp asks for a connection, and resets it as soon as it is
	// agreed to: the member's program does not see it (Linux). tls makes a handshake. http and
	// https ask for Path and look at the status and, with match, at the content. grpc and
	// grpcs (over TLS) ask grpc.health.v1.Health. dns asks a question. udp sends a
	// datagram and waits for an answer. icmp sends an echo request. command runs a
	// program, which must end with 0. agent connects and reads what the member says of
	// itself, in a line as HAProxy's agent-check has it ("up 75%", "drain", "down # why")
	// or as JSON; agentHTTP reads the same at Path. none takes every member for healthy.
	Type string `json:"type" enum:"tcp,tls,http,https,grpc,grpcs,dns,udp,icmp,command,agent,agentHTTP,none" default:"tcp" example:"http"`
	// Port is where to probe. 0: the port of the member's address. Not for icmp and command.
	Port uint16 `json:"port" default:"0" min:"0" max:"65535" example:"8081"`
	// Path is what an http, https or agentHTTP probe asks for; it may have a query.
	Path string `json:"path" default:"/" example:"/health"`
	// Host is the name that an http, https, agentHTTP or grpc probe asks for. Empty: the member's address.
	Host string `json:"host" format:"hostname" default:"" example:"www.example.com"`
	// Method is the request method of an http or https probe.
	Method string `json:"method" enum:"GET,HEAD,OPTIONS,POST" default:"GET" example:"HEAD"`
	// Fields are more header fields of an http, https or agentHTTP request, each "Name: value".
	Fields []string `json:"fields" max:"32" example:"[\"Authorization: Bearer abc\"]"`
	// Version is the HTTP version of an http or https probe: 1.1, or 2 (by prior knowledge with http).
	Version string `json:"version" enum:"1.1,2" default:"1.1" example:"2"`
	// Status are the HTTP status codes that count as healthy, and ranges of them.
	Status StatusSet `json:"status" default:"200-399" example:"200-299,404"`
	// Redirects is how many redirects to a path on the same member an http or https
	// probe follows. 0: a redirect is an answer like others, by its status.
	Redirects int `json:"redirects" default:"0" min:"0" max:"5" example:"2"`
	// Match is what the content of an http or https response must have. At most 256 KiB
	// of it are read, and none unless something is asked for here.
	Match CheckMatch `json:"match"`
	// TLS is how tls, https and grpcs probes make their handshake.
	TLS CheckTLS `json:"tls"`
	// Service is what a grpc or grpcs probe asks about. Empty: the server as a whole.
	Service string `json:"service" default:"" example:"shop.v1.Cart"`
	// DNS is what a dns probe asks.
	DNS CheckDNS `json:"dns"`
	// Send is what a udp or agent probe sends first: text, or octets as "hex:0a1b".
	Send string `json:"send" default:"" example:"hex:ffffffff54536f75726365"`
	// Expect is what the answer to a udp probe must begin with, written as Send is. Empty: any answer does.
	Expect string `json:"expect" default:"" example:"PONG"`
	// Command is what a command probe runs.
	Command CheckCommand `json:"command"`
	// Interval is the time from the start of one probe to the start of the next. Each is
	// a little shorter, by chance and at most a tenth, so that probes do not go in step.
	Interval document.Duration `json:"interval" default:"1s" min:"10ms" max:"1h" example:"5s"`
	// FastInterval is Interval while a verdict is open: after a result that speaks
	// against the state. Default: interval divided by fall, at most half of it.
	FastInterval document.Duration `json:"fastInterval" min:"10ms" max:"1h" example:"250ms"`
	// Timeout is how long a probe may take. It cannot be longer than Interval.
	// Default: 500ms, or the interval if that is shorter.
	Timeout document.Duration `json:"timeout" min:"1ms" max:"1h" example:"250ms"`
	// StartGrace is how long the failures of a new member do not count: it is still starting.
	StartGrace document.Duration `json:"startGrace" default:"0s" min:"0s" max:"1h" example:"30s"`
	// Damping holds members down that come and go.
	Damping CheckDamping `json:"damping"`
	// Rise is how many probes in a row must pass before a member is Up.
	Rise int `json:"rise" default:"2" min:"1" max:"100" example:"3"`
	// Fall is how many probes in a row must fail before a member is Down.
	Fall int `json:"fall" default:"2" min:"1" max:"100" example:"3"`
}

// CheckMatch is what the content of a response must have. All that is set must hold.
type CheckMatch struct {
	// Contains is a text that must stand somewhere in it.
	Contains string `json:"contains" default:"" example:"all systems go"`
	// Regexp is a regular expression (RE2) that must match somewhere in it.
	Regexp string `json:"regexp" default:"" example:"version: [2-9]"`
	// JSON is the place of a value in a JSON content: keys, and indexes of lists, parted by dots.
	JSON string `json:"json" default:"" example:"checks.0.status"`
	// Value is what the value at JSON must be, as text. Empty: it must be there.
	Value string `json:"value" default:"" example:"pass"`
}

// CheckTLS is how a probe makes a TLS handshake.
type CheckTLS struct {
	// Verify has the certificate proven. Without it any is taken; its end is still looked at.
	Verify bool `json:"verify" default:"true" example:"false"`
	// ServerName is the name asked for (SNI) and proven. Empty: host, else the member's address.
	ServerName string `json:"serverName" format:"hostname" default:"" example:"www.example.com"`
	// CA is a file of authorities, PEM. Empty: those of the system. It is read again when it changes.
	CA string `json:"ca" format:"file" default:"" example:"/etc/pharos/members-ca.pem"`
	// Warn is how long before the end of its certificate a member is warned of. It stays
	// Up until the certificate has ended, if it is verified. 0: never.
	Warn document.Duration `json:"warn" default:"14d" min:"0s" max:"1000d" example:"30d"`
}

// CheckDNS is what a dns probe asks, and the answer that is expected.
type CheckDNS struct {
	// Name is the name that is asked for.
	Name string `json:"name" default:"" example:"www.example.com"`
	// Type is the record type that is asked for.
	Type string `json:"type" enum:"A,AAAA,CAA,CNAME,DNSKEY,DS,HTTPS,MX,NAPTR,NS,PTR,SOA,SRV,SVCB,TLSA,TXT" default:"A" example:"SOA"`
	// Rcodes are the response codes that count as healthy.
	Rcodes []string `json:"rcodes" enum:"NOERROR,FORMERR,SERVFAIL,NXDOMAIN,NOTIMP,REFUSED" default:"NOERROR" max:"6" example:"[NOERROR, NXDOMAIN]"`
	// Answer is the data that one record of the answer must have, as a zone file writes it. Empty: any answer, also none.
	Answer string `json:"answer" default:"" example:"192.0.2.1"`
	// TCP has the question sent over TCP instead of UDP.
	TCP bool `json:"tcp" default:"false" example:"true"`
}

// CheckCommand is what a command probe runs: without a shell, in a process group of its
// own that is killed as a whole when its time is over, with an environment of PATH,
// PHAROS_ADDRESS, PHAROS_HOST, PHAROS_PORT and what is said here, and no input.
type CheckCommand struct {
	// Run is the program, by its absolute path, and its arguments. The first line that it prints is shown as cause.
	Run []string `json:"run" max:"64" example:"[/usr/lib/nagios/plugins/check_pgsql, -d, shop]"`
	// User is who it runs as: a name or a number. Empty: the user of the node. Only root can run it as others.
	User string `json:"user" default:"" example:"nobody"`
	// Folder is the working folder.
	Folder string `json:"folder" format:"file" default:"/" example:"/var/lib/pharos"`
	// Environment are more variables, each NAME=value.
	Environment []string `json:"environment" max:"64" example:"[PGCONNECT_TIMEOUT=1]"`
}

// CheckDamping holds a member down that comes and goes (the idea of RFC 2439): each time
// that probes find it down costs it a penalty of 1000, which halves each HalfLife. From
// Suppress on it stays down, though probes are good, until less than Reuse is left.
type CheckDamping struct {
	// HalfLife is the time in which half of a penalty is forgotten.
	HalfLife document.Duration `json:"halfLife" default:"1m" min:"1s" max:"1h" example:"15m"`
	// Suppress is the penalty from which on a member is held down. 0: never.
	Suppress int `json:"suppress" default:"3000" min:"0" max:"100000" example:"2000"`
	// Reuse is the penalty below which it is used again. It is less than Suppress.
	Reuse int `json:"reuse" default:"1000" min:"1" max:"100000" example:"750"`
}

// check reports what is wrong within it.
func (d *CheckDamping) check(at string, report Report) {
	if d.Suppress > 0 && d.Reuse >= d.Suppress {
		report(at+"reuse", fmt.Sprintf("it is not below suppress, %d", d.Suppress), "a member that is held must be let go at less than what held it")
	}
	if most := 16 * d.Reuse; d.Suppress > most {
		report(at+"suppress", fmt.Sprintf("no penalty is ever more than 16 times reuse, which is %d", most), "lower suppress, or raise reuse; 0 is never")
	}
}

// defaultTimeout is a check's timeout when it has none and its interval is longer.
const defaultTimeout = document.Duration(500 * time.Millisecond)

// leastInterval is the smallest FastInterval, as its tag says.
const leastInterval = document.Duration(10 * time.Millisecond)

// plainCheck is a check of which nobody has said anything.
var plainCheck = sync.OnceValue(func() (c Check) {
	document.SetDefaults(&c)
	return c
})

// Complete fills in what follows from other fields.
func (c *Check) Complete() {
	if c.Timeout == 0 {
		c.Timeout = min(defaultTimeout, c.Interval)
	}
	if c.FastInterval == 0 {
		c.FastInterval = max(c.Interval/document.Duration(max(c.Fall, 2)), min(c.Interval, leastInterval))
	}
}

// usedBy are the types that a key of a check means something to. Keys that are not
// here go with every type.
var usedBy = map[string][]string{
	"port":      {"tcp", "tls", "http", "https", "grpc", "grpcs", "dns", "udp", "agent", "agentHTTP"},
	"path":      {"http", "https", "agentHTTP"},
	"host":      {"http", "https", "agentHTTP", "grpc", "grpcs"},
	"method":    {"http", "https"},
	"fields":    {"http", "https", "agentHTTP"},
	"version":   {"http", "https"},
	"status":    {"http", "https"},
	"redirects": {"http", "https"},
	"match":     {"http", "https"},
	"tls":       {"tls", "https", "grpcs"},
	"service":   {"grpc", "grpcs"},
	"dns":       {"dns"},
	"send":      {"udp", "agent"},
	"expect":    {"udp"},
	"command":   {"command"},
}

// check reports what is wrong within a check; paths begin with at.
func (c *Check) check(at string, report Report) {
	if c.Timeout > c.Interval {
		report(at+"timeout", fmt.Sprintf("the timeout %s is longer than the interval %s", c.Timeout, c.Interval),
			"a probe must end before the next begins; shorten the timeout or lengthen the interval")
	}
	if c.FastInterval > c.Interval {
		report(at+"fastInterval", fmt.Sprintf("it is longer than the interval %s", c.Interval), "shorten it, or leave it out")
	}
	if text := c.checkPath(); text != "" {
		report(at+"path", text, `write it as "/health" or "/health?full=1"`)
	}
	for i, f := range c.Fields {
		if text := checkField(f); text != "" {
			report(fmt.Sprintf("%sfields[%d]", at, i), text, `write it as "X-Probe: pharos"`)
		}
	}
	c.Match.check(at+"match.", report)
	c.Damping.check(at+"damping.", report)
	c.DNS.check(at+"dns.", c.Type, report)
	c.Command.check(at+"command.", c.Type, report)
	for _, part := range []struct{ key, text string }{{"send", c.Send}, {"expect", c.Expect}} {
		if _, err := Octets(part.text); err != nil {
			report(at+part.key, err.Error(), `write octets as "hex:0a1b", two digits each`)
		}
	}
	if c.Type == "udp" && c.Send == "" {
		report(at+"send", "a udp probe has nothing to send, and nobody answers to nothing", `say what to send, as text or as "hex:0a1b"`)
	}
	if c.Redirects > 0 && c.Method == "POST" {
		report(at+"redirects", "what a POST is redirected to is another thing to ask", "use GET, or redirects: 0")
	}
}

// checkApplied reports what only the configuration file may say. Who can call the admin
// listener of a node may change what it serves, not run programs on it.
func (c *Check) checkApplied(at string, report Report) {
	if c.Type == "command" {
		report(at+"type", "a pool that is applied at run time cannot have commands run", "put the pool into the configuration file")
	}
}

// checkUnused reports keys that the type has no use for, if they are not as when
// nobody says anything: who set them believes in something that is not so. What lies in
// the store is not asked: versions before this one took such keys in.
func (c *Check) checkUnused(at string, report Report) {
	have, want := reflect.ValueOf(*c), reflect.ValueOf(plainCheck())
	for _, f := range document.Fields(have.Type()) {
		types, limited := usedBy[f.Key]
		if !limited || slices.Contains(types, c.Type) || reflect.DeepEqual(have.FieldByIndex(f.Index).Interface(), want.FieldByIndex(f.Index).Interface()) {
			continue
		}
		report(at+f.Key, fmt.Sprintf("a check of type %s does not use %s", c.Type, f.Key), "remove it; it goes with "+strings.Join(types, ", "))
	}
}

// checkPath says what is wrong with the path of a probe: it goes into a request
// line as it is (RFC 9112 §3.2.1).
func (c *Check) checkPath() string {
	if c.Path == "" || c.Path[0] != '/' {
		return `the path does not begin with "/"`
	}
	for i := range len(c.Path) {
		if ch := c.Path[i]; ch <= ' ' || ch >= 0x7f || ch == '#' {
			return "the path has a character that cannot stand in a request"
		}
	}
	return ""
}

// ownFields are fields that a probe sets itself, in lower case.
var ownFields = []string{"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "keep-alive", "proxy-connection"}

// checkField says what is wrong with a header field (RFC 9110 §5.1, §5.5).
func checkField(f string) string {
	name, value, found := strings.Cut(f, ": ")
	switch {
	case !found || name == "":
		return "it is no field: a name, a colon, a space and a value"
	case strings.ContainsFunc(name, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}):
		return "its name has a character that no field name has"
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return "its value has a control character"
	case slices.Contains(ownFields, strings.ToLower(name)):
		return "a probe sets " + name + " itself"
	}
	return ""
}

func (m *CheckMatch) check(at string, report Report) {
	if _, err := regexp.Compile(m.Regexp); err != nil {
		report(at+"regexp", err.Error(), "see https://golang.org/s/re2syntax")
	}
	if m.Value != "" && m.JSON == "" {
		report(at+"value", "it is not said where the value stands", "add json, the place in the content")
	}
}

func (d *CheckDNS) check(at, kind string, report Report) {
	if d.Name == "" && kind == "dns" {
		report(at+"name", "it is not said what to ask for", `add it, for example name: www.example.com; "." is the root`)
		return
	}
	if _, err := dnsname.Parse(d.Name); err != nil && d.Name != "" {
		report(at+"name", err.Error(), `write it as "www.example.com"`)
	}
	if kind, known := rdata.ParseType(d.Type); known && d.Answer != "" {
		if _, err := rdata.ParseText(kind, dnsname.Root, d.Answer); err != nil {
			report(at+"answer", err.Error(), "write the data as a zone file has it, names with their last dot")
		}
	}
	if len(d.Rcodes) == 0 {
		report(at+"rcodes", "with no response code no answer is good", "leave it out, or name those that are good")
	}
}

func (c *CheckCommand) check(at, kind string, report Report) {
	if kind == "command" && (len(c.Run) == 0 || !strings.HasPrefix(c.Run[0], "/")) {
		report(at+"run", "it is not said which program to run, by its absolute path", "write it as [/usr/local/bin/check-shop, --quick]")
	}
	for i, v := range c.Environment {
		if name, _, found := strings.Cut(v, "="); !found || name == "" {
			report(fmt.Sprintf("%senvironment[%d]", at, i), "it is no variable", "write it as NAME=value")
		}
	}
	if !strings.HasPrefix(c.Folder, "/") {
		report(at+"folder", "it is not an absolute path", "write it as /var/lib/pharos")
	}
	for _, part := range slices.Concat(c.Run, c.Environment, []string{c.User, c.Folder}) {
		if strings.ContainsRune(part, 0) {
			report(at+"run", "an argument, a variable or a name has a NUL character", "remove it")
		}
	}
}

// Octets returns what a text of Send or Expect stands for.
func Octets(text string) (string, error) {
	digits, isHex := strings.CutPrefix(text, "hex:")
	if !isHex {
		return text, nil
	}
	octets, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	if err != nil {
		return "", fmt.Errorf("the octets cannot be read: %w", err)
	}
	return string(octets), nil
}

// StatusSet is a set of HTTP status codes: codes and ranges with both ends in it,
// parted by commas, as "200-399,404".
type StatusSet struct{ text string }

// String returns the set as it is written.
func (s StatusSet) String() string { return s.text }

// MarshalText returns the set as it is written.
func (s StatusSet) MarshalText() ([]byte, error) { return []byte(s.text), nil }

// UnmarshalText reads a set as it is written.
func (s *StatusSet) UnmarshalText(text []byte) error {
	var parts []string
	for part := range strings.SplitSeq(string(text), ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			high = low
		}
		l, errLow := strconv.ParseUint(low, 10, 16)
		h, errHigh := strconv.ParseUint(high, 10, 16)
		switch {
		case errLow != nil || errHigh != nil:
			return errors.New("is not a set of status codes")
		case l < 100 || h > 599:
			return errors.New("has a status code outside 100 to 599") // RFC 9110 §15
		case l > h:
			return errors.New("ends before it begins")
		}
		parts = append(parts, strings.TrimSpace(part))
	}
	s.text = strings.Join(parts, ",")
	return nil
}
