package scenario

import (
	"errors"
	"strings"
	"testing"
)

const unboundHead = `server:
	do-ip6: no
stub-zone:
	name: "."
	stub-addr: 192.0.2.1
CONFIG_END
SCENARIO_BEGIN a test of the player
`

const deckardHead = `do-ip6: no
stub-addr: 192.0.2.1
CONFIG_END
SCENARIO_BEGIN a test of the player
`

// The root serves everything; step numbers decide which address it tells.
const twoRanges = `RANGE_BEGIN 0 10
	ADDRESS 192.0.2.1
ENTRY_BEGIN
MATCH opcode qtype qname
ADJUST copy_id
REPLY QR AA NOERROR
SECTION QUESTION
www. IN A
SECTION ANSWER
www. 60 IN A 203.0.113.1
ENTRY_END
RANGE_END
RANGE_BEGIN 11 100
ENTRY_BEGIN
MATCH opcode qtype qname
ADJUST copy_id
REPLY QR AA NOERROR
SECTION QUESTION
www. IN A
SECTION ANSWER
www. 60 IN A 203.0.113.2
ENTRY_END
RANGE_END
`

const askWWW = `
ENTRY_BEGIN
REPLY RD
SECTION QUESTION
www. IN A
ENTRY_END
`

func answerWWW(last string) string {
	return `
ENTRY_BEGIN
MATCH all
REPLY QR RD RA NOERROR
SECTION QUESTION
www. IN A
SECTION ANSWER
www. 60 IN A 203.0.113.` + last + `
ENTRY_END
`
}

const failWWW = `
ENTRY_BEGIN
MATCH rcode
REPLY QR RD RA SERVFAIL
SECTION QUESTION
www. IN A
ENTRY_END
`

// reply gives the address as a scripted reply.
func replyWWW(last string) string {
	return strings.Replace(strings.Replace(answerWWW(last), "MATCH all", "MATCH opcode qtype qname\nADJUST copy_id", 1), "RD RA", "AA", 1)
}

func TestRun(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       string // part of the error; "" is a pass
	}{
		{"the step to come counts for Unbound's ranges",
			unboundHead + twoRanges + "STEP 10 QUERY" + askWWW + "STEP 11 CHECK_ANSWER" + answerWWW("2"), ""},
		{"the step that is on counts for Deckard's ranges",
			deckardHead + twoRanges + "STEP 10 QUERY" + askWWW + "STEP 11 CHECK_ANSWER" + answerWWW("1"), ""},
		{"a wrong answer fails",
			unboundHead + twoRanges + "STEP 1 QUERY" + askWWW + "STEP 2 CHECK_ANSWER" + answerWWW("9"),
			`step 2 CHECK_ANSWER, line`},
		{"an answer that nobody checks fails",
			unboundHead + twoRanges + "STEP 1 QUERY" + askWWW + "STEP 2 TRAFFIC\n", "1 answers were not checked"},
		{"a check without a query fails",
			unboundHead + twoRanges + "STEP 2 CHECK_ANSWER" + answerWWW("1"), "no answer came, and nothing is under way"},
		{"a timeout without a packet fails",
			unboundHead + twoRanges + "STEP 2 TIMEOUT\n", "no query is under way"},
		{"silence ends in SERVFAIL, by the resolver's own timeouts",
			unboundHead + "STEP 1 QUERY" + askWWW + "STEP 2 CHECK_ANSWER" + failWWW, ""},
		{"Deckard's servers say SERVFAIL to what is not written",
			deckardHead + "STEP 1 QUERY" + askWWW + "STEP 2 CHECK_ANSWER" + failWWW, ""},
		{"a query that was sent is seen, and answered by the step after",
			unboundHead + "STEP 1 QUERY" + askWWW + "STEP 2 CHECK_OUT_QUERY" + strings.Replace(askWWW, "REPLY RD", "MATCH qname qtype UDP\nREPLY NOERROR", 1) +
				"STEP 3 REPLY" + replyWWW("5") + "STEP 4 CHECK_ANSWER" + answerWWW("5"), ""},
		{"a query that was not sent is missed",
			unboundHead + "STEP 1 QUERY" + askWWW + "STEP 2 CHECK_OUT_QUERY" + strings.Replace(askWWW, "REPLY RD", "MATCH TCP\nREPLY NOERROR", 1),
			"no such query was sent; under way: [192.0.2.1 www. A]"},
		{"Deckard's replies are held ready",
			deckardHead + "STEP 1 QUERY" + askWWW + "STEP 2 REPLY" + replyWWW("6") + "STEP 3 CHECK_ANSWER" + answerWWW("6"), ""},
		{"a timeout and an error of the network lead to another try",
			unboundHead + "STEP 1 QUERY" + askWWW + "STEP 2 TIMEOUT\nSTEP 3 TIMEOUT\nSTEP 4 REPLY" + replyWWW("7") + "STEP 5 CHECK_ANSWER" + answerWWW("7"), ""},
		{"an error at the only server is the end",
			unboundHead + "STEP 1 QUERY" + askWWW + "STEP 2 ERROR\nSTEP 5 CHECK_ANSWER" + failWWW, ""},
		{"time passes",
			unboundHead + twoRanges + "STEP 1 QUERY" + askWWW + "STEP 2 CHECK_ANSWER" + answerWWW("1") + "STEP 3 TIME_PASSES ELAPSE 59\n" +
				"STEP 12 QUERY" + askWWW + "STEP 13 CHECK_ANSWER" + answerWWW("1") + "STEP 14 TIME_PASSES ELAPSE 1\nSTEP 15 QUERY" + askWWW + "STEP 16 CHECK_ANSWER" + answerWWW("2"), ""},
	} {
		s, err := Parse("test.rpl", strings.NewReader(c.text+"SCENARIO_END\n"))
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		r, err := s.Run(Options{Seed: 1})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v\n%s", c.name, err, strings.Join(r.Log, "\n"))
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got error %v, want %q in it\n%s", c.name, err, c.want, strings.Join(r.Log, "\n"))
		}
	}
}

// The same seed gives the same dialogue.
func TestRunIsRepeatable(t *testing.T) {
	s, err := Parse("test.rpl", strings.NewReader(unboundHead+"STEP 1 QUERY"+askWWW+"STEP 2 CHECK_ANSWER"+failWWW+"SCENARIO_END\n"))
	if err != nil {
		t.Fatal(err)
	}
	first, err1 := s.Run(Options{Seed: 5})
	second, err2 := s.Run(Options{Seed: 5})
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Join(first.Log, "\n"), strings.Join(second.Log, "\n"); a != b {
		t.Errorf("two runs differ:\n%s\n\n%s", a, b)
	}
}
