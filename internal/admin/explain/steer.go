package explain

import (
	"fmt"
	"net/netip"

	"pharos/internal/authority/steered"
	"pharos/internal/traffic/decisions"
	"pharos/internal/traffic/steer"
)

// AddSteering tells one decision of a steered name: what each filter took in and left, who
// was picked, and what would change it.
func (e *Explanation) AddSteering(d steered.Explained) {
	e.Steering = append(e.Steering, d)
	ttl := fmt.Sprintf("TTL %d", d.TTL)
	if d.Changing {
		ttl += ", short while the pool is changing"
	}
	if d.Scope > 0 {
		ttl += fmt.Sprintf("; good for the first %d bits of the client's address", d.Scope)
	}
	e.Add(Steer, fmt.Sprintf("%s %s is answered from pool %s, %s", d.Name, d.Type, d.Pool, ttl), d.Result)
	for _, step := range d.Steps {
		text := fmt.Sprintf("%s: %d in, %d out", step.Filter, step.In, step.Out)
		if step.Note != "" {
			text += "; " + step.Note
		}
		var lines []string
		for _, m := range step.Members {
			lines = append(lines, m.String())
		}
		e.Add(Pool, text, lines...)
	}
	if len(d.Answers) > 0 && d.Answers[0].Member != "" {
		e.Add(Pick, d.Answers[0].Member+" comes first")
	}
	if len(d.WhatIf) > 0 {
		e.Add(Steer, "what would change it:", d.WhatIf...)
	}
	if d.AllDown && len(d.Answers) == 0 {
		e.Warnings = append(e.Warnings, fmt.Sprintf("no member of pool %s is healthy, so nobody is answered", d.Pool))
	} else if d.AllDown {
		e.Warnings = append(e.Warnings, fmt.Sprintf("no member of pool %s is healthy, so all that are not drained are answered", d.Pool))
	}
}

// AddPast decides a past answer of a steered name again, from what it was decided from, and
// tells it.
func (e *Explanation) AddPast(p decisions.Past) {
	in := *p.Input
	e.Question = fmt.Sprintf("%s %s", in.Spec.Name, in.Type)
	d := steered.Explained{Trace: new(steer.Trace), WhatIf: steer.WhatIf(in, p.Turn), Filters: in.Spec.FilterNames()}
	again := steer.Decide(in, d.Trace)
	d.Trace.Client = p.Client
	d.Picked(again, p.Turn, p.Client)
	text := fmt.Sprintf("answer %s, decided again from what was recorded", p.ID)
	lines := []string{
		fmt.Sprintf("the decision was made at %s for %s, from revision %d of pool %s; the answer was picked from it by turn %d",
			p.First.Format("2006-01-02 15:04:05.000 UTC"), orAnybody(in), in.View.Revision, in.View.Name, p.Turn),
	}
	if p.Default {
		lines = append(lines, "it is what the name is answered with by default")
	} else {
		lines = append(lines, "it is not what the name is answered with by default: with all members up that nobody drains, whoever asks")
	}
	if again.Sum() == p.Sum {
		lines = append(lines, "the same decision as then, in every octet")
	} else {
		lines = append(lines, "another decision than then")
		e.Warnings = append(e.Warnings, "deciding again has come to another answer: that is a fault of the program; please report it with -o json")
	}
	e.Add(Steer, text, lines...)
	e.AddSteering(d)
	e.Outcome = "NOERROR, authoritative"
	if again.Len() == 0 {
		e.Outcome += ", NODATA"
	}
	for _, c := range d.Answers {
		e.Result = append(e.Result, fmt.Sprintf("%s\t%d\tIN\t%s\t%s", in.Spec.Name, again.TTL, in.Type, c.Data))
	}
}

func orAnybody(in steer.Input) string {
	if !in.Client.Addr.IsValid() {
		return "anybody"
	}
	return "clients like " + in.Client.Addr.String()
}

// ClientText names a client; of nobody, too.
func ClientText(a netip.Addr) string {
	if !a.IsValid() {
		return "nobody in particular"
	}
	return a.String()
}
