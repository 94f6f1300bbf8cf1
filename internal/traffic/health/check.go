package health

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unique"
)

// Kind is how a target is probed.
type Kind uint8

// The kinds of check. The zero Kind is None: only real traffic tells.
const (
	None      Kind = iota // no probes; passive results alone decide
	TCP                   // a connection is made and closed
	HTTP                  // a request is answered with a status of the set
	HTTPS                 // HTTP over TLS
	TLS                   // a handshake is made
	GRPC                  // grpc.health.v1 answers SERVING
	GRPCS                 // GRPC over TLS
	DNS                   // a question is answered as expected
	UDP                   // a datagram is answered as expected
	ICMP                  // an echo request is answered
	Command               // a program ends with 0
	Agent                 // the member says itself how it is, on a TCP connection
	AgentHTTP             // the same, as the content of a response
)

var kindNames = [...]string{"none", "tcp", "http", "https", "tls", "grpc", "grpcs", "dns", "udp", "icmp", "command", "agent", "agentHTTP"}

// String returns the word of the configuration file: "tcp".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// MarshalText returns what String returns.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote; the empty text is None.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range kindNames {
		if string(text) == name || (i == 0 && len(text) == 0) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("check type %q: want one of %s", text, strings.Join(kindNames[:], ", "))
}

// IsEncrypted reports whether probes of kind k make a TLS handshake.
func (k Kind) IsEncrypted() bool { return k == TLS || k == HTTPS || k == GRPCS }

// IsAgent reports whether the target itself says how it is, in the words of ParseAgent.
func (k Kind) IsAgent() bool { return k == Agent || k == AgentHTTP }

// Target is one address under one check. It is comparable and is the key under
// which a state is held: pools that agree on both share one target and its
// probes.
type Target struct {
	Address netip.AddrPort `json:"address"`
	Check   Check          `json:"check"`
}

// ProbeAddress returns where the probes go: the address of the member, or its
// host at the port of the check.
func (t Target) ProbeAddress() netip.AddrPort {
	if t.Check.Port == 0 {
		return t.Address
	}
	return netip.AddrPortFrom(t.Address.Addr(), t.Check.Port)
}

// Question returns t without its times: two targets with one Question ask the same
// thing of the same address, and what is known of one is true of the other.
func (t Target) Question() Target {
	t.Check.Params = ParamsOnce{}
	return t
}

// Check is what is asked of a target and how often.
type Check struct {
	Kind   Kind
	Port   uint16     // 0: the port of the member
	Terms  TermsOnce  // what is asked and expected, beside the kind
	Params ParamsOnce // times and counts; zero fields are defaults
}

// String says in a line what is asked and how often: "http /health every 1s".
func (c Check) String() string {
	if c.Kind == None {
		return "none"
	}
	text, t := c.Kind.String(), c.Terms.Get()
	for _, detail := range []string{t.Path, t.Service, t.Question.Name, strings.ReplaceAll(t.Program.Args, "\x00", " ")} {
		if detail != "" {
			text += " " + detail
		}
	}
	return fmt.Sprintf("%s every %v", text, c.Params.Normal().Interval)
}

// checkText is Check as it is written.
type checkText struct {
	Kind Kind   `json:"type"`
	Port uint16 `json:"port,omitempty"`
	Terms
	Params Params `json:"params,omitzero"`
}

// MarshalJSON writes the terms beside the other keys.
func (c Check) MarshalJSON() ([]byte, error) {
	return json.Marshal(checkText{c.Kind, c.Port, c.Terms.Get(), c.Params.Get()})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Check) UnmarshalJSON(text []byte) error {
	var t checkText
	if err := json.Unmarshal(text, &t); err != nil {
		return err
	}
	*c = Check{t.Kind, t.Port, t.Terms.Once(), t.Params.Once()}
	return nil
}

