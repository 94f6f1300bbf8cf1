package zonefile

import (
	"errors"
	"strings"
	"testing"
)

// TestGenerate has BIND's $GENERATE as its manual describes it.
func TestGenerate(t *testing.T) {
	tests := []struct {
		rule, text string
		want       []string
	}{
		{"$ is the number", "$TTL 60\n$GENERATE 1-3 host$ A 192.0.2.$\n",
			[]string{"host1.example.com. 60 IN A 192.0.2.1", "host2.example.com. 60 IN A 192.0.2.2", "host3.example.com. 60 IN A 192.0.2.3"}},
		{"start-stop/step", "$GENERATE 0-9/4 $ 60 IN PTR h$.example.net.\n",
			[]string{"0.example.com. 60 IN PTR h0.example.net.", "4.example.com. 60 IN PTR h4.example.net.", "8.example.com. 60 IN PTR h8.example.net."}},
		{"a range of one", "$GENERATE 7-7 $ 60 CNAME @\n", []string{"7.example.com. 60 IN CNAME example.com."}},
		{"${offset,width,base}", "$GENERATE 10-10 a${-1}-${0,4,d}-${0,3,o}-${1,4,x}-${1,4,X}-${5} 60 A 192.0.2.1\n",
			[]string{"a9-0010-012-000b-000b-15.example.com. 60 IN A 192.0.2.1"}},
		{"base X in RDATA", "$GENERATE 171-171 a 60 TXT ${0,0,X} ${0,0,x}\n", []string{`a.example.com. 60 IN TXT "AB" "ab"`}},
		{"n: nibbles, the width counts the dots", "$GENERATE 4660-4660 ${0,7,n}.x 60 PTR ${0,1,N}.\n",
			[]string{"4.3.2.1.x.example.com. 60 IN PTR 4.3.2.1."}},
		{"n: zeros up to the width", "$GENERATE 10-10 ${0,7,n}.x 60 PTR ${0,3,N}.\n", []string{"a.0.0.0.x.example.com. 60 IN PTR A.0."}},
		{"$$ and \\$ are a dollar sign", "$GENERATE 1-1 a$$b\\$c$ 60 TXT $$\\$$\n",
			[]string{`a\$b\$c1.example.com. 60 IN TXT "$$1"`}},
		{"RDATA in one quoted string, or in several fields", "$GENERATE 1-1 a 60 MX \"1$ mail$\"\n$GENERATE 1-1 b 60 MX 1$ mail$\n",
			[]string{"a.example.com. 60 IN MX 11 mail1.example.com.", "b.example.com. 60 IN MX 11 mail1.example.com."}},
		{"strings of TXT keep their quotes when there are several", "$GENERATE 1-1 a 60 TXT \"x y $\" \"z\"\n", []string{`a.example.com. 60 IN TXT "x y 1" "z"`}},
		{"a blank owner after it is the one before it", "a 60 A 192.0.2.1\n$GENERATE 1-1 b 60 A 192.0.2.2\n A 192.0.2.3\n",
			[]string{"a.example.com. 60 IN A 192.0.2.1", "b.example.com. 60 IN A 192.0.2.2", "a.example.com. 60 IN A 192.0.2.3"}},
		{"RFC 2317: a delegation of part of a /24", "$GENERATE 65-66 $ 60 CNAME $.64/26\n",
			[]string{"65.example.com. 60 IN CNAME 65.64/26.example.com.", "66.example.com. 60 IN CNAME 66.64/26.example.com."}},
	}
	for _, test := range tests {
		got, errs := lines(strings.NewReader(test.text), Options{Origin: example})
		if len(errs) > 0 {
			t.Errorf("%s: %v", test.rule, errs[0])
		}
		checkLines(t, test.rule, got, test.want)
	}
}

func TestGenerateErrors(t *testing.T) {
	tests := []struct {
		text string
		is   error
		want string
	}{
		{"$GENERATE 1-2", ErrMissingArgument, "z:1:1: directive without its argument: \"$GENERATE\"; write $GENERATE start-stop[/step] owner [TTL] [class] type RDATA"},
		{"$GENERATE 5-1 a 60 A 192.0.2.1", ErrGenerateRange, `z:1:11: bad range of $GENERATE: "5-1"; write start-stop or start-stop/step, with start at most stop and a step of at least 1`},
		{"$GENERATE 1-5/0 a 60 A 192.0.2.1", ErrGenerateRange, ""},
		{"$GENERATE 1-x a 60 A 192.0.2.1", ErrGenerateRange, ""},
		{"$GENERATE 0-2147483647 a 60 A 192.0.2.1", ErrGenerateCount, `z:1:11: $GENERATE makes too many records: "0-2147483647"; keep it to 1048576 records`},
		{"$GENERATE 1-2 a${x} 60 A 192.0.2.1", ErrGenerateTemplate, ""},
		{"$GENERATE 1-2 a${1,2,q} 60 A 192.0.2.1", ErrGenerateTemplate, `z:1:15: bad template of $GENERATE: "a${1,2,q}"; write $ for the number, or ${offset[,width[,base]]} with base d, o, x, X, n or N`},
		{"$GENERATE 1-2 a${1 60 A 192.0.2.1", ErrGenerateTemplate, ""},
		{"$GENERATE 1-2 a${0,999999999} 60 A 192.0.2.1", ErrGenerateTemplate, ""},
		{"$GENERATE 1-2 a 60 NOSUCH x", ErrUnknownType, ""},
		{"$GENERATE 1-2 a 60 SOA . . 1 1 1 1 1", ErrGenerateTemplate, ""},
		{"$GENERATE 0-3 a${-2} 60 A 192.0.2.1", errNegative, `z:1:15: the number becomes negative: "a"; raise the offset`},
		{"$GENERATE 254-260 a 60 A 192.0.2.$", nil, `z:1:26: A, field 1: malformed field: "192.0.2.256"; write an IPv4 address such as 192.0.2.1`},
		{"$GENERATE 1-9 a..$ 60 A 192.0.2.$", nil, `z:1:15: empty label: "a..1"; put at least one octet between two dots`},
	}
	for _, test := range tests {
		// One error a directive, however many records it would have made.
		_, errs := lines(strings.NewReader(test.text+"\n"), Options{Origin: example, File: "z"})
		if len(errs) != 1 {
			t.Errorf("%q: got %v, want one error", test.text, errs)
			continue
		}
		if test.is != nil && !errors.Is(errs[0], test.is) {
			t.Errorf("%q: got %v, want %v", test.text, errs[0], test.is)
		}
		if test.want != "" && errs[0].Error() != test.want {
			t.Errorf("%q:\ngot  %v\nwant %s", test.text, errs[0], test.want)
		}
	}
	_, errs := lines(strings.NewReader("$GENERATE 1-3 a$ 60 A 192.0.2.1\n"), Options{Origin: example, MaxGenerate: 2})
	if len(errs) != 1 || !errors.Is(errs[0], ErrGenerateCount) {
		t.Errorf("a limit of 2 for 3 records: got %v", errs)
	}
}
