// Package checkspec turns the check of a pool, as it is configured, into what is asked
// of its members. It owns nothing but this translation.
//
// Entry point: Of. Concurrency: it keeps nothing.
package checkspec

import (
	"strings"
	"time"

	"pharos/internal/cluster/state"
	"pharos/internal/traffic/health"
)

// Of returns what a check that the configuration has accepted asks.
func Of(c state.Check) health.Check {
	params := health.Params{
		Interval: time.Duration(c.Interval), Confirm: time.Duration(c.FastInterval), Timeout: time.Duration(c.Timeout),
		Rise: c.Rise, Fall: c.Fall, Grace: time.Duration(c.StartGrace),
		HalfLife: time.Duration(c.Damping.HalfLife), Suppress: c.Damping.Suppress, Reuse: c.Damping.Reuse,
	}
	if c.Damping.Suppress == 0 {
		params.Suppress = -1 // never
	}
	check := health.Check{Port: c.Port, Terms: termsOf(c).Once(), Params: params.Once()}
	must(check.Kind.UnmarshalText([]byte(c.Type)))
	return check
}

// termsOf leaves out what the type does not use: keys that have a default are set for
// every type, and two pools that ask the same must have the same terms.
func termsOf(c state.Check) health.Terms {
	var t health.Terms
	switch c.Type {
	case "http", "https", "agentHTTP":
		t.Host, t.Path = c.Host, c.Path
		for _, f := range c.Fields {
			t.Fields += f + "\r\n"
		}
		if c.Type == "agentHTTP" {
			break
		}
		must(t.Status.UnmarshalText([]byte(c.Status.String())))
		t.Method, t.HTTP2, t.Redirects = c.Method, c.Version == "2", c.Redirects
		t.Match = health.Match{Contains: c.Match.Contains, Regexp: c.Match.Regexp, JSON: c.Match.JSON, Value: c.Match.Value}
	case "grpc", "grpcs":
		t.Host, t.Service = c.Host, c.Service
	case "dns":
		t.Question = health.Question{Name: c.DNS.Name, Type: c.DNS.Type, Rcodes: strings.Join(c.DNS.Rcodes, ","), Answer: c.DNS.Answer, TCP: c.DNS.TCP}
	case "udp":
		t.Send, t.Expect = octets(c.Send), octets(c.Expect)
	case "agent":
		t.Send = octets(c.Send)
	case "command":
		t.Program = health.Program{
			Args: strings.Join(c.Command.Run, "\x00"), Env: strings.Join(c.Command.Environment, "\x00"),
			User: c.Command.User, Folder: c.Command.Folder,
		}
	}
	switch c.Type {
	case "tls", "https", "grpcs":
		t.TLS = health.Encryption{NoVerify: !c.TLS.Verify, ServerName: c.TLS.ServerName, CA: c.TLS.CA, Warn: time.Duration(c.TLS.Warn)}
	}
	return t
}

func octets(text string) string {
	o, err := state.Octets(text)
	must(err)
	return o
}

func must(err error) {
	if err != nil {
		panic("BUG: " + err.Error()) // the configuration has checked it
	}
}