// Validate reports what is wrong with c: terms that would not stay in their place
// in a request, or a time that cannot be.
func (c Check) Validate() error {
	if int(c.Kind) >= len(kindNames) {
		return fmt.Errorf("check: %v: want one of %s", c.Kind, strings.Join(kindNames[:], ", "))
	}
	if err := c.Terms.Get().validate(); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	p := c.Params.Get()
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"interval", p.Interval}, {"timeout", p.Timeout}, {"confirm", p.Confirm}, {"eject", p.Eject}, {"startGrace", p.Grace}} {
		if d.value < 0 {
			return fmt.Errorf("check: %s %v: want a time above zero", d.name, d.value)
		}
	}
	if p.Interval > 0 && p.Interval < MinInterval {
		return fmt.Errorf("check: interval %v: want at least %v", p.Interval, MinInterval)
	}
	if p.Rise < 0 || p.Fall < 0 || max(p.Rise, p.Fall, p.Passive) > MaxCount {
		return fmt.Errorf("check: rise %d, fall %d, passive %d: want 1 to %d", p.Rise, p.Fall, p.Passive, MaxCount)
	}
	return nil
}

// Defaults of Params: what most peers use for a check each second, with the
// timeout such that the failed probes of a silent target fit in one interval.
const (
	DefaultInterval = time.Second
	DefaultRise     = 2
	DefaultFall     = 2
	// DefaultPassive is three: one or two failures are what a member that closed
	// an idle connection or restarts a worker shows, and the gateway retries those
	// on another member, so that nobody sees them. At three in a row, with no
	// success between, it is the member.
	DefaultPassive = 3
	// DefaultEject is how long a target stays away that traffic ejects: so long for each
	// ejection that is not forgotten, up to MaxEject.
	DefaultEject = 10 * time.Second
	MaxEject     = 5 * time.Minute
	// A target that goes down four times within half a minute is suppressed, and comes
	// back when it has been quiet for about two minutes.
	DefaultHalfLife = time.Minute
	DefaultSuppress = 3000
	DefaultReuse    = 1000
)

// Bounds of Params; Normal clamps to them.
const (
	MinInterval = 10 * time.Millisecond // below this a probe is a load test
	MaxCount    = 100                   // of Rise, Fall and Passive; arbitrary
	MaxGrace    = time.Hour             // of Grace; what takes longer to start is not checked yet
	// MinPause parts the end of one probe from the start of the next, so that a
	// target that takes its whole timeout is not probed without a break.
	MinPause = 10 * time.Millisecond
)

// Params are the times and counts of a check. Zero fields stand for defaults.
type Params struct {
	Interval time.Duration `json:"interval"`          // from the start of a probe to the start of the next
	Timeout  time.Duration `json:"timeout"`           // of a whole probe; default Interval/Fall, at most half
	Confirm  time.Duration `json:"confirm,omitempty"` // as Interval, while a verdict is open; default Interval/Fall
	Rise     int           `json:"rise"`              // successes in a row that bring a target up
	Fall     int           `json:"fall"`              // failures in a row that take it down
	Passive  int           `json:"passive"`           // failures of traffic in a row that take it down; <0: traffic is ignored
	Eject    time.Duration `json:"eject,omitempty"`   // first ejection by traffic
	// HalfLife, Suppress and Reuse are of damping, in penalties of 1000 for each time it
	// goes down.
	HalfLife time.Duration `json:"halfLife,omitempty"`
	Suppress int           `json:"suppress,omitempty"` // <0: never
	Reuse    int           `json:"reuse,omitempty"`
	// Grace is how long after its first probe the failures of a new target do not
	// count: it is still starting.
	Grace time.Duration `json:"startGrace,omitempty"`
}

// Normal returns p with defaults for its zero fields and every field in bounds.
func (p Params) Normal() Params {
	p.Interval = max(orDefault(p.Interval, DefaultInterval), MinInterval)
	p.Rise = min(max(orDefault(p.Rise, DefaultRise), 1), MaxCount)
	p.Fall = min(max(orDefault(p.Fall, DefaultFall), 1), MaxCount)
	p.Passive = min(orDefault(p.Passive, DefaultPassive), MaxCount)
	p.Timeout = max(orDefault(p.Timeout, p.Interval/time.Duration(max(p.Fall, 2))), time.Millisecond)
	p.Confirm = min(max(orDefault(p.Confirm, p.Interval/time.Duration(max(p.Fall, 2))), 0), p.Interval)
	p.Eject = min(max(orDefault(p.Eject, DefaultEject), MinInterval), MaxEject)
	p.Grace = min(max(p.Grace, 0), MaxGrace)
	p.HalfLife = min(max(orDefault(p.HalfLife, DefaultHalfLife), time.Second), MaxGrace)
	p.Suppress = min(orDefault(p.Suppress, DefaultSuppress), MaxCount*flapPenalty)
	p.Reuse = max(orDefault(p.Reuse, DefaultReuse), 1)
	return p
}

