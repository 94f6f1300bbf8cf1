package iterate

import (
	"fmt"
	"strings"
	"time"

	"pharos/internal/resolver/rrcache"
)

// String tells the step as one line: when, and indented by how deep the lookup is
// nested.
func (s Step) String() string {
	text := s.Text()
	if s.RTT > 0 {
		text += fmt.Sprintf("  [%v]", s.RTT.Round(time.Microsecond))
	}
	return fmt.Sprintf("%9v  %s%s", s.At.Round(time.Microsecond), strings.Repeat("  ", int(s.Depth)), text)
}

// IsTrouble reports whether something went wrong that others may have made up for.
func (s Step) IsTrouble() bool {
	switch s.Kind {
	case StepTimeout, StepFailed, StepRefused, StepLame, StepIgnored, StepGaveUp, StepLimit:
		return true
	case StepJudged, StepTrust:
		return s.State == rrcache.Bogus
	}
	return false
}

// Text tells the step, without when it was and how long it took.
func (s Step) Text() string {
	var b strings.Builder
	server := s.Server.String()
	if !s.ServerName.IsZero() {
		server = s.ServerName.String() + " " + server
	}
	switch s.Kind {
	case StepCacheHit:
		fmt.Fprintf(&b, "%s %s is in the cache", s.Name, s.Type)
	case StepSent:
		network := "UDP"
		if s.TCP {
			network = "TCP"
		}
		if s.Over != Do53 {
			network = s.Over.String()
		}
		fmt.Fprintf(&b, "ask %s (zone %s, %s) for %s %s", server, s.Zone, network, s.Name, s.Type)
	case StepReferral:
		fmt.Fprintf(&b, "refers to the servers of %s", s.Target)
	case StepAnswer:
		fmt.Fprintf(&b, "answers with %d records", s.Records)
	case StepAlias:
		fmt.Fprintf(&b, "%s is an alias of %s", s.Name, s.Target)
	case StepNoData:
		fmt.Fprintf(&b, "%s exists, without %s", s.Name, s.Type)
	case StepNXDomain:
		fmt.Fprintf(&b, "%s does not exist", s.Name)
	case StepTimeout:
		fmt.Fprintf(&b, "%s did not answer in time", server)
	case StepFailed:
		fmt.Fprintf(&b, "%s cannot be reached", server)
	case StepRefused:
		fmt.Fprintf(&b, "%s says %s", server, s.Rcode)
	case StepLame:
		fmt.Fprintf(&b, "%s does not serve zone %s", server, s.Zone)
	case StepIgnored:
		b.WriteString("a packet that answers another question, ignored")
	case StepTruncated:
		b.WriteString("truncated: again over TCP")
	case StepPlain:
		b.WriteString("again without EDNS")
	case StepNeedServer:
		fmt.Fprintf(&b, "the address of name server %s is needed first", s.Target)
	case StepGaveUp:
		b.WriteString("gave up")
	case StepTrust:
		fmt.Fprintf(&b, "zone %s is %s", s.Target, s.State)
	case StepStale:
		b.WriteString("answered with what has expired")
	case StepLimit:
		b.WriteString("at a limit")
	case StepJudged:
		fmt.Fprintf(&b, "%s %s is %s", s.Name, s.Type, s.State)
	}
	if !s.Asked.IsZero() {
		fmt.Fprintf(&b, ": asked for %v %v only", s.Asked, s.AskedType)
	}
	if s.Note != "" {
		b.WriteString(": " + s.Note)
	}
	return b.String()
}
