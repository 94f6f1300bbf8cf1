package iterate

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// naming has a server name an agent in all its replies.
func naming(agent []byte, serve responder) responder {
	return func(q *dnswire.Message, tcp bool) [][]byte {
		replies := serve(q, tcp)
		for i, reply := range replies {
			m, err := dnswire.ParseMessage(reply)
			if err != nil {
				panic(err)
			}
			m.EDNS = dnswire.EDNS{Present: true, UDPSize: 1232, Options: dnswire.AppendOption(nil, dnswire.OptionReport, agent)}
			replies[i] = m.Append(nil)
		}
		return replies
	}
}

// reporting is the world of example, whose servers name an agent in another zone.
func reporting(t *testing.T, agent string) *world {
	w := example(t)
	w.config = func(c *Config) { c.Reports = true }
	w.restart(Limits{})
	for _, addr := range []string{"192.0.2.3", "192.0.2.4", "192.0.2.5"} {
		if serve := w.servers[addr]; serve != nil {
			w.servers[addr] = naming(dnsname.MustParse(agent).AppendWire(nil), serve)
		}
	}
	return w
}

// breakAll has every server of example.com answer SERVFAIL.
func (w *world) breakExample() {
	agent := dnsname.MustParse("agent.example.net.").AppendWire(nil)
	w.servers["192.0.2.3"] = naming(agent, always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeServFail }))
}

func (w *world) reported() (all []string) {
	for _, line := range w.asked {
		if name := strings.Fields(line)[1]; strings.Contains(name, "._er.agent.") {
			all = append(all, name)
		}
	}
	return all
}

// RFC 9567 §6.1: what fails is reported to the agent, once, with name, type and code;
// nothing is reported that works.
func TestReport(t *testing.T) {
	w := reporting(t, "agent.example.net.")
	w.want(w.resolve("www.example.com.", "A"), "NOERROR | www.example.com. 300 A 203.0.113.1")
	if got := w.reported(); len(got) != 0 {
		t.Fatalf("reported %q, and nothing has failed", got)
	}
	w.breakExample()
	for range 3 {
		if a := w.resolve("broken.example.com.", "MX"); a.Rcode != dnswire.RcodeServFail {
			t.Fatalf("got %v", a.Rcode)
		}
		w.run() // the report is nobody's question
		w.pass(time.Minute)
	}
	want := fmt.Sprintf("_er.%d.broken.example.com.%d._er.agent.example.net.", rdata.TypeMX, dnswire.EDENetworkError)
	seen := map[string]bool{}
	for _, name := range w.reported() {
		seen[name] = true
	}
	if !seen[want] || len(seen) != 1 || w.r.Counters().Reports != 1 {
		t.Errorf("reported %v, %d times; want %s once", seen, w.r.Counters().Reports, want)
	}
}

// The same again only after its time; many at once are too many.
func TestReportLimits(t *testing.T) {
	w := reporting(t, "agent.example.net.")
	w.resolve("www.example.com.", "A")
	w.breakExample()
	for i := range 3 * reportBurst {
		w.resolve(fmt.Sprintf("n%d.example.com.", i), "A")
	}
	if got := w.r.Counters().Reports; got > reportBurst+5 || got < reportBurst {
		t.Errorf("%d reports at once, want about %d", got, reportBurst)
	}
	before := w.r.Counters().Reports
	w.pass(2 * reportTime)
	w.servers["192.0.2.3"] = naming(dnsname.MustParse("agent.example.net.").AppendWire(nil), authority("example.com.", "example.com. 60 SOA", "www.example.com. 300 A 203.0.113.1"))
	w.resolve("www.example.com.", "A")
	w.breakExample()
	w.resolve("n0.example.com.", "A")
	if got := w.r.Counters().Reports; got != before+1 {
		t.Errorf("%d reports after %v, want 1", got-before, 2*reportTime)
	}
}

// No reports: about reports and the agent itself, to nobody, when it is off, and for
// names that are too long.
func TestNoReport(t *testing.T) {
	for _, test := range []struct {
		what, agent, name string
		off               bool
	}{
		{"off", "agent.example.net.", "broken.example.com.", true},
		{"the agent's own names", "agent.example.com.", "x.agent.example.com.", false},
		{"reports", "agent.example.net.", "_er.x.example.com.", false},
		{"long names", strings.Repeat("a.", 100) + "example.net.", strings.Repeat("b.", 30) + "example.com.", false},
		{"the root as agent", ".", "broken.example.com.", false},
	} {
		w := reporting(t, test.agent)
		w.r.cfg.Reports = !test.off
		w.resolve("www.example.com.", "A")
		w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeServFail })
		if a := w.resolve(test.name, "A"); a.Rcode != dnswire.RcodeServFail {
			t.Errorf("%s: got %v", test.what, a.Rcode)
		}
		if n := w.r.Counters().Reports; n != 0 {
			t.Errorf("%s: %d reports", test.what, n)
		}
	}
}

// A report that fails is not reported, and bad options are no agents.
func TestReportFails(t *testing.T) {
	w := reporting(t, "agent.example.com.") // which fails with the rest
	w.resolve("www.example.com.", "A")
	w.servers["192.0.2.3"] = always(func(_, m *dnswire.Message) { m.Rcode = dnswire.RcodeServFail })
	w.resolve("broken.example.com.", "A")
	if n := w.r.Counters().Reports; n != 1 {
		t.Errorf("%d reports, want 1", n)
	}
	for _, bad := range [][]byte{nil, {0}, {3, 'a'}, []byte("\x01a\x00x"), {0xC0, 0x0C}} {
		w := example(t)
		w.config = func(c *Config) { c.Reports = true }
		w.restart(Limits{})
		w.servers["192.0.2.3"] = naming(bad, w.servers["192.0.2.3"])
		w.resolve("www.example.com.", "A")
		if w.r.reports.agents.len() != 0 {
			t.Errorf("%x is an agent: %v", bad, w.r.reports.agents.entries)
		}
	}
}
