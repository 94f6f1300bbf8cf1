package health

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Report is what an agent has said of its member, so far. The zero Report says nothing:
// a member without an agent has it.
type Report struct {
	// Weight is in permille of the weight configured, if Weighted. More than 1000 is
	// possible: an agent may ask for more than its usual share.
	Weight   int  `json:"weight,omitempty"`
	Weighted bool `json:"weighted,omitempty"`
	// Load is in permille of what the member can do, if Loaded.
	Load   int  `json:"load,omitempty"`
	Loaded bool `json:"loaded,omitempty"`
	// Capacity is how many connections it takes at once; 0: nothing was said.
	Capacity int `json:"capacity,omitempty"`
	// Drain: it takes nothing new. It holds until the agent says "ready".
	Drain bool `json:"drain,omitempty"`
	// Down: it is not well.
	Down bool `json:"down,omitempty"`
}

// String says what an agent has said: "weight 75 %, load 40 %, drain". It is empty if it
// has said nothing.
func (r Report) String() string {
	var parts []string
	if r.Weighted {
		parts = append(parts, fmt.Sprintf("weight %g %%", float64(r.Weight)/10))
	}
	if r.Loaded {
		parts = append(parts, fmt.Sprintf("load %g %%", float64(r.Load)/10))
	}
	if r.Capacity > 0 {
		parts = append(parts, fmt.Sprintf("at most %d connections", r.Capacity))
	}
	if r.Drain {
		parts = append(parts, "drain")
	}
	if r.Down {
		parts = append(parts, "down")
	}
	return strings.Join(parts, ", ")
}

// Permille returns the factor of the configured weight that r asks for: 1000 when it
// has said nothing.
func (r Report) Permille() int {
	if !r.Weighted {
		return 1000
	}
	return r.Weight
}

// drains reports whether r takes its member out of use. A weight of nothing does, as in
// HAProxy; unlike "drain" it ends with the next weight.
func (r Report) drains() bool { return r.Drain || r.Weighted && r.Weight == 0 }

// Limits of what an agent may say; more is taken for a mistake and refused.
const (
	MaxAgentWeight   = 10_000  // permille; HAProxy allows 25,600, but ten times its share is a mistake
	MaxAgentCapacity = 1 << 24 // connections; arbitrary
	maxAgentWords    = 32      // of one line; arbitrary
)

// Saying is one answer of an agent.
type Saying struct {
	Report
	Ready bool   // it takes traffic again
	Cause string // in its own words; may be empty
}

// Onto returns what is known when s is said after r: what s does not speak of stays.
func (s Saying) Onto(r Report) Report {
	if s.Weighted {
		r.Weight, r.Weighted = s.Weight, true
	}
	if s.Loaded {
		r.Load, r.Loaded = s.Load, true
	}
	if s.Capacity > 0 {
		r.Capacity = s.Capacity
	}
	if s.Drain || s.Ready {
		r.Drain = s.Drain
	}
	r.Down = s.Down
	return r
}

var errAgent = errors.New(`want words like "up", "75%", "drain" or an object like {"state": "up", "weight": 75}`)

// ParseAgent reads what an agent says: one line in the words of HAProxy's agent-check,
// parted by spaces, tabs or commas, or a JSON object.
//
//	75%                   weight, in percent of the configured one
//	maxconn:30            connections at once
//	ready                 takes traffic (ends drain and maint)
//	drain, maint          takes nothing new
//	up                    is well
//	down failed stopped   is not well; what follows "#" says why
//	load:40%              load, in percent of what it can do (not known to HAProxy)
//
//	{"state": "up|down|drain|maint|ready", "weight": 75, "load": 40, "connections": 30, "cause": "why"}
func ParseAgent(text string) (Saying, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return parseAgentJSON(text)
	}
	line, _, _ := strings.Cut(text, "\n")
	words, cause, _ := strings.Cut(line, "#")
	s := Saying{Cause: Printable(strings.TrimSpace(cause))}
	said := strings.FieldsFunc(words, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' || r == '\r' })
	if len(said) == 0 || len(said) > maxAgentWords {
		return Saying{}, fmt.Errorf("agent said %.40q; %w", text, errAgent)
	}
	for _, word := range said {
		if err := s.take(strings.ToLower(word)); err != nil {
			return Saying{}, fmt.Errorf("agent said %.40q; %w", word, err)
		}
	}
	return s, nil
}

// take takes in one word.
func (s *Saying) take(word string) (err error) {
	if limit, ok := strings.CutPrefix(word, "maxconn:"); ok {
		s.Capacity, err = number(limit, MaxAgentCapacity)
		return err
	}
	if load, ok := strings.CutPrefix(word, "load:"); ok {
		s.Load, err = percent(load)
		s.Loaded = err == nil
		return err
	}
	if strings.HasSuffix(word, "%") {
		s.Weight, err = percent(word)
		s.Weighted = err == nil
		return err
	}
	switch word {
	case "up":
		s.Down = false
	case "down", "failed", "fail", "stopped":
		s.Down = true
	case "ready":
		s.Ready, s.Drain = true, false
	case "drain", "maint":
		s.Drain, s.Ready = true, false
	default:
		return errAgent
	}
	return nil
}

// parseAgentJSON reads an object. Keys that it does not know are left alone, so that an
// agent may tell others more.
func parseAgentJSON(text string) (Saying, error) {
	var o struct {
		State       string
		Weight      *json.Number
		Load        *json.Number
		Connections *json.Number
		Cause       string
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return Saying{}, fmt.Errorf("agent said %.40q: %w; %w", text, err, errAgent)
	}
	s := Saying{Cause: Printable(o.Cause)}
	words := []string{strings.ToLower(o.State)}
	if o.State == "" {
		words = nil
	}
	for _, part := range []struct {
		form  string
		value *json.Number
	}{{"%s%%", o.Weight}, {"load:%s%%", o.Load}, {"maxconn:%s", o.Connections}} {
		if part.value != nil {
			words = append(words, fmt.Sprintf(part.form, *part.value))
		}
	}
	if len(words) == 0 {
		return Saying{}, fmt.Errorf("agent said %.40q; %w", text, errAgent)
	}
	for _, word := range words {
		if err := s.take(word); err != nil {
			return Saying{}, fmt.Errorf("agent said %.40q; %w", word, err)
		}
	}
	return s, nil
}

// percent reads a percentage, with or without its sign, as permille.
func percent(text string) (int, error) {
	f, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(f >= 0 && f*10 <= MaxAgentWeight) {
		return 0, fmt.Errorf("want a percentage from 0 to %d", MaxAgentWeight/10)
	}
	return int(f*10 + 0.5), nil
}

func number(text string, most int) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("want a number from 1 to %d", most)
	}
	return n, nil
}

// maxCause bounds what of a member's own words is kept, in octets: a line of a log.
const maxCause = 120

// Printable returns what may be shown of a text that a member wrote: no control
// characters, which could write on an operator's terminal, and not without end.
func Printable(text string) string {
	clean := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == '\uFFFD' || 0x80 <= r && r < 0xA0 {
			return ' '
		}
		return r
	}, text))
	if len(clean) > maxCause {
		clean = strings.ToValidUTF8(clean[:maxCause], "") + "..."
	}
	return clean
}
