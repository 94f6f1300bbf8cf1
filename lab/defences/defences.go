// Package defences shows that the gateway's defences are needed: it takes them out of the
// source one at a time, and has the test that names the attack fail.
//
// defences.txt lists them: the class of attack, what of the source is the defence, what
// stands there instead when it is gone, and the test. A defence whose test passes without
// it is either no defence, or is not tested.
//
//	= what an attacker wants (CVE)
//	internal/proxy/http1/framing.go
//	- the lines that are the defence, as they stand in the file, but for their indentation
//	+ what stands there without it
//	! http1.TestRefused
//
// The source itself is never changed: the compiler is given the changed file in its place
// (go test -overlay).
//
// Entry points: List, Defence.Without.
package defences

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

//go:embed defences.txt
var text string

// Defence is one defence of the gateway.
type Defence struct {
	Attack  string // what it is against
	Wants   string // what the attacker wants
	File    string // from the root of the module
	Package string // whose test it is, from the root of the module
	Test    string
	edits   []edit
}

// edit puts lines in the place of others.
type edit struct{ old, new []string }

// List returns the defences that are listed.
func List() ([]Defence, error) {
	var list []Defence
	attack, at := "", Defence{}
	for i, line := range strings.Split(text, "\n") {
		mark, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		n := len(at.edits)
		switch {
		case mark == "" || mark == "#":
		case mark == "==":
			attack = rest
		case mark == "=":
			at = Defence{Attack: attack, Wants: rest}
		case mark == "-" && (n == 0 || len(at.edits[n-1].new) > 0):
			at.edits = append(at.edits, edit{old: []string{rest}})
		case mark == "-":
			at.edits[n-1].old = append(at.edits[n-1].old, rest)
		case mark == "+" && n > 0:
			at.edits[n-1].new = append(at.edits[n-1].new, rest)
		case mark == "!":
			folder, test, ok := strings.Cut(rest, ".")
			if !ok || at.File == "" || n == 0 || attack == "" {
				return nil, fmt.Errorf("defences.txt:%d: %q: want an attack, a file, what goes, and package.Test", i+1, line)
			}
			at.Package, at.Test = "internal/"+folder, test
			list = append(list, at)
		case strings.HasSuffix(mark, ".go") && rest == "":
			at.File, at.edits = mark, nil
		default:
			return nil, fmt.Errorf("defences.txt:%d: %q is no attack and no file, and does not begin with -, + or ! and a blank", i+1, line)
		}
	}
	return list, nil
}

// Without returns the source without the defence.
func (d *Defence) Without(source string) (string, error) {
	lines := strings.Split(source, "\n")
	for _, e := range d.edits {
		at := -1
		for i := range lines {
			if !stand(lines[i:], e.old) {
				continue
			}
			if at >= 0 {
				return "", fmt.Errorf("%s: %q stands in lines %d and %d; add the line before it", d.File, e.old[0], at+1, i+1)
			}
			at = i
		}
		if at < 0 {
			return "", fmt.Errorf("%s: %q does not stand there any more; say in lab/defences/defences.txt what the defence is now", d.File, e.old[0])
		}
		lines = slices.Replace(lines, at, at+len(e.old), e.new...)
	}
	return strings.Join(lines, "\n"), nil
}

// stand reports whether lines begin with those wanted, but for indentation.
func stand(lines, wanted []string) bool {
	if len(lines) < len(wanted) {
		return false
	}
	for i, want := range wanted {
		if strings.TrimSpace(lines[i]) != want {
			return false
		}
	}
	return true
}
