package node

import (
	"fmt"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// changing is a zone of which version after version is made while it is asked. Version k has
// serial k, "k" in each of three TXT records of one name, and a name that no other version has.
type changing struct {
	name  string        // with the final dot
	begun atomic.Uint32 // the newest version that anybody may have seen
	acked atomic.Uint32 // the newest that everybody has to see
}

// text returns the master file of a version, with enough besides that an edit shares most of
// the version before, and that it is built anew beside edits now and then.
func (c *changing) text(k uint32) string {
	var b strings.Builder
	fmt.Fprintf(&b, "$ORIGIN %s\n$TTL 60\n@ SOA ns h %d 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\nalias CNAME www\n", c.name, k)
	for _, part := range [...]string{"a", "b", "c"} {
		fmt.Fprintf(&b, "www TXT %q\n", fmt.Sprint(part, k))
	}
	fmt.Fprintf(&b, "only%d TXT %d\n", k, k)
	for i := range 1500 {
		fmt.Fprintf(&b, "host%d A 192.0.2.%d\n", i, i%250)
	}
	return b.String()
}

// update is the message that makes version k out of the one before.
func (c *changing) update(k uint32) *dns.Msg {
	txt := func(owner, text string) dns.RR {
		return &dns.TXT{Hdr: dns.RR_Header{Name: owner + "." + c.name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{text}}
	}
	m := new(dns.Msg).SetUpdate(c.name)
	m.RemoveRRset([]dns.RR{txt("www", "")})
	m.RemoveName([]dns.RR{txt(fmt.Sprint("only", k-1), "")})
	for _, part := range [...]string{"a", "b", "c"} {
		m.Insert([]dns.RR{txt("www", fmt.Sprint(part, k))})
	}
	m.Insert([]dns.RR{txt(fmt.Sprint("only", k), fmt.Sprint(k))})
	return m
}

// judge returns which version an answer is of; 0 and why if it is of none.
func (c *changing) judge(m *dns.Msg) (version uint32, why string) {
	question := m.Question[0]
	parts := map[byte]uint32{}
	for _, rr := range m.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			text := txt.Txt[0]
			if text[0] >= '0' && text[0] <= '9' {
				text = "=" + text
			}
			k, err := strconv.ParseUint(text[1:], 10, 32)
			if err != nil {
				return 0, "text that no version has"
			}
			parts[text[0]] = uint32(k)
		}
	}
	label, _, _ := strings.Cut(question.Name, ".")
	switch only, is := strings.CutPrefix(label, "only"); {
	case m.Rcode == dns.RcodeNameError && is:
		soa, ok := m.Ns[0].(*dns.SOA)
		if !ok || fmt.Sprint(soa.Serial) == only {
			return 0, "it denies a name that its version has"
		}
		return soa.Serial, ""
	case m.Rcode != dns.RcodeSuccess:
		return 0, "an error"
	case is:
		if fmt.Sprint(parts['=']) != only || len(parts) != 1 {
			return 0, "not what its version has"
		}
		return parts['='], ""
	}
	if len(parts) != 3 || parts['a'] != parts['b'] || parts['b'] != parts['c'] {
		return 0, "parts of an RRset"
	}
	return parts['a'], ""
}

// watch asks until done is closed, over a connection, and returns how many answers it had.
func (c *changing) watch(t *testing.T, network, server string, done <-chan struct{}) (answers int) {
	client := &dns.Client{Net: network, Timeout: time.Minute}
	conn, err := client.Dial(server)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer conn.Close()
	for newest := uint32(0); ; answers++ {
		select {
		case <-done:
			return answers
		default:
		}
		least := max(newest, c.acked.Load())
		names := [...]string{"www", "alias", fmt.Sprint("only", c.begun.Load()), fmt.Sprint("only", max(1, c.begun.Load())-1)}
		m := new(dns.Msg).SetQuestion(names[answers%len(names)]+"."+c.name, dns.TypeTXT)
		r, _, err := client.ExchangeWithConn(m, conn)
		if err != nil {
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Errorf("%s over %s: no answer for a minute", m.Question[0].Name, network)
			} else {
				t.Error(err)
			}
			return answers
		}
		version, why := c.judge(r)
		switch most := c.begun.Load(); {
		case why != "":
			t.Errorf("over %s: %s:\n%v", network, why, r)
			return answers
		case version < least || version > most:
			t.Errorf("%s over %s: of version %d, want %d to %d:\n%v", m.Question[0].Name, network, version, least, most, r)
			return answers
		}
		newest = version
	}
}

