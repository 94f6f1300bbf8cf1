package filter

import (
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Ask has another server decide (forward authentication).
type Ask struct {
	URL     string
	Timeout time.Duration
	Send    []string // fields of the request that it gets
	Copy    []string // fields of its answer that the origin server gets
	CA      string   // file with the authorities of its certificate; empty: the system's
}

// Question is what the other server is asked.
type Question struct {
	Spec   *Ask
	Fields []Field // in their order; with X-Forwarded-Method, -Proto, -Host, -Uri and -For
}

// Answer is what it says.
type Answer struct {
	Status  int
	Field   func(name string) []string
	Content []byte // bounded by the driver
}

// asker is a compiled Ask.
type asker struct {
	spec *Ask
	ask  func(*Question) (*Answer, error) // nil: nobody is asked
}

func (a *Ask) compile(means Means) (*asker, error) {
	u, err := url.Parse(a.URL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("forwardAuth: %q: want the URL of the server that is asked, as in http://127.0.0.1:9000/check", a.URL)
	}
	for _, list := range [][]string{a.Send, a.Copy} {
		for _, name := range list {
			if err := checkName(name, true, false); err != nil {
				return nil, fmt.Errorf("forwardAuth: %w", err)
			}
		}
	}
	out := &asker{spec: a}
	if means.Ask != nil {
		if out.ask, err = means.Ask(a); err != nil {
			return nil, fmt.Errorf("forwardAuth: %w", err)
		}
	}
	return out, nil
}

func (a *asker) changes() (out []change) {
	for _, name := range a.spec.Copy {
		out = append(out, change{name: name, drops: true})
	}
	return out
}

// passedOn are the fields of a refusal that the client gets.
var passedOn = []string{"WWW-Authenticate", "Location", "Set-Cookie", "Content-Type", "Cache-Control", "Retry-After"}

func (a *asker) decide(p *Pass) Verdict {
	if a.ask == nil || p.explains {
		p.note("%s is asked, and its answer decides", a.spec.URL)
		return Verdict{}
	}
	answer, err := a.ask(a.question(p))
	switch {
	case err != nil || answer.Status >= 500 || answer.Status < 200:
		// Who cannot be asked has not said yes.
		return Verdict{Status: 503, Kind: "proxy_internal_error", Text: "the server that decides about requests does not answer", After: 1}
	case answer.Status < 300:
		for _, name := range a.spec.Copy {
			for _, value := range answer.Field(name) {
				if !p.appendLine(name, value) {
					return Verdict{Status: 503, Kind: "proxy_internal_error", Text: "the server that decides about requests sends a field that cannot go on"}
				}
			}
		}
		return Verdict{}
	}
	v := Verdict{Status: answer.Status, Text: "the server that decides about requests has refused it", Content: string(answer.Content), IsRefusal: true}
	for _, name := range passedOn {
		for _, value := range answer.Field(name) {
			if !strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
				v.Lines = fmt.Appendf(v.Lines, "%s: %s\r\n", name, value)
			}
		}
	}
	return v
}

// question returns what the other server is asked. What says for whom is written by the
// gateway alone: of the client's own fields only those go that are listed.
func (a *asker) question(p *Pass) *Question {
	q := p.Request
	scheme := "http"
	if q.IsSecure() {
		scheme = "https"
	}
	out := &Question{Spec: a.spec, Fields: []Field{
		{"X-Forwarded-Method", string(q.Method())}, {"X-Forwarded-Proto", scheme}, {"X-Forwarded-Host", string(q.Host())},
		{"X-Forwarded-Uri", string(q.Path()) + string(q.Query())}, {"X-Forwarded-For", q.Client().String()}, {"X-Request-Id", string(q.ID())},
	}}
	for _, name := range a.spec.Send {
		if value := q.Field(name); value != nil {
			out.Fields = append(out.Fields, Field{name, string(value)})
		}
	}
	return out
}
