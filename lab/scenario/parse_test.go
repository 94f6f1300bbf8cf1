package scenario

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pharos/internal/dns/dnswire"
	"pharos/internal/dns/rdata"
)

const small = `server:
	do-ip6: no		# a comment
	access-control: 127.0.0.1 allow_snoop
	cache-max-ttl: 10
stub-zone:
	name: "."
	stub-addr: 192.0.2.1
CONFIG_END
SCENARIO_BEGIN A small one
RANGE_BEGIN 0 100
	ADDRESS 192.0.2.1
	ADDRESS 2001:db8::1
ENTRY_BEGIN
MATCH opcode subdomain UDP
ADJUST copy_id copy_query
REPLY QR AA NXDOMAIN DO
SECTION QUESTION
Example.com. IN MX
SECTION ANSWER
SECTION AUTHORITY
$ORIGIN example.com.
@ 60 IN SOA ns host ( 1 2 ; refresh
  3 4 5 )
txt IN TXT "a ; b"
ENTRY_END
RANGE_END
STEP 1 QUERY ADDRESS 192.0.2.9
ENTRY_BEGIN
REPLY RD
SECTION QUESTION
example.com. IN MX
ENTRY_END
STEP 2 TIME_PASSES ELAPSE 1.5
STEP 3 TIMEOUT
	ADDRESS 192.0.2.1
STEP 4 CHECK_ANSWER
ENTRY_BEGIN
MATCH all ttl ede=3
REPLY QR RD RA NXDOMAIN
SECTION QUESTION
example.com. IN MX
ENTRY_END
SCENARIO_END
`

func TestParse(t *testing.T) {
	s, err := Parse("small.rpl", strings.NewReader(small))
	if err != nil {
		t.Fatal(err)
	}
	if s.Title != "A small one" || s.Dialect != Unbound || len(s.Ranges) != 1 || len(s.Steps) != 4 {
		t.Fatalf("got %q, dialect %v, %d ranges, %d steps", s.Title, s.Dialect, len(s.Ranges), len(s.Steps))
	}
	r := s.Ranges[0]
	if r.From != 0 || r.To != 100 || len(r.Addresses) != 2 || len(r.Entries) != 1 {
		t.Errorf("range: %+v", r)
	}
	e := r.Entries[0]
	if !e.Match.Opcode || !e.Match.Subdomain || !e.Match.UDP || e.Match.Qname {
		t.Errorf("match: %+v", e.Match)
	}
	if e.Adjust != (Adjust{CopyID: true, CopyQuery: true}) {
		t.Errorf("adjust: %+v", e.Adjust)
	}
	m := e.Message
	if !m.QR || !m.AA || !m.EDNS.DO || m.RD || m.Rcode != dnswire.RcodeNXDomain || m.Question.Type != rdata.TypeMX {
		t.Errorf("message: %+v", m)
	}
	if e.Declared != (Sections{Question: true, Answer: true, Authority: true}) {
		t.Errorf("declared: %+v", e.Declared)
	}
	want := []string{
		"example.com. 60 IN SOA ns.example.com. host.example.com. 1 2 3 4 5",
		`txt.example.com. 3600 IN TXT "a ; b"`,
	}
	for i, w := range want {
		if got := canonical(m.Authority[i], true); got != w {
			t.Errorf("authority %d: got %s, want %s", i, got, w)
		}
	}
	if s.Steps[0].Address.String() != "192.0.2.9" || s.Steps[1].Elapse != 1500*time.Millisecond || s.Steps[2].Address.String() != "192.0.2.1" {
		t.Errorf("steps: %+v", s.Steps)
	}
	w, err := s.World()
	if err != nil || len(w.Roots) != 1 || !w.NoIPv6 || w.NoIPv4 || w.Cache.MaxTTL != 10 {
		t.Errorf("world: %+v, %v", w, err)
	}
}

