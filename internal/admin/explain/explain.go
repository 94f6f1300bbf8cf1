// Package explain is what "pharos explain" says: one decision as a list of
// steps, each with what went in and what came of it, as data and as text.
//
// It owns the shape and the wording of the frame only. The steps are made by the
// code that decides, through the trace arguments of packages steer, route and
// iterate, so that an explanation is the decision itself and not a second
// telling of it; package node puts them together.
//
// Entry points: Explanation; Explanation.WriteText, WriteSVG.
//
// Concurrency: values.
package explain

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"pharos/internal/resolver/iterate"
)

// Stage says which part of the program a step belongs to.
type Stage string

// The stages, in the order in which a decision passes them.
const (
	Admission Stage = "admission" // may this client ask?
	View      Stage = "view"      // which zones does this client see?
	Zone      Stage = "zone"      // do we have it ourselves?
	Steer     Stage = "steer"     // is it answered from a pool?
	Cache     Stage = "cache"     // did we learn it before?
	Resolve   Stage = "resolve"   // who was asked?
	Policy    Stage = "policy"    // what is said in place of, or after, what was found?
	Route     Stage = "route"     // where does the request go?
	Pool      Stage = "pool"      // who can serve it?
	Pick      Stage = "pick"      // who serves it?
	Scale     Stage = "scale"     // why are there so many members?
)

// Step is one step of a decision.
type Step struct {
	Stage  Stage         `json:"stage"`
	Text   string        `json:"text"`             // one sentence
	Detail []string      `json:"detail,omitempty"` // a line each: inputs, candidates and why they are in or out
	At     time.Duration `json:"at_ns,omitempty"`  // since the question came
	Took   time.Duration `json:"took_ns,omitempty"`
	Depth  int           `json:"depth,omitempty"` // how deep in the tree: of a lookup that another one needed
	Bad    bool          `json:"bad,omitempty"`   // something failed, though others may have made up for it
}

// Explanation is one decision.
type Explanation struct {
	Question string    `json:"question"` // "www.example.com. A", "GET http://www.example.com/"
	Client   string    `json:"client"`   // the address it was decided for
	At       time.Time `json:"at"`
	Revision uint64    `json:"revision"` // of the snapshot that decided
	Steps    []Step    `json:"steps"`
	Outcome  string    `json:"outcome"`            // "NOERROR", "REFUSED", "member a", ...
	Result   []string  `json:"result,omitempty"`   // records, or the member's address
	Warnings []string  `json:"warnings,omitempty"` // what an operator should know, such as a pool that is all down
	Steering []any     `json:"steering,omitempty"` // the decisions of pools, step by step (steered.Explained)
}

// Add appends a step.
func (e *Explanation) Add(stage Stage, text string, detail ...string) {
	e.Steps = append(e.Steps, Step{Stage: stage, Text: text, Detail: detail})
}

// AddTrace appends the steps of a resolution.
func (e *Explanation) AddTrace(trace []iterate.Step) {
	for _, step := range trace {
		stage := Resolve
		if step.Kind == iterate.StepCacheHit {
			stage = Cache
		}
		e.Steps = append(e.Steps, Step{Stage: stage, Text: step.Text(),
			At: step.At, Took: step.RTT, Depth: int(step.Depth), Bad: step.IsTrouble()})
	}
}

// WriteText writes e for people.
func (e *Explanation) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  for %s  (snapshot %d, %s)\n", e.Question, e.Client, e.Revision, e.At.UTC().Format(time.RFC3339))
	for i, s := range e.Steps {
		fmt.Fprintf(&b, "%3d. %-9s ", i+1, s.Stage)
		if s.At != 0 {
			fmt.Fprintf(&b, "%9v  ", s.At.Round(time.Microsecond))
		}
		b.WriteString(strings.Repeat("  ", s.Depth) + s.Text)
		if s.Took > 0 {
			fmt.Fprintf(&b, "  [%v]", s.Took.Round(time.Microsecond))
		}
		b.WriteByte('\n')
		for _, d := range s.Detail {
			fmt.Fprintf(&b, "               %s\n", d)
		}
	}
	fmt.Fprintf(&b, "  => %s\n", e.Outcome)
	for _, r := range e.Result {
		fmt.Fprintf(&b, "     %s\n", strings.ReplaceAll(r, "\t", "  "))
	}
	for _, warning := range e.Warnings {
		fmt.Fprintf(&b, "  !  %s\n", warning)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes e for programs.
func (e *Explanation) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(e)
}
