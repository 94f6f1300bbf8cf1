package node

import (
	"net"
	"testing"
	"time"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

// TestErrorReports: answers from a zone name its agent (RFC 9567 §6.2), but for those
// from the agent's own zone; a report is counted once it comes over TCP.
func TestErrorReports(t *testing.T) {
	f := newFolder(t)
	f.write("example.zone", exampleZone)
	f.write("agent.zone", "$TTL 60\n@ SOA ns host 1 1h 1h 1w 60\n@ NS ns\nns A 192.0.2.1\n*._er TXT received\n")
	n, _ := start(t, f.config(`zones:
  - {name: example.test, file: example.zone, reports: {agent: agent.test}}
  - {name: agent.test, file: agent.zone, reports: {agent: agent.test, receive: true}}
`))
	at := n.dns.Addrs()[0]
	agentIn := func(m *dnswire.Message) string {
		data, ok := m.EDNS.Find(dnswire.OptionReport)
		if !ok {
			return ""
		}
		name, _, err := dnsname.FromWire(data)
		if err != nil {
			t.Fatal(err)
		}
		return name.String()
	}
	if got := agentIn(ask(t, at, "www.example.test", rdata.TypeA, false)); got != "agent.test." {
		t.Errorf("agent %q in an answer", got)
	}
	if got := agentIn(ask(t, at, "none.example.test", rdata.TypeA, false)); got != "agent.test." {
		t.Errorf("agent %q in a denial", got)
	}
	const report = "_er.1.broken.example.test.7._er.agent.test"
	if m := ask(t, at, report, rdata.TypeTXT, false); !m.TC || agentIn(m) != "" || n.reports.Count() != 0 {
		t.Errorf("over UDP: TC %v, agent %q, %d reports; want TC alone", m.TC, agentIn(m), n.reports.Count())
	}
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	msg := dnswire.AppendQuery([]byte{0, 0}, dnswire.QuerySpec{ID: 7, Name: dnsname.MustParse(report), Type: rdata.TypeTXT, Class: rdata.ClassIN, EDNS: true})
	msg[1] = byte(len(msg) - 2)
	if _, err := conn.Write(msg); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	size, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	m, err := dnswire.ParseMessage(buf[2:size])
	if err != nil || len(m.Answer) != 1 {
		t.Errorf("got %v, %v; want the zone's record", m, err)
	}
	all := n.reports.List()
	if len(all) != 1 || all[0].Name != dnsname.MustParse("broken.example.test.") || all[0].Code != dnswire.EDESignatureExpired || all[0].Count != 1 {
		t.Errorf("got %+v, want one report", all)
	}
	if m := ask(t, at, "www.agent.test", rdata.TypeA, false); agentIn(m) != "" {
		t.Errorf("agent %q named in its own zone", agentIn(m))
	}
}