func TestParseDeckard(t *testing.T) {
	s, err := Parse("d.rpl", strings.NewReader(`do-ip6: no
; a comment: with a colon
	stub-addr: 192.0.2.1	# K
CONFIG_END
SCENARIO_BEGIN
STEP 10 QUERY
ENTRY_BEGIN
RAW
b5c9 0100
ENTRY_END
STEP 20 REPLY
ENTRY_BEGIN
REPLY QR
SECTION QUESTION
. IN NS
ENTRY_END
SCENARIO_END`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Dialect != Deckard || len(s.Settings) != 2 {
		t.Errorf("dialect %v, settings %v", s.Dialect, s.Settings)
	}
	if got := string(s.Steps[0].Entry.Raw); got != "\xb5\xc9\x01\x00" {
		t.Errorf("raw %x", got)
	}
	if m := s.Steps[1].Entry.Match; !m.Opcode || !m.Qname || !m.Qtype {
		t.Errorf("an entry without MATCH must match opcode, qname and qtype: %+v", m)
	}
}

func TestParseErrors(t *testing.T) {
	const head = "CONFIG_END\nSCENARIO_BEGIN\n"
	for _, c := range []struct{ text, want string }{
		{"server:\n", "line 1: the file has no CONFIG_END"},
		{head, "before SCENARIO_END"},
		{head + "RANGE_BEGIN 0\n", "line 3: RANGE_BEGIN wants two step numbers"},
		{head + "RANGE_BEGIN 0 x\n", "line 3: RANGE_BEGIN: "},
		{head + "RANGE_BEGIN 0 9\n", "line 3: the range has no RANGE_END"},
		{head + "RANGE_BEGIN 0 9\nADDRESS 1.2.3\n", "line 4: ParseAddr"},
		{head + "RANGE_BEGIN 0 9\nENTRY_BEGIN\nREPLY QQ\n", `line 5: REPLY: "QQ" is no flag`},
		{head + "RANGE_BEGIN 0 9\nENTRY_BEGIN\nwww. IN A 192.0.2.1\n", "line 5: \"www. IN A 192.0.2.1\" before any SECTION"},
		{head + "RANGE_BEGIN 0 9\nENTRY_BEGIN\nSECTION ANSWER\nwww. IN A 192.0.2.256\n", "line 6: "},
		{head + "RANGE_BEGIN 0 9\nENTRY_BEGIN\nSECTION ANSWER\nwww. IN TXT (\n", "line 6: parenthesis is not closed"},
		{head + "STEP x QUERY\n", "line 3: STEP: "},
		{head + "STEP 1 QUERY\nSCENARIO_END\n", "line 4: STEP 1 QUERY must be followed by ENTRY_BEGIN"},
		{head + "STEP 1 TIME_PASSES ELAPSE -1\n", "want seconds"},
		{head + "NONSENSE\n", `line 3: "NONSENSE" where`},
	} {
		_, err := Parse("x.rpl", strings.NewReader(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "x.rpl: ") {
			t.Errorf("%q: got error %v, want x.rpl: ...%s", c.text, err, c.want)
		}
	}
}

func TestUnsupported(t *testing.T) {
	for _, c := range []struct{ config, steps, class string }{
		{"server:\n\ttrust-anchor-file: \"root.key\"\n", "", "whitebox"},
		{"server:\n\tprefetch: yes\n", "", ""},
		{"server:\n\tserve-expired: no\n", "", ""},
		{"server:\n\tlocal-zone: \"x\" static\n", "", ""},
		{"server:\n\tlocal-zone: \"x\" ipset\n", "", "config"},
		{"forward-zone:\n\tname: \".\"\n\tforward-host: f.example.\n", "", "forward"},
		{"rpz:\n\tname: \"rpz.\"\n", "", ""},
		{"rpz:\n\tname: \"rpz.\"\n\trpz-action-override: \"sing\"\n", "", "config"},
		{"auth-zone:\n\tname: \"a.\"\n\tzonefile:\nTEMPFILE_NAME a\nTEMPFILE_CONTENTS a\nnonsense: yes\nTEMPFILE_END\n", "", ""},
		{"auth-zone:\n\tname: \"a.\"\n\tmaster: 192.0.2.1\n", "", "authzone"},
		{"server:\n\tmodule-config: \"validator iterator\"\n", "", ""},
		{"server:\n\tmodule-config: \"respip iterator\"\n", "", ""},
		{"server:\n\tmodule-config: \"python iterator\"\n", "", "config"},
		{"", "STEP 1 ASSIGN t0 = ${time}\n", "whitebox"},
		{"", "STEP 1 TIME_PASSES EVAL ${$t0}\n", "whitebox"},
		{"", "STEP 1 DANCE\n", "step"},
		{"", "STEP 1 QUERY\nENTRY_BEGIN\nMATCH colour\nENTRY_END\n", "step"},
	} {
		text := c.config + "stub-zone:\n\tname: \".\"\n\tstub-addr: 192.0.2.1\nCONFIG_END\nSCENARIO_BEGIN\n" + c.steps + "SCENARIO_END\n"
		s, err := Parse("x.rpl", strings.NewReader(text))
		if err == nil {
			_, err = s.World()
		}
		var u *Unsupported
		got := ""
		if errors.As(err, &u) {
			got = u.Class
		} else if err != nil {
			got = err.Error()
		}
		if got != c.class {
			t.Errorf("%q %q: class %q (%v), want %q", c.config, c.steps, got, err, c.class)
		}
	}
}

// FuzzParse: whatever the file, Parse returns; and what it accepts has ranges and
// steps that can be looked at.
func FuzzParse(f *testing.F) {
	f.Add(small)
	files, _ := filepath.Glob("../scenarios/*.rpl")
	for _, name := range files {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(string(text))
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz.rpl", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, r := range s.Ranges {
			for _, e := range r.Entries {
				e.Message.Append(nil)
			}
		}
		s.World()
	})
}
