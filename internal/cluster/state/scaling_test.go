package state

import (
	"fmt"
	"strings"
	"testing"

	"pharos/internal/cluster/document"
	"pharos/internal/traffic/scale"
)

const scaled = `{"name": "web", "check": {"type": "http"}, "scale": {"driver": "process", "min": 0, "max": 4, %s
  "process": {"run": ["/usr/bin/shop", "--listen={address}"], "ports": "9000-9009"%s}}}`

// problemsOf returns what is wrong with a list of pools.
func problemsOf(t *testing.T, pools ...string) (r Resources, texts string) {
	t.Helper()
	root, problems := document.FromJSON("", []byte(`{"pools": [`+strings.Join(pools, ", ")+`]}`))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if err := document.Decode("", root, &r).Err(); err != nil {
		return r, err.Error()
	}
	var b strings.Builder
	r.Check(func(path, text, remedy string) { fmt.Fprintf(&b, "%s: %s; %s\n", path, text, remedy) })
	return r, b.String()
}

func TestScaling(t *testing.T) {
	r, text := problemsOf(t, fmt.Sprintf(scaled, `"target": {"requests": 200, "latency": "150ms", "bandwidth": "10Mbps"},
		"steps": [{"by": "latency", "above": "1s", "add": 2, "below": "10ms", "remove": 1}],
		"schedules": [{"at": "30 8 * * mon-fri", "zone": "Europe/Amsterdam", "for": "10h", "min": 2}],`, ""))
	if text != "" {
		t.Fatal(text)
	}
	s := &r.Pools[0].Scale
	rules, err := s.Rules()
	if err != nil {
		t.Fatal(err)
	}
	want := "[{requests 200} {latency 1.5e+08} {bandwidth 1e+07}] [{latency true 1e+09 2} {latency false 1e+07 1}]"
	if got := fmt.Sprint(rules.Targets, rules.Steps); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if w := rules.Windows[0]; w.Min != 2 || w.Max != 4 || w.Zone.String() != "Europe/Amsterdam" || rules.Tolerance != 0.1 || rules.Max != 4 {
		t.Errorf("%+v", rules)
	}
	if first, last, err := s.Process.PortRange(); first != 9000 || last != 9009 || err != nil {
		t.Errorf("ports %d to %d, %v", first, last, err)
	}
	if !strings.Contains(string(Body(&r.Pools[0])), `"scale":{`) {
		t.Error("it is not written")
	}
	plain, _ := problemsOf(t, `{"name": "web", "members": [{"name": "a", "address": "192.0.2.1:80"}]}`)
	if strings.Contains(string(Body(&plain.Pools[0])), "scale") {
		t.Error("a pool that does not scale has it written")
	}
	// A load may be reported beside the check.
	if _, text := problemsOf(t, strings.Replace(fmt.Sprintf(scaled, `"target": {"load": 70},`, ""), `"name": "web",`, `"name": "web", "agent": {"type": "agent", "port": 9999},`, 1)); text != "" {
		t.Errorf("a load that an agent beside the check reports: %s", text)
	}
}

