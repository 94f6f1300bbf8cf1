package filter

import (
	"fmt"
	"slices"
	"strings"

	"pharos/internal/proxy/route"
)

// Changes are what becomes of fields: first the removed and set ones are taken out of what
// came, then those that are set and added are written.
type Changes struct {
	Set     []Field // in place of those of the same name
	Add     []Field // beside those of the same name
	Default []Field // unless there is one of the same name
	Remove  []string
}

// Field is a field that is written. The value may have variables (route.CompileText).
type Field struct{ Name, Value string }

// maxValue is the longest text of a value, in octets; arbitrary.
const maxValue = 4096

// fielder is what a step does to fields: of requests, and of responses.
type fielder struct{ request, response []change }

// change is one thing that is done to a field.
type change struct {
	name  string
	drops bool // what came under that name, or was written before, does not go on
	text  route.Text
	// absent: it is written only if no field of that name goes on.
	// secure: only in what goes over TLS.
	absent, secure bool
	// writes appends whole field lines in place of text; nil: text does.
	writes func(b []byte, p *Pass) []byte
}

func (c *Changes) compile(request bool) ([]change, error) {
	var out []change
	for _, name := range c.Remove {
		if err := checkName(name, request, false); err != nil {
			return nil, err
		}
		out = append(out, change{name: name, drops: true})
	}
	for i, list := range [][]Field{c.Set, c.Add, c.Default} {
		for _, f := range list {
			made, err := compileField(f, request)
			if err != nil {
				return nil, err
			}
			made.drops, made.absent = i == 0, i == 2
			if i > 0 && strings.EqualFold(f.Name, "Host") {
				return nil, fmt.Errorf("field %q: a request has one; set it", f.Name)
			}
			out = append(out, made)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no field is named")
	}
	return out, nil
}

func compileField(f Field, request bool) (change, error) {
	if err := checkName(f.Name, request, true); err != nil {
		return change{}, err
	}
	// A value must not be able to end its line (RFC 9110 §5.5).
	if i := strings.IndexFunc(f.Value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }); i >= 0 {
		return change{}, fmt.Errorf("field %q: the value has a control character", f.Name)
	}
	if len(f.Value) > maxValue {
		return change{}, fmt.Errorf("field %q: the value is longer than %d octets", f.Name, maxValue)
	}
	if f.Value == "" {
		return change{}, fmt.Errorf("field %q: it has no value; to take it out, remove it", f.Name)
	}
	text, err := route.CompileText(f.Value)
	if err != nil {
		return change{}, fmt.Errorf("field %q: %w", f.Name, err)
	}
	return change{name: f.Name, text: text}, nil
}

// ours are fields that the gateway writes itself, or that say where a message ends: of
// requests and of responses.
var ours = [2][]string{
	{"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "http2-settings", "expect",
		"forwarded", "x-forwarded-for", "x-request-id", "via"},
	{"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length", "date"},
}

// checkName refuses names of fields that no filter may touch.
func checkName(name string, request, written bool) error {
	if name == "" || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~") != "" {
		return fmt.Errorf("field %q: that is no name of a field (RFC 9110 §5.1)", name)
	}
	which := 1
	if request {
		which = 0
	}
	lower := strings.ToLower(name)
	switch {
	case slices.Contains(ours[which], lower):
		return fmt.Errorf("field %q: the gateway writes it itself", name)
	case request && strings.Contains(name, "_"):
		return fmt.Errorf("field %q: a name with \"_\" is taken for one with \"-\" by some servers; write %q", name, strings.ReplaceAll(name, "_", "-"))
	case lower == "host" && !(request && written):
		return fmt.Errorf("field %q: a request has one, and a response has none", name)
	}
	return nil
}

// addFields joins what a step does to fields to c.
func (c *Chain) addFields(f *fielder) {
	for _, ch := range f.request {
		if strings.EqualFold(ch.name, "Host") {
			c.host = ch.text
			continue
		}
		c.request, c.drops[0] = joinChange(c.request, c.drops[0], ch)
	}
	for _, ch := range f.response {
		c.response, c.drops[1] = joinChange(c.response, c.drops[1], ch)
	}
}

// joinChange puts a change behind others. One that drops takes back what earlier ones write.
func joinChange(list []change, drops []string, ch change) ([]change, []string) {
	if ch.drops {
		list = slices.DeleteFunc(list, func(old change) bool { return strings.EqualFold(old.name, ch.name) && old.writes == nil })
		if !slices.ContainsFunc(drops, func(name string) bool { return strings.EqualFold(name, ch.name) }) {
			drops = append(drops, ch.name)
		}
	}
	if ch.text != nil || ch.writes != nil {
		list = append(list, ch)
	}
	return list, drops
}

// DropsRequest reports whether a field of the request does not go on to the origin server.
func (c *Chain) DropsRequest(name []byte) bool { return c != nil && hasName(c.drops[0], name) }

// DropsResponse reports whether a field of a response does not go on to the client.
func (c *Chain) DropsResponse(name []byte) bool { return c != nil && hasName(c.drops[1], name) }

// SetsHost reports whether the origin server is told another host than the client said.
func (c *Chain) SetsHost() bool { return c != nil && c.host != nil }

// AppendHost appends that host.
func (c *Chain) AppendHost(b []byte, p *Pass) []byte { return p.appendText(b, c.host) }

// Fields are those of a message that go on as they came.
type Fields interface{ Has(name string) bool }

// AppendRequest appends the field lines that c adds to a request.
func (c *Chain) AppendRequest(b []byte, p *Pass, has Fields) []byte {
	if c == nil {
		return b
	}
	return append(p.appendChanges(b, c.request, has), p.lines...)
}

// AppendResponse appends the field lines that c adds to a response; has is nil for one of
// our own.
func (c *Chain) AppendResponse(b []byte, p *Pass, has Fields) []byte {
	if c == nil {
		return b
	}
	return p.appendChanges(b, c.response, has)
}

func (p *Pass) appendChanges(b []byte, list []change, has Fields) []byte {
	for i := range list {
		ch := &list[i]
		switch {
		case ch.absent && has != nil && has.Has(ch.name) || ch.secure && !p.Request.IsSecure():
		case ch.writes != nil:
			b = ch.writes(b, p)
		default:
			b = append(append(b, ch.name...), ": "...)
			b = append(p.appendText(b, ch.text), '\r', '\n')
		}
	}
	return b
}

// appendText appends a text for the request.
func (p *Pass) appendText(b []byte, t route.Text) []byte {
	q := p.Request
	scheme := "http"
	if q.IsSecure() {
		scheme = "https"
	}
	return p.Route.AppendText(b, t, route.Parts{
		Host: q.Host(), Path: q.Path(), Query: q.Query(), Client: q.Client(), Scheme: scheme, Method: q.Method(), ID: q.ID(),
	})
}

func hasName(list []string, name []byte) bool {
	for _, n := range list {
		if len(n) == len(name) && equalFold(name, n) {
			return true
		}
	}
	return false
}

// equalFold compares ASCII without case; the lengths are equal.
func equalFold(a []byte, b string) bool {
	for i, c := range a {
		d := b[i]
		if c != d && (c|0x20 != d|0x20 || c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
