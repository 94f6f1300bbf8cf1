package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"pharos/internal/cluster/state"
	"pharos/internal/traffic/scale"
)

// Spec is how a pool scales.
type Spec struct {
	Pool    string
	Rules   scale.Rules
	Measure time.Duration // over which signals are measured
	Drain   time.Duration // how long a member that leaves may take to finish
	Linger  time.Duration // how long it stays at least
	Process *Process      // nil unless it is the driver
	Webhook *Webhook      // likewise
}

// Process is a program that runs as members.
type Process struct {
	Run         []string
	Address     netip.Addr
	First, Last uint16 // ports
	Host        string
	User        string
	Folder      string
	Environment []string
	Start       time.Duration // how long it may take until it is up
	Grace       time.Duration // from SIGTERM to SIGKILL
	LogSize     int64
	LogFiles    int
}

// Webhook is a server that is asked for members.
type Webhook struct {
	URL, CA, SecretFile string
	Timeout, Interval   time.Duration
	Tries               int
	Port                uint16
	Networks            []netip.Prefix
	Most                int // members that are taken of an answer
}

// Specs returns how pools scale. They have been checked.
func Specs(r *state.Resources) (specs []Spec) {
	for i := range r.Pools {
		if p := &r.Pools[i]; p.Scale.On() {
			specs = append(specs, specOf(p, longestTTL(r.Steer, p.Name)))
		}
	}
	return specs
}

// longestTTL returns how long an answer from a pool is kept at most.
func longestTTL(names []state.Steer, pool string) (longest time.Duration) {
	for _, s := range names {
		if s.Pool == pool || s.Fallback.Pool == pool {
			longest = max(longest, s.TTL.Std())
		}
	}
	return longest
}

func specOf(p *state.Pool, ttl time.Duration) Spec {
	s := &p.Scale
	rules, err := s.Rules()
	if err != nil {
		panic("BUG: " + err.Error()) // the configuration has checked it
	}
	spec := Spec{Pool: p.Name, Rules: rules, Measure: s.Measure.Std(), Drain: s.Drain.Std(), Linger: s.Linger.Std()}
	if spec.Linger == 0 {
		spec.Linger = ttl
	}
	if w := &s.Webhook; s.Driver == "webhook" {
		spec.Webhook = &Webhook{
			URL: w.URL, CA: w.CA, SecretFile: w.SecretFile, Timeout: w.Timeout.Std(), Interval: w.Interval.Std(),
			Tries: w.Tries, Port: w.Port, Networks: w.Networks, Most: scale.MaxMembers,
		}
		return spec
	}
	x := &s.Process
	first, last, err := x.PortRange()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	spec.Process = &Process{
		Run: x.Run, Address: x.Address.Unmap(), First: first, Last: last, User: x.User, Folder: x.Folder, Environment: x.Environment,
		Start: x.Start.Std(), Grace: x.Grace.Std(), LogSize: int64(x.LogSize), LogFiles: x.LogFiles,
	}
	if !x.Host.IsZero() {
		spec.Process.Host = x.Host.String()
	}
	return spec
}

// Driver returns "process" or "webhook".
func (s *Spec) Driver() string {
	if s.Process != nil {
		return "process"
	}
	return "webhook"
}

// String tells the rules: "0 to 4 members; target 200 requests/s; ...".
func (s *Spec) String() string {
	parts := []string{fmt.Sprintf("%d to %d members", s.Rules.Min, s.Rules.Max)}
	for _, t := range s.Rules.Targets {
		parts = append(parts, fmt.Sprintf("%s %s for each", t.By, t.By.Text(t.Value)))
	}
	for _, t := range s.Rules.Steps {
		if t.Above {
			parts = append(parts, fmt.Sprintf("%d more when %s is above %s", t.Change, t.By, t.By.Text(t.Bound)))
		} else {
			parts = append(parts, fmt.Sprintf("%d fewer when %s is below %s", t.Change, t.By, t.By.Text(t.Bound)))
		}
	}
	for _, w := range s.Rules.Windows {
		parts = append(parts, fmt.Sprintf("%d to %d members at %s", w.Min, w.Max, w.String()))
	}
	return strings.Join(parts, "; ")
}

// hash is what makes a process one of p: when it changes, members are replaced.
func (p *Process) hash() string {
	text, err := json.Marshal([]any{p.Run, p.Address, p.User, p.Folder, p.Environment})
	if err != nil {
		panic("BUG: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
