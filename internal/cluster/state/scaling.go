package state

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/internal/cluster/document"
	"pharos/internal/dns/dnsname"
	"pharos/internal/traffic/scale"
)

// Scaling has a pool get more members when they have much to do, and fewer when they do
// not. All rules are asked each second. What wants most members counts, and members are
// removed only when every rule agrees. All members of the pool count, those that are
// named or discovered, too; these are never removed. Only the configuration file can
// have a pool scale, not what is applied at run time.
type Scaling struct {
	// Driver is what makes members. process runs a program on this machine, webhook asks
	// somebody else. Empty: the pool does not scale.
	Driver string `json:"driver,omitzero" enum:",process,webhook" default:"" example:"process"`
	// Min is how many members there are at least. 0: none while there is nothing to do;
	// requests are then held until the first is up (hold).
	Min int `json:"min" default:"1" min:"0" max:"1000" example:"2"`
	// Max is how many there are at most.
	Max int `json:"max,omitzero" default:"0" min:"0" max:"1000" example:"10"`
	// Target is how much each member is to have to do.
	Target ScaleTarget `json:"target,omitzero"`
	// Steps add or remove members when a signal passes a bound.
	Steps []ScaleStep `json:"steps,omitzero" max:"16" example:"[{by: latency, above: 500ms, add: 3}]"`
	// Schedules have other bounds at times.
	Schedules []ScaleSchedule `json:"schedules,omitzero" max:"16" example:"[{at: \"30 8 * * mon-fri\", for: 10h, min: 4, max: 10}]"`
	// Tolerance is by how many percent of the target a signal may be off it.
	Tolerance int `json:"tolerance" default:"10" min:"0" max:"90" example:"20"`
	// Measure is the time over which signals are measured.
	Measure document.Duration `json:"measure" default:"10s" min:"1s" max:"10m" example:"30s"`
	// OutCoolDown is how long after members were added no more are added.
	OutCoolDown document.Duration `json:"outCoolDown" default:"10s" min:"0s" max:"1h" example:"30s"`
	// InCoolDown is how long after a change no members are removed.
	InCoolDown document.Duration `json:"inCoolDown" default:"1m" min:"0s" max:"24h" example:"5m"`
	// WarmUp is how long a member is new after it came up: its latency and its load do not
	// count, it counts as one that helps already, and no member is removed.
	WarmUp document.Duration `json:"warmUp" default:"10s" min:"0s" max:"1h" example:"1m"`
	// Stabilise is how long the rules must have wanted fewer members before any is
	// removed; the most that they wanted in that time counts.
	Stabilise document.Duration `json:"stabilise" default:"5m" min:"0s" max:"24h" example:"10m"`
	// Replace is after how long another member takes the place of one that is down. 0: never.
	Replace document.Duration `json:"replace" default:"1m" min:"0s" max:"24h" example:"5m"`
	// Drain is how long a member that is removed may take to finish what it has under way.
	// It gets nothing new meanwhile.
	Drain document.Duration `json:"drain" default:"30s" min:"0s" max:"24h" example:"5m"`
	// Linger is how long at least a member that is removed stays, for clients that have an
	// old answer of DNS. Default: the longest TTL of the names that are answered from the pool.
	Linger document.Duration `json:"linger,omitzero" default:"0s" min:"0s" max:"24h" example:"1m"`
	// Hold is how requests and connections wait for the first member.
	Hold ScaleHold `json:"hold"`
	// Process is what the driver process runs.
	Process ScaleProcess `json:"process,omitzero"`
	// Webhook is whom the driver webhook asks.
	Webhook ScaleWebhook `json:"webhook,omitzero"`
}

// ScaleTarget is how much each member is to have to do. So many members are wanted that
// none has more.
type ScaleTarget struct {
	// Connections are requests and connections in flight. 0: they do not matter.
	Connections int `json:"connections,omitzero" default:"0" min:"0" max:"16777216" example:"50"`
	// Requests are requests per second. 0: they do not matter.
	Requests int `json:"requests,omitzero" default:"0" min:"0" max:"16777216" example:"200"`
	// Latency is the mean time until the head of a response. 0: it does not matter.
	Latency document.Duration `json:"latency,omitzero" default:"0s" min:"0s" max:"10m" example:"200ms"`
	// Bandwidth is what is sent and received. 0: it does not matter.
	Bandwidth document.Rate `json:"bandwidth,omitzero" default:"0" min:"0" max:"1000Tbps" example:"100Mbps"`
	// Load is the mean of what the members' agents report, in percent. 0: it does not matter.
	Load int `json:"load,omitzero" default:"0" min:"0" max:"1000" example:"70"`
}

