package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"pharos/internal/admin/explain"
	"pharos/internal/clock"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/anchor"
	"pharos/internal/resolver/outbound"
)

// traced is a resolution as it is printed.
type traced struct {
	Question string        `json:"question"`
	Rcode    string        `json:"rcode"`
	Security string        `json:"security,omitempty"`
	Answer   []string      `json:"answer,omitempty"`
	Errors   []string      `json:"errors,omitempty"`
	Sent     int           `json:"queries_sent"`
	Took     time.Duration `json:"took_ns"`
	Steps    []string      `json:"steps"`
}

// runTrace resolves from the root down in this process.
func (l *lookup) runTrace(ctx context.Context, w io.Writer, output output) error {
	var hints []rdata.Record
	if l.hints != "" {
		var err error
		if hints, err = outbound.ReadHints(l.hints); err != nil {
			return err
		}
	}
	// Other roots than the Internet's are not signed by its keys.
	cfg := outbound.Config{Hints: hints, Port: l.port, Validate: len(hints) == 0 || l.validate}
	if l.anchors != "" {
		text, err := os.ReadFile(l.anchors)
		if err != nil {
			return err
		}
		if cfg.Anchors, err = anchor.Parse(clock.Now(), l.anchors, text); err != nil {
			return err
		}
	} else if len(hints) > 0 && l.validate {
		return fmt.Errorf("%w: --validate with other roots needs their keys: give --anchors FILE", errUsage)
	}
	driver := outbound.New(cfg)
	defer driver.Close()
	ctx, cancel := context.WithTimeout(ctx, max(l.timeout, 12*time.Second)) // the resolver gives up by itself after 10 s
	defer cancel()
	answer, err := driver.Resolve(ctx, l.name, l.qtype, outbound.Options{Trace: true})
	if err != nil {
		return fmt.Errorf("resolving %s: %w", l.name, err)
	}
	t := traced{
		Question: fmt.Sprintf("%s %s", l.name, l.qtype), Rcode: answer.Rcode.String(),
		Answer: lines(answer.Answer), Sent: answer.Sent, Took: answer.Elapsed,
	}
	if cfg.Validate && len(answer.Errors) == 0 {
		t.Security = strings.TrimSuffix(answer.State.String()+": "+answer.Why, ": ")
	}
	for _, e := range answer.Errors {
		t.Errors = append(t.Errors, fmt.Sprintf("%s: %s", e.Code, e.Text))
	}
	for _, s := range answer.Trace {
		t.Steps = append(t.Steps, s.String())
	}
	if l.svg != "" {
		e := explain.Explanation{Question: t.Question, Client: "this machine", At: clock.Now(), Outcome: t.Rcode, Result: t.Answer, Warnings: t.Errors}
		e.AddTrace(answer.Trace)
		if err := replaceFile(l.svg, 0o644, e.WriteSVG); err != nil {
			return err
		}
	}
	return output.print(w, t, func(w io.Writer) error {
		for i, s := range t.Steps {
			fmt.Fprintf(w, "%3d. %s\n", i+1, s)
		}
		fmt.Fprintf(w, ";; %s, %d queries in %v\n", t.Rcode, t.Sent, t.Took.Round(10*time.Microsecond))
		if t.Security != "" {
			fmt.Fprintf(w, ";; DNSSEC: %s\n", t.Security)
		}
		for _, e := range t.Errors {
			fmt.Fprintf(w, ";; extended error: %s\n", e)
		}
		for _, r := range t.Answer {
			fmt.Fprintln(w, r)
		}
		return nil
	})
}
