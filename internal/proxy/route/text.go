package route

import (
	"fmt"
	"strings"
)

// Text is a text with variables for routes that are not known yet: what filters write into
// fields. Beside the variables of a route it has those of the request.
type Text []piece

// requestNames are the variables that a text of a filter has beside those of a route.
var requestNames = map[string]known{
	"path": knownPath, "rest": knownRest, "query": knownQuery, "host": knownHost,
	"client": knownClient, "scheme": knownScheme, "method": knownMethod, "id": knownID, "route": knownRoute,
}

// CompileText reads a text with variables. Which of them a route has is found out by Lacks.
func CompileText(source string) (Text, error) {
	if len(source) > MaxPathLen {
		return nil, fmt.Errorf("it is longer than %d characters", MaxPathLen)
	}
	return pieces(source, func(_, name string) (piece, error) {
		if k := requestNames[name]; k != knownNone {
			return piece{known: k}, nil
		}
		if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
			return piece{}, fmt.Errorf("that is no name of a variable")
		}
		return piece{late: name}, nil
	})
}

// Lacks returns a variable of t that r does not have; "" if it has all of them.
func (r *Route) Lacks(t Text) string {
	for i := range t {
		if name := t[i].late; name != "" {
			if _, err := r.pieceOf(name); err != nil {
				return name
			}
		}
	}
	return ""
}

// AppendText appends t for a request.
func (r *Route) AppendText(b []byte, t Text, p Parts) []byte {
	for i := range t {
		if t[i].late == "" {
			b = r.appendText(b, text(t[i:i+1]), p)
		} else if found, err := r.pieceOf(t[i].late); err == nil {
			one := [1]piece{found}
			b = r.appendText(b, one[:], p)
		}
	}
	return b
}

// IsConstant returns what t is for every request, if it is so.
func (t Text) IsConstant() (text string, is bool) {
	for i := range t {
		if t[i].known != knownNone || t[i].late != "" {
			return "", false
		}
		text += t[i].literal
	}
	return text, true
}