// ScaleStep adds or removes members when a signal, for each member, passes a bound.
type ScaleStep struct {
	// By is the signal, as in target.
	By string `json:"by" enum:"connections,requests,latency,bandwidth,load" required:"true" example:"latency"`
	// Above is the bound that has members added: a number, a time for latency, a rate for
	// bandwidth, percent for load.
	Above string `json:"above,omitzero" default:"" example:"500ms"`
	// Add is how many are added.
	Add int `json:"add,omitzero" default:"0" min:"0" max:"1000" example:"2"`
	// Below is the bound that has members removed.
	Below string `json:"below,omitzero" default:"" example:"50ms"`
	// Remove is how many are removed.
	Remove int `json:"remove,omitzero" default:"0" min:"0" max:"1000" example:"1"`
}

// ScaleSchedule is a time with bounds of its own. Of several that are on the highest
// bounds count.
type ScaleSchedule struct {
	// At is when it begins, as in a crontab: minute, hour, day of the month, month, day of
	// the week, by numbers and English names, with lists, ranges and steps.
	At string `json:"at" required:"true" example:"30 8 * * mon-fri"`
	// Zone is the time zone that At is in, as in the tz database.
	Zone string `json:"zone" default:"UTC" example:"Europe/Amsterdam"`
	// For is how long it lasts.
	For document.Duration `json:"for" required:"true" min:"1m" max:"31d" example:"10h"`
	// Min and Max go in place of those of the pool.
	Min int `json:"min" default:"0" min:"0" max:"1000" example:"4"`
	// Max is how many members there are at most. 0: as many as the pool has.
	Max int `json:"max,omitzero" default:"0" min:"0" max:"1000" example:"10"`
}

// ScaleHold is how requests of HTTP, and connections and datagrams of streams, wait while a
// pool that scales has nobody to serve them. What is over a bound is answered with 503 and
// Retry-After, or reset.
type ScaleHold struct {
	// Requests is how many wait at once, connections among them. 0: none does.
	Requests int `json:"requests" default:"100" min:"0" max:"100000" example:"1000"`
	// Content is how much memory they take together.
	Content document.Size `json:"content" default:"16MiB" min:"0" max:"1GiB" example:"64MiB"`
	// Time is how long each waits at most.
	Time document.Duration `json:"time" default:"30s" min:"100ms" max:"10m" example:"1m"`
}

// ScaleProcess is a program that runs as members of a pool: without a shell, in a process
// group of its own, without input, with an environment of PATH, LANG, PHAROS_POOL,
// PHAROS_MEMBER, PHAROS_ADDRESS (address and port), PHAROS_HOST, PHAROS_PORT, and what is
// said here. It must listen at its address; the check of the pool finds out when it does.
// What it prints goes to a log of its own.
type ScaleProcess struct {
	// Run is the program, by its absolute path, and its arguments. {port}, {host},
	// {address}, {member} and {pool} are replaced.
	Run []string `json:"run,omitzero" max:"64" example:"[/usr/local/bin/shop, --listen, \"{address}\"]"`
	// Address is where members listen.
	Address netip.Addr `json:"address" default:"127.0.0.1" example:"192.0.2.10"`
	// Ports are the ports that members get, first-last. No other pool may have them at that
	// address. Some more than max let one start while another is still draining.
	Ports string `json:"ports,omitzero" default:"" example:"9000-9019"`
	// Host is the name of this machine, for steered names of the answers srv, mx and cname.
	Host dnsname.Name `json:"host,omitzero" example:"node1.example.net"`
	// User is who it runs as: a name or a number. Empty: the user of the node. Only root can run it as others.
	User string `json:"user,omitzero" default:"" example:"shop"`
	// Folder is the working folder.
	Folder string `json:"folder,omitzero" format:"file" default:"/" example:"/srv/shop"`
	// Environment are more variables, each NAME=value.
	Environment []string `json:"environment,omitzero" max:"64" example:"[SHOP_CURRENCY=EUR]"`
	// Start is how long a member may take until it is up. One that takes longer is killed.
	Start document.Duration `json:"start" default:"30s" min:"100ms" max:"1h" example:"2m"`
	// Grace is how long a member may take to end after SIGTERM, before it is killed.
	Grace document.Duration `json:"grace" default:"10s" min:"0s" max:"1h" example:"30s"`
	// LogSize is the size at which the log of a member is put aside and a new one begun.
	LogSize document.Size `json:"logSize" default:"1MiB" min:"4KiB" max:"1GiB" example:"10MiB"`
	// LogFiles is how many logs of a member are kept, with the one that is written.
	LogFiles int `json:"logFiles" default:"3" min:"1" max:"100" example:"10"`
}