// TestEveryAnswerIsOfOneVersion: while a zone is reloaded, a second one updated, a third one
// transferred by IXFR and memory collected all the time, every answer is of one version: whole,
// not older than what was acknowledged before the question, and none that was to come.
func TestEveryAnswerIsOfOneVersion(t *testing.T) {
	const versions = 120
	const copies = 8 // a secondary asks its primary once a second at most
	at, from := freePort(t), freePort(t)
	read, edited, copied := &changing{name: "read.test."}, &changing{name: "edited.test."}, &changing{name: "copied.test."}
	all := []*changing{read, edited, copied}
	f1, f2 := newFolder(t), newFolder(t)
	for _, c := range all {
		c.begun.Store(1)
		f1.write(c.name+"zone", c.text(1))
		f2.write(c.name+"zone", c.text(1))
	}
	listen := "data: data\nstore: {enabled: false}\nresolver: {allow: []}\nlisten: {dns: [%q], admin: \"127.0.0.1:0\"}\nzones:\n"
	start(t, f1.write("pharos.yaml", fmt.Sprintf(listen+"  - {name: copied.test, kind: store, file: copied.test.zone, updates: [{network: 127.0.0.0/8}], transfer: [{network: 127.0.0.0/8}]}\n", from)))
	n, _ := start(t, f2.write("pharos.yaml", fmt.Sprintf(listen+"  - {name: read.test, file: read.test.zone}\n"+
		"  - {name: edited.test, kind: store, file: edited.test.zone, updates: [{network: 127.0.0.0/8}]}\n"+
		"  - {name: copied.test, kind: secondary, primaries: [{address: %q}]}\n", at, from)))
	eventually(t, func() string {
		if got := summary(ask(t, at, "only1.copied.test.", rdata.TypeTXT, false)); !strings.HasPrefix(got, "NOERROR only") {
			return "the secondary does not have the first version: " + got
		}
		return ""
	})

	served := func(name string) uint32 {
		return uint32(n.current.Load().zoneOf("", dnsname.MustParse(name)).Zone.Serial())
	}
	done := make(chan struct{})
	var writers, readers sync.WaitGroup
	send := func(c *changing, last uint32, server string, isDone func(k uint32) error) {
		client := &dns.Client{Net: "tcp", Timeout: time.Minute}
		for k := uint32(2); k <= last; k++ {
			c.begun.Store(k)
			r, _, err := client.Exchange(c.update(k), server)
			if err != nil || r.Rcode != dns.RcodeSuccess {
				t.Errorf("version %d of %s: %v, %v", k, c.name, r, err)
				return
			}
			if err := isDone(k); err != nil {
				t.Error(err)
				return
			}
		}
	}
	writers.Go(func() {
		for k := uint32(2); k <= versions/4; k++ {
			read.begun.Store(k)
			f2.write("read.test.zone", read.text(k))
			if _, err := n.reload(); err != nil {
				t.Error(err)
				return
			}
			read.acked.Store(k)
		}
	})
	writers.Go(func() {
		send(edited, versions, at.String(), func(k uint32) error { edited.acked.Store(k); return nil })
	})
	writers.Go(func() {
		send(copied, copies, from.String(), func(k uint32) error {
			for deadline := time.Now().Add(time.Minute); served("copied.test.") < k; {
				if time.Now().After(deadline) {
					return fmt.Errorf("the secondary does not get version %d", k)
				}
				if _, _, err := new(dns.Client).Exchange(new(dns.Msg).SetNotify("copied.test."), at.String()); err != nil {
					return err
				}
			}
			copied.acked.Store(k)
			return nil
		})
	})
	readers.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	})
	var answers atomic.Int64
	for _, c := range all {
		for _, network := range [...]string{"udp", "tcp"} {
			readers.Go(func() { answers.Add(int64(c.watch(t, network, at.String(), done))) })
		}
	}
	writers.Wait()
	close(done)
	readers.Wait()
	counts := n.secondaries.Counts()
	if counts.Incremental != copies-1 || counts.Whole != 1 {
		t.Errorf("the secondary had %d versions by IXFR and %d whole ones", counts.Incremental, counts.Whole)
	}
	if got := served("edited.test."); got != versions {
		t.Errorf("the zone that was updated is at version %d, want %d", got, versions)
	}
	t.Logf("%d answers; %+v", answers.Load(), counts)
}