// ParamsOnce stands for Params. Equal Params have equal ones, which makes a Target small and quick to
// compare. The zero value stands for the zero Params.
type ParamsOnce struct{ handle unique.Handle[paramsTwice] }

type paramsTwice struct{ given, normal Params }

// Once returns what stands for p.
func (p Params) Once() ParamsOnce {
	if p == (Params{}) {
		return ParamsOnce{}
	}
	return ParamsOnce{unique.Make(paramsTwice{p, p.Normal()})}
}

// Get returns the Params that o stands for.
func (o ParamsOnce) Get() Params {
	if o == (ParamsOnce{}) {
		return Params{}
	}
	return o.handle.Value().given
}

var defaultParams = Params{}.Normal()

// Normal returns what Normal of Get returns.
func (o ParamsOnce) Normal() Params {
	if o == (ParamsOnce{}) {
		return defaultParams
	}
	return o.handle.Value().normal
}

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

// DetectWithin returns the longest time from the death of a target, just after a
// good probe, to its being Down, if its failed probes take spent each: 0 for a
// refused connection, Timeout for silence.
//
// A probe begins at most Interval after the death. Fall failed ones, each
// beginning Confirm after the last one began or MinPause after it ended, make the
// verdict. With Confirm = Interval/Fall and spent <= Interval/Fall this is at most
// 2*Interval + (Fall-1)*MinPause, the promise of two intervals and 50 ms.
func (p Params) DetectWithin(spent time.Duration) time.Duration {
	p = p.Normal()
	return p.Interval + time.Duration(p.Fall-1)*max(p.Confirm, spent+MinPause) + spent
}

// StatusSet is a set of HTTP status codes (100 to 599). It is comparable. The
// zero set stands for 200-399.
type StatusSet struct {
	bits [8]uint64 // bit i of the whole: code 100+i
}

const minStatus, maxStatus = 100, 599

// defaultStatus is what the zero StatusSet means: success and redirection. A
// redirect to a login page is the sign of a live application.
var defaultStatus = func() (s StatusSet) { s.add(200, 399); return s }()

func (s *StatusSet) add(from, to int) {
	for code := from; code <= to; code++ {
		s.bits[(code-minStatus)/64] |= 1 << ((code - minStatus) % 64)
	}
}

// Has reports whether code is in s.
func (s StatusSet) Has(code int) bool {
	if s.IsZero() {
		s = defaultStatus
	}
	if code < minStatus || code > maxStatus {
		return false
	}
	return s.bits[(code-minStatus)/64]&(1<<((code-minStatus)%64)) != 0
}

// IsZero reports whether s is the zero set, which stands for the default.
func (s StatusSet) IsZero() bool { return s == StatusSet{} }

// ParseStatusSet reads codes and ranges parted by commas: "200-399,404". The
// empty text is the zero set.
func ParseStatusSet(text string) (StatusSet, error) {
	var s StatusSet
	if strings.TrimSpace(text) == "" {
		return s, nil
	}
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		from, err1 := parseStatus(first)
		to, err2 := parseStatus(last)
		if err1 != nil || err2 != nil || from > to {
			return StatusSet{}, fmt.Errorf("status set %q: %q is neither a code from 100 to 599 nor a rising range; write it as \"200-399,404\"", text, strings.TrimSpace(part))
		}
		s.add(from, to)
	}
	return s, nil
}

func parseStatus(s string) (int, error) {
	code, err := strconv.Atoi(strings.TrimSpace(s))
	if err == nil && (code < minStatus || code > maxStatus) {
		err = strconv.ErrRange
	}
	return code, err
}

// String returns s as ParseStatusSet reads it, with ranges joined.
func (s StatusSet) String() string {
	if s.IsZero() {
		s = defaultStatus
	}
	var b []byte
	for code := minStatus; code <= maxStatus; code++ {
		if !s.Has(code) {
			continue
		}
		first := code
		for s.Has(code + 1) {
			code++
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(first), 10)
		if code > first {
			b = strconv.AppendInt(append(b, '-'), int64(code), 10)
		}
	}
	return string(b)
}

// MarshalText returns what String returns.
func (s StatusSet) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what ParseStatusSet reads.
func (s *StatusSet) UnmarshalText(text []byte) (err error) {
	*s, err = ParseStatusSet(string(text))
	return err
}