// ScaleWebhook is an HTTP server that is told how many members a pool is to have, and
// sees to it: an orchestrator, or a script in front of one. It may answer with the
// members that there are then, as targets in the form of Prometheus' http_sd; else name
// them under discover. A POST has a key that is the same when it is tried again
// (Idempotency-Key), and is signed if there is a secret.
type ScaleWebhook struct {
	// URL is where it is. Redirects are not followed.
	URL string `json:"url,omitzero" default:"" example:"https://orchestrator.example.com/scale"`
	// CA is a file of authorities that prove the server, PEM. Empty: those of the system.
	CA string `json:"ca,omitzero" format:"file" default:"" example:"/etc/pharos/orchestrator-ca.pem"`
	// SecretFile has the secret that signs what is sent (HMAC-SHA-256): at least 16 octets.
	// It is read for each message.
	SecretFile string `json:"secretFile,omitzero" format:"file" default:"" example:"/etc/pharos/scale.secret"`
	// Timeout is how long an answer may take.
	Timeout document.Duration `json:"timeout" default:"10s" min:"100ms" max:"5m" example:"30s"`
	// Tries is how often a message is sent before it is given up until the next interval.
	Tries int `json:"tries" default:"4" min:"1" max:"10" example:"2"`
	// Interval is how long after a message the same is said again, for a server that has
	// forgotten or changed its members.
	Interval document.Duration `json:"interval" default:"1m" min:"1s" max:"24h" example:"5m"`
	// Port is the port of members that have none in the answer.
	Port uint16 `json:"port,omitzero" default:"0" min:"0" max:"65535" example:"8080"`
	// Networks are where members may be. Empty: everywhere but on this machine (loopback),
	// on its link (link-local), and at multicast addresses.
	Networks []netip.Prefix `json:"networks,omitzero" max:"64" example:"[10.0.0.0/8]"`
}

// plainScaling is one of which nobody has said anything.
var plainScaling = sync.OnceValue(func() (s Scaling) {
	document.SetDefaults(&s)
	return s
})

// IsZero reports whether nothing is said of s.
func (s Scaling) IsZero() bool {
	return reflect.DeepEqual(s, Scaling{}) || reflect.DeepEqual(s, plainScaling())
}

// On reports whether the pool scales.
func (s *Scaling) On() bool { return s.Driver != "" }

// Complete fills in what follows from other fields.
func (s *Scaling) Complete() {
	for i := range s.Schedules {
		if w := &s.Schedules[i]; w.Max == 0 {
			w.Max = max(s.Max, w.Min)
		}
	}
}

// Most returns the most members that there can be.
func (s *Scaling) Most() int {
	most := s.Max
	for _, w := range s.Schedules {
		most = max(most, w.Max)
	}
	return most
}

// Rules returns the rules as they are decided by. They have been checked.
func (s *Scaling) Rules() (scale.Rules, error) {
	r := scale.Rules{
		Min: s.Min, Max: s.Max, Tolerance: float64(s.Tolerance) / 100, OutPause: s.OutCoolDown.Std(), InPause: s.InCoolDown.Std(),
		WarmUp: s.WarmUp.Std(), Stabilise: s.Stabilise.Std(), Replace: s.Replace.Std(),
	}
	for _, t := range []scale.Target{
		{By: scale.Connections, Value: float64(s.Target.Connections)}, {By: scale.Requests, Value: float64(s.Target.Requests)},
		{By: scale.Latency, Value: float64(s.Target.Latency)}, {By: scale.Bandwidth, Value: float64(s.Target.Bandwidth)},
		{By: scale.Load, Value: float64(s.Target.Load)},
	} {
		if t.Value > 0 {
			r.Targets = append(r.Targets, t)
		}
	}
	for i := range s.Steps {
		steps, err := s.Steps[i].rules()
		if err != nil {
			return r, err
		}
		r.Steps = append(r.Steps, steps...)
	}
	for i := range s.Schedules {
		w, err := s.Schedules[i].window()
		if err != nil {
			return r, err
		}
		r.Windows = append(r.Windows, w)
	}
	return r, r.Validate()
}

