package scenario

import (
	"strings"
	"testing"

	"pharos/internal/dns/dnswire"
)

// message makes a message from an entry's text.
func entryOf(t *testing.T, text string) *Entry {
	t.Helper()
	s, err := Parse("entry", strings.NewReader("server:\nCONFIG_END\nSTEP 1 REPLY\nENTRY_BEGIN\n"+text+"\nENTRY_END\nSCENARIO_END\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s.Steps[0].Entry
}

func TestCheck(t *testing.T) {
	const got = `REPLY QR RD RA NOERROR
SECTION QUESTION
www.example.com. IN A
SECTION ANSWER
www.example.com. 60 IN CNAME Web.Example.com.
web.example.com. 50 IN A 192.0.2.1
web.example.com. 50 IN A 192.0.2.2
SECTION AUTHORITY
example.com. IN NS ns.example.com.`
	for _, c := range []struct {
		name, match, reply, rest string
		tcp                      bool
		want                     string // part of the error; "" is agreement
	}{
		{"nothing asked", "", "QR SERVFAIL", "", false, ""},
		{"qname differs", "qname", "QR", "SECTION QUESTION\nftp.example.com. IN A", false, "question name"},
		{"qtype differs", "qtype", "QR", "SECTION QUESTION\nwww.example.com. IN MX", false, "question type"},
		{"qname in capitals", "qname", "QR", "SECTION QUESTION\nWWW.EXAMPLE.COM. IN A", false, ""},
		{"subdomain", "subdomain", "QR", "SECTION QUESTION\nexample.com. IN NS", false, ""},
		{"not a subdomain", "subdomain", "QR", "SECTION QUESTION\nample.com. IN NS", false, "want one below"},
		{"rcode differs", "rcode", "QR NXDOMAIN", "", false, "NXDOMAIN"},
		{"flags agree", "flags", "QR RD RA", "", false, ""},
		{"flags differ", "flags", "QR RD RA AA", "", false, `want "QR AA RD RA"`},
		{"UDP", "UDP", "QR", "", false, ""},
		{"UDP but TCP", "UDP", "QR", "", true, "came over TCP"},
		{"TCP but UDP", "TCP", "QR", "", false, "came over UDP"},
		{"DO missing", "DO", "QR", "", false, "without DO"},
		{"no EDNS", "noedns", "QR", "", false, ""},
		{"EDE missing", "ede=3", "QR", "", false, "want"},
		{"order and case do not matter", "all", "QR RD RA",
			"SECTION QUESTION\nwww.example.com. IN A\nSECTION ANSWER\nweb.example.com. IN A 192.0.2.2\nweb.example.com. IN A 192.0.2.1\nWWW.example.com. IN CNAME web.example.com.", false, ""},
		{"a record too few", "answer", "QR",
			"SECTION ANSWER\nwww.example.com. IN CNAME web.example.com.\nweb.example.com. IN A 192.0.2.1\nweb.example.com. IN A 192.0.2.2\nweb.example.com. IN A 192.0.2.3", false, "lacks [\"web.example.com. 0 IN A 192.0.2.3\"]"},
		{"a record too many", "answer", "QR",
			"SECTION ANSWER\nwww.example.com. IN CNAME web.example.com.\nweb.example.com. IN A 192.0.2.1", false, "too much [\"web.example.com. 0 IN A 192.0.2.2\"]"},
		{"TTLs agree", "all ttl", "QR RD RA",
			"SECTION QUESTION\nwww.example.com. IN A\nSECTION ANSWER\nwww.example.com. 60 IN CNAME web.example.com.\nweb.example.com. 50 IN A 192.0.2.1\nweb.example.com. 50 IN A 192.0.2.2", false, ""},
		{"a TTL differs", "answer ttl", "QR",
			"SECTION ANSWER\nwww.example.com. 61 IN CNAME web.example.com.\nweb.example.com. 50 IN A 192.0.2.1\nweb.example.com. 50 IN A 192.0.2.2", false, "lacks"},
		{"authority is compared when named", "authority", "QR", "SECTION AUTHORITY\nexample.com. IN NS ns2.example.com.", false, "authority section lacks"},
		{"under all only its SOA", "all", "QR RD RA",
			"SECTION QUESTION\nwww.example.com. IN A\nSECTION ANSWER\nwww.example.com. IN CNAME web.example.com.\nweb.example.com. IN A 192.0.2.1\nweb.example.com. IN A 192.0.2.2\nSECTION AUTHORITY\nexample.com. IN NS ns2.example.com.", false, ""},
		{"an SOA is missed", "all", "QR RD RA",
			"SECTION QUESTION\nwww.example.com. IN A\nSECTION ANSWER\nwww.example.com. IN CNAME web.example.com.\nweb.example.com. IN A 192.0.2.1\nweb.example.com. IN A 192.0.2.2\nSECTION AUTHORITY\nexample.com. IN SOA a. b. 1 2 3 4 5", false, "authority (SOA)"},
		{"serial", "serial=5", "QR", "", false, "no SOA with serial 5"},
	} {
		text := "REPLY " + c.reply + "\n" + c.rest
		if c.match != "" {
			text = "MATCH " + c.match + "\n" + text
		}
		err := entryOf(t, text).Check(Packet{&entryOf(t, got).Message, c.tcp})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want an error with %q", c.name, err, c.want)
		}
	}
}

func TestCheckExtendedErrors(t *testing.T) {
	m := entryOf(t, "REPLY QR SERVFAIL").Message
	m.EDE = []dnswire.ExtendedError{{Code: 22}}
	for match, want := range map[string]bool{"ede=22": true, "ede=any": true, "ede=9": false} {
		if got := entryOf(t, "MATCH "+match+"\nREPLY QR").Check(Packet{Message: &m}) == nil; got != want {
			t.Errorf("%s: agrees %v, want %v", match, got, want)
		}
	}
}

// A reply is the entry's message with the query's id, and the question in the
// query's own letters.
func TestReplyIsAdjusted(t *testing.T) {
	query := []byte("\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x00\x00\x01\x00\x01")
	m, err := dnswire.ParseMessage(query)
	if err != nil {
		t.Fatal(err)
	}
	x := &exchange{query: Packet{Message: m}}
	x.send.Msg = query
	for _, c := range []struct{ entry, want string }{
		{"ADJUST copy_id\nREPLY QR\nSECTION QUESTION\nwww. IN A", "\x12\x34\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x00\x00\x01\x00\x01"},
		{"REPLY QR\nSECTION QUESTION\nwww. IN A", "\x12\x34\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x00\x00\x01\x00\x01"},
		{"ADJUST copy_id copy_query\nREPLY QR\nSECTION QUESTION\n. IN MX", "\x12\x34\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03wWw\x00\x00\x01\x00\x01"},
		{"ADJUST copy_id\nREPLY QR\nSECTION QUESTION\nftp. IN A", "\x12\x34\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03ftp\x00\x00\x01\x00\x01"},
		{"ADJUST raw_id\nRAW\n0000ffff", "\x12\x34\xff\xff"},
		{"HEX_ANSWER_BEGIN\n00 00 ; comment\nff\nHEX_ANSWER_END", "\x00\x00\xff"},
	} {
		if got := string(entryOf(t, c.entry).reply(x)); got != c.want {
			t.Errorf("%q:\ngot  %q\nwant %q", c.entry, got, c.want)
		}
	}
}
