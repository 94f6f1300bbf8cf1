package probe

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"pharos/internal/traffic/health"
)

// matcher says whether a content is as a check wants it.
type matcher struct {
	contains []byte
	regexp   *regexp.Regexp // nil: none
	place    []string       // of the JSON value; nil: none
	value    string         // that it must have; "": any
}

// compileMatch returns the matcher of m, or nil if it asks nothing. Check.Validate has
// compiled the expression before.
func compileMatch(m health.Match) *matcher {
	if m == (health.Match{}) {
		return nil
	}
	c := &matcher{contains: []byte(m.Contains), value: m.Value}
	if m.Regexp != "" {
		c.regexp = regexp.MustCompile(m.Regexp)
	}
	if m.JSON != "" {
		c.place = strings.Split(m.JSON, ".")
	}
	return c
}

// fault returns what is wrong with a content, or "".
func (m *matcher) fault(content []byte, whole bool) string {
	beyond := ""
	if !whole {
		beyond = fmt.Sprintf(" in the first %d KiB", maxContent>>10)
	}
	if !bytes.Contains(content, m.contains) {
		return fmt.Sprintf("the content has no %.40q%s", m.contains, beyond)
	}
	if m.regexp != nil && !m.regexp.Match(content) {
		return fmt.Sprintf("the content does not match %.40q%s", m.regexp, beyond)
	}
	if m.place == nil {
		return ""
	}
	if !whole {
		return fmt.Sprintf("the content is longer than %d KiB, too long to be read as JSON", maxContent>>10)
	}
	return m.faultOfJSON(content)
}

func (m *matcher) faultOfJSON(content []byte) string {
	d := json.NewDecoder(bytes.NewReader(content))
	d.UseNumber() // 1.0 stays 1.0
	var root any
	if err := d.Decode(&root); err != nil {
		return "the content is not JSON: " + health.Printable(err.Error())
	}
	place := strings.Join(m.place, ".")
	value, there := valueAt(root, m.place)
	switch {
	case !there:
		return fmt.Sprintf("the content has nothing at %s", place)
	case m.value != "" && textOf(value) != m.value:
		return fmt.Sprintf("%s is %.40q", place, textOf(value))
	}
	return ""
}

// valueAt returns the value at a place of a JSON value.
func valueAt(v any, place []string) (any, bool) {
	for _, step := range place {
		switch at := v.(type) {
		case map[string]any:
			next, there := at[step]
			if !there {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// textOf returns a JSON value as a person writes it: without quotes.
func textOf(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil:
		return "null"
	case map[string]any, []any:
		text, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(text)
	}
	return fmt.Sprint(v)
}