// rules returns the one or two steps that s says.
func (s *ScaleStep) rules() (all []scale.Step, err error) {
	var by scale.Signal
	if err := by.UnmarshalText([]byte(s.By)); err != nil {
		return nil, err
	}
	if s.Above == "" && s.Below == "" {
		return nil, fmt.Errorf("it says neither above nor below")
	}
	for _, side := range []struct {
		key, text, change string
		above             bool
		n                 int
	}{{"above", s.Above, "add", true, s.Add}, {"below", s.Below, "remove", false, s.Remove}} {
		switch {
		case side.text == "" && side.n == 0:
			continue
		case side.text == "" || side.n == 0:
			return nil, fmt.Errorf("%s goes with %s", side.key, side.change)
		}
		bound, err := parseSignal(by, side.text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side.key, err)
		}
		all = append(all, scale.Step{By: by, Above: side.above, Bound: bound, Change: side.n})
	}
	return all, nil
}

// parseSignal reads the value of a signal, in its own form.
func parseSignal(by scale.Signal, text string) (float64, error) {
	switch by {
	case scale.Latency:
		var d document.Duration
		err := d.UnmarshalText([]byte(text))
		return float64(d), err
	case scale.Bandwidth:
		var r document.Rate
		err := r.UnmarshalText([]byte(text))
		return float64(r), err
	case scale.Load:
		text = strings.TrimSuffix(text, "%")
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%.40q is no whole number", text)
	}
	return float64(n), nil
}

// window returns the schedule as it is asked. The zone is of the tz database that the
// program brings along, or of the system's.
func (s *ScaleSchedule) window() (scale.Window, error) {
	zone, err := time.LoadLocation(s.Zone)
	if err != nil || s.Zone == "Local" {
		return scale.Window{}, fmt.Errorf("there is no time zone %.60q; write it as in the tz database, like Europe/Amsterdam", s.Zone)
	}
	w, err := scale.ParseWindow(s.At, zone, s.For.Std())
	w.Min, w.Max = s.Min, s.Max
	return w, err
}

// PortRange returns the first and the last port.
func (p *ScaleProcess) PortRange() (first, last uint16, err error) {
	from, to, _ := strings.Cut(p.Ports, "-")
	low, err1 := strconv.ParseUint(from, 10, 16)
	high, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || low == 0 || high < low {
		return 0, 0, fmt.Errorf("%.40q is no range of ports", p.Ports)
	}
	return uint16(low), uint16(high), nil
}

// check reports what is wrong within a scaling; paths begin with at.
func (s *Scaling) check(at string, check *Check, report Report) {
	if !s.On() {
		if !s.IsZero() {
			report(at+"driver", "the pool does not scale without a driver", "add driver: process or driver: webhook, or remove scale")
		}
		return
	}
	if s.Max < max(s.Min, 1) {
		report(at+"max", fmt.Sprintf("at most %d members, at least %d", s.Max, s.Min), "write max: as many as there may be")
		return
	}
	for i := range s.Schedules {
		where, w := fmt.Sprintf("%sschedules[%d]", at, i), &s.Schedules[i]
		if _, err := w.window(); err != nil {
			report(where, err.Error(), `write it as at: "30 8 * * mon-fri", zone: Europe/Amsterdam`)
		}
		if w.Max < max(w.Min, 1) {
			report(where+".max", fmt.Sprintf("at most %d members, at least %d", w.Max, w.Min), "raise max, or leave it out")
		}
	}
	for i := range s.Steps {
		if _, err := s.Steps[i].rules(); err != nil {
			report(fmt.Sprintf("%ssteps[%d]", at, i), err.Error(), "write it as {by: latency, above: 500ms, add: 2, below: 50ms, remove: 1}")
		}
	}
	plain := plainScaling()
	switch s.Driver {
	case "process":
		s.Process.check(at+"process.", s.Most(), check, report)
		if !reflect.DeepEqual(s.Webhook, plain.Webhook) {
			report(at+"webhook", "the driver process does not use it", "remove it")
		}
	case "webhook":
		s.Webhook.check(at+"webhook.", report)
		if !reflect.DeepEqual(s.Process, plain.Process) {
			report(at+"process", "the driver webhook does not use it", "remove it")
		}
	}
}

// hasAgent reports whether an agent is asked, as the check or beside it.
func (p *Pool) hasAgent() bool {
	isAgent := func(kind string) bool { return kind == "agent" || kind == "agentHTTP" }
	return isAgent(p.Check.Type) || isAgent(p.Agent.Type)
}

// checkLoad: a load has to be reported by somebody.
func (s *Scaling) checkLoad(at string, reported bool, report Report) {
	if !s.On() || reported {
		return
	}
	const text, remedy = "nobody reports a load: the pool has no agent", "write agent: {type: agentHTTP, ...}, or go by another signal"
	if s.Target.Load > 0 {
		report(at+"target.load", text, remedy)
	}
	for i := range s.Steps {
		if s.Steps[i].By == "load" {
			report(fmt.Sprintf("%ssteps[%d].by", at, i), text, remedy)
		}
	}
}