// Each mistake is told with its place and what to do.
func TestBadScaling(t *testing.T) {
	in := func(keys, process string) string { return fmt.Sprintf(scaled, keys, process) }
	other := strings.Replace(in("", ""), "web", "api", 1)
	for want, pools := range map[string][]string{
		"pools[1].scale.process.ports: 9000-9009 at 127.0.0.1 overlaps 9000-9009 of pools[0] (web); give each pool": {in("", ""), other},
		"pools[1].scale.process.ports: 9009-9020 at 127.0.0.1 overlaps":                                             {in("", ""), strings.Replace(other, "9000-9009", "9009-9020", 1)},
		"pools[1].members[0].address: 127.0.0.1:9003 is among the ports that pool web gives":                        {in("", ""), `{"name": "x", "members": [{"name": "a", "address": "127.0.0.1:9003"}]}`},
		"scale.driver: the pool does not scale without a driver":                                                    {strings.Replace(in("", ""), `"driver": "process", `, "", 1)},
		"scale.max: at most 0 members":                          {strings.Replace(in("", ""), `"max": 4,`, "", 1)},
		"scale.max: at most 4 members, at least 5":              {strings.Replace(in("", ""), `"min": 0`, `"min": 5`, 1)},
		"scale.process.ports: 10 ports for up to 11 members":    {in(`"schedules": [{"at": "0 0 * * *", "for": "1h", "max": 11}],`, "")},
		"scale.process.ports: \"x\" is no range":                {strings.Replace(in("", ""), "9000-9009", "x", 1)},
		"scale.process.ports: \"9-8\" is no range":              {strings.Replace(in("", ""), "9000-9009", "9-8", 1)},
		"scale.process.ports: \"0-8\" is no range":              {strings.Replace(in("", ""), "9000-9009", "0-8", 1)},
		"scale.process.run[0]: \"shop\" is no absolute path":    {strings.Replace(in("", ""), "/usr/bin/shop", "shop", 1)},
		"scale.process.run[1]: \"{prot}\" is not replaced":      {strings.Replace(in("", ""), "--listen={address}", "{prot}", 1)},
		"scale.process.run: there is nothing to run":            {`{"name": "web", "scale": {"driver": "process", "max": 1, "process": {"ports": "1-2"}}}`},
		"scale.process.run: the pool has no check":              {strings.Replace(in("", ""), `"http"`, `"none"`, 1)},
		"environment[0]: \"PHAROS_PORT=1\" is no variable":      {in("", `, "environment": ["PHAROS_PORT=1"]`)},
		"scale.process.address: members cannot be asked for":    {in("", `, "address": "0.0.0.0"`)},
		"scale.schedules[0]: there is no time zone \"Mars/X\"":  {in(`"schedules": [{"at": "0 0 * * *", "for": "1h", "zone": "Mars/X"}],`, "")},
		"scale.schedules[0]: there is no time zone \"Local\"":   {in(`"schedules": [{"at": "0 0 * * *", "for": "1h", "zone": "Local"}],`, "")},
		"scale.schedules[0]: minute \"61\"":                     {in(`"schedules": [{"at": "61 0 * * *", "for": "1h"}],`, "")},
		"scale.schedules[0].max: at most 1 members, at least 3": {in(`"schedules": [{"at": "0 0 * * *", "for": "1h", "min": 3, "max": 1}],`, "")},
		"scale.steps[0]: it says neither":                       {in(`"steps": [{"by": "latency"}],`, "")},
		"scale.steps[0]: above goes with add":                   {in(`"steps": [{"by": "latency", "above": "1s"}],`, "")},
		"scale.steps[0]: above: \"fast\"":                       {in(`"steps": [{"by": "requests", "above": "fast", "add": 1}],`, "")},
		"scale.target.load: nobody reports a load":              {in(`"target": {"load": 70},`, "")},
		"scale.steps[0].by: nobody reports a load":              {in(`"steps": [{"by": "load", "above": "70%", "add": 1}],`, "")},
		"scale.webhook: the driver process does not use it":     {in(`"webhook": {"url": "http://a.example/"},`, "")},
		"scale.process: the driver webhook does not use it":     {strings.Replace(in(`"webhook": {"url": "http://a.example/"},`, ""), `"driver": "process"`, `"driver": "webhook"`, 1)},
		"scale.webhook.url: it is no URL":                       {`{"name": "web", "scale": {"driver": "webhook", "max": 1, "webhook": {"url": "ftp://a.example/"}}}`},
		"scale.webhook.url: it is no URL that can be asked":     {`{"name": "web", "scale": {"driver": "webhook", "max": 1, "webhook": {"url": "http://u:p@a.example/"}}}`},
		"unknown value \"docker\"":                              {strings.Replace(in("", ""), `"process", "min"`, `"docker", "min"`, 1)},
	} {
		if _, text := problemsOf(t, pools...); !strings.Contains(text, want) {
			t.Errorf("got %q, want %q", text, want)
		}
	}
}

// Who can change pools at run time cannot have programs run or others called.
func TestScalingIsNotApplied(t *testing.T) {
	for _, pool := range []string{
		fmt.Sprintf(scaled, "", ""),
		`{"name": "web", "scale": {"driver": "webhook", "max": 1, "webhook": {"url": "http://a.example/"}}}`,
	} {
		if _, err := DecodeBody(KindPool, []byte(pool)); err == nil || !strings.Contains(err.Error(), "a pool that is applied at run time cannot scale; put the pool into the configuration file") {
			t.Errorf("got %v", err)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for _, c := range []struct {
		by   scale.Signal
		text string
		want float64
	}{{scale.Latency, "1s", 1e9}, {scale.Bandwidth, "5Mbps", 5e6}, {scale.Load, "70%", 70}, {scale.Load, "70", 70}, {scale.Connections, "12", 12}} {
		if got, err := parseSignal(c.by, c.text); got != c.want || err != nil {
			t.Errorf("%v %q: %v, %v", c.by, c.text, got, err)
		}
	}
}