// placeholders are what is replaced in the arguments of a program.
var placeholders = []string{"{port}", "{host}", "{address}", "{member}", "{pool}"}

func (p *ScaleProcess) check(at string, most int, check *Check, report Report) {
	switch {
	case len(p.Run) == 0 || p.Run[0] == "":
		report(at+"run", "there is nothing to run", `write run: [/usr/local/bin/shop, --listen, "{address}"]`)
	case !filepath.IsAbs(p.Run[0]):
		report(at+"run[0]", fmt.Sprintf("%.60q is no absolute path", p.Run[0]), "write where the program is; there is no shell that would look for it")
	}
	for i, arg := range p.Run {
		rest := arg
		for _, known := range placeholders {
			rest = strings.ReplaceAll(rest, known, "")
		}
		if strings.ContainsRune(arg, 0) || strings.HasPrefix(rest, "{") && strings.HasSuffix(rest, "}") {
			report(fmt.Sprintf("%srun[%d]", at, i), fmt.Sprintf("%.60q is not replaced by anything", arg), "known are "+strings.Join(placeholders, ", "))
		}
	}
	for i, v := range p.Environment {
		if name, _, ok := strings.Cut(v, "="); !ok || name == "" || strings.ContainsRune(v, 0) || strings.HasPrefix(name, "PHAROS_") {
			report(fmt.Sprintf("%senvironment[%d]", at, i), fmt.Sprintf("%.60q is no variable of yours", v), "write NAME=value; names with PHAROS_ are the node's")
		}
	}
	if !p.Address.IsValid() || p.Address.IsUnspecified() || p.Address.IsMulticast() {
		report(at+"address", "members cannot be asked for there", "write an address of this machine, like 127.0.0.1")
	}
	first, last, err := p.PortRange()
	if err != nil {
		report(at+"ports", err.Error(), "write ports: 9000-9019")
	} else if count := int(last) - int(first) + 1; count < most {
		report(at+"ports", fmt.Sprintf("%d ports for up to %d members", count, most), "write a longer range, or a smaller max")
	}
	if check.Type == "none" {
		report(at+"run", "the pool has no check, so nobody would know when a member has started", "write check: {type: http, path: /health}, or another one")
	}
}

func (w *ScaleWebhook) check(at string, report Report) {
	if u, err := url.Parse(w.URL); w.URL == "" || err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Fragment != "" || u.User != nil {
		report(at+"url", "it is no URL that can be asked", `write it as "https://orchestrator.example.com/scale", without a password`)
	}
}

// checkApplied reports what only the configuration file may say. Who can call the admin
// listener of a node may change what it serves, not run programs on it or have it call
// others.
func (s *Scaling) checkApplied(at string, report Report) {
	if s.On() {
		report(at+"driver", "a pool that is applied at run time cannot scale", "put the pool into the configuration file")
	}
}

// checkPorts finds ports that two pools give to their members, or that are a member's.
func (r *Resources) checkPorts(report Report) {
	type claim struct {
		pool        int
		first, last uint16
	}
	claims := map[netip.Addr][]claim{}
	for i := range r.Pools {
		s := &r.Pools[i].Scale
		first, last, err := s.Process.PortRange()
		if s.Driver != "process" || err != nil {
			continue
		}
		at := s.Process.Address.Unmap()
		for _, c := range claims[at] {
			if first <= c.last && c.first <= last {
				report(fmt.Sprintf("pools[%d].scale.process.ports", i),
					fmt.Sprintf("%s at %s overlaps %d-%d of pools[%d] (%s)", s.Process.Ports, at, c.first, c.last, c.pool, r.Pools[c.pool].Name), "give each pool ports of its own")
				break
			}
		}
		claims[at] = append(claims[at], claim{i, first, last})
	}
	if len(claims) == 0 {
		return
	}
	for i := range r.Pools {
		for j, m := range r.Pools[i].Members {
			for _, c := range claims[m.Address.Addr().Unmap()] {
				if port := m.Address.Port(); c.first <= port && port <= c.last {
					report(fmt.Sprintf("pools[%d].members[%d].address", i, j),
						fmt.Sprintf("%s is among the ports that pool %s gives to its members", m.Address, r.Pools[c.pool].Name), "let it listen elsewhere, or change scale.process.ports")
				}
			}
		}
	}
}
