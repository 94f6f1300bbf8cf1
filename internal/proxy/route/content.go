package route

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// This file looks at the beginning of the content of a request: at values in JSON, and at
// those of a form. What is not there as far as was read, and what two readers could read in
// two ways (a name that is there twice), is not there.

// maxJSONPath is how many names a path into JSON has at most; arbitrary.
const maxJSONPath = 16

// checkContent checks a condition on content.
func (c *condition) checkContent() error {
	if c.of == inJSON {
		if parts := strings.Split(c.Name, "."); len(parts) > maxJSONPath || strings.Contains("."+c.Name+".", "..") {
			return fmt.Errorf("%q is no path: want names, and numbers in lists, with dots between, as in order.items.0.id", c.Name)
		}
	}
	return nil
}

// holdsContent reports whether the content of a request is as c wants it.
func (c *condition) holdsContent(q Request) bool {
	value := c.contentValue(q)
	return (c.is(value) && (c.regexp == nil || c.regexp.Match(value))) != c.Not
}

// contentValue returns the value that c is about; nil if it is not there.
func (c *condition) contentValue(q Request) []byte {
	if !hasType(q, c.of) {
		return nil
	}
	prefix, whole := q.Content()
	if c.of == inJSON {
		return jsonValue(prefix, strings.Split(c.Name, "."))
	}
	if !whole { // the last value may be cut off
		prefix = prefix[:max(bytes.LastIndexByte(prefix, '&'), 0)]
	}
	form := append(append(make([]byte, 0, len(prefix)+1), '?'), prefix...)
	return parameter(make([]byte, 0, longValue), form, c.Name)
}

// hasType reports whether the content of a request is said to be of that kind, and is not
// compressed.
func hasType(q Request, o of) bool {
	if coding := q.Field("Content-Encoding"); len(coding) > 0 && string(coding) != "identity" {
		return false
	}
	kind, _, _ := bytes.Cut(q.Field("Content-Type"), []byte(";"))
	text := strings.ToLower(string(bytes.TrimSpace(kind)))
	if o == inForm {
		return text == "application/x-www-form-urlencoded"
	}
	return text == "application/json" || strings.HasPrefix(text, "application/") && strings.HasSuffix(text, "+json")
}

// jsonValue returns the value at a path: a string, a number, true or false, as text.
func jsonValue(text []byte, path []string) []byte {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, _, _ := walkJSON(d, path, 0)
	return value
}

// maxDepth is how deep values stand in each other at most; what is deeper is not looked at.
const maxDepth = 64

// walkJSON reads one value and returns what is at path in it; isWhole: it was read to its end.
func walkJSON(d *json.Decoder, path []string, depth int) (value []byte, isThere, isWhole bool) {
	token, err := d.Token()
	if err != nil || depth > maxDepth {
		return nil, false, false
	}
	delim, isDelim := token.(json.Delim)
	if !isDelim {
		if path == nil || len(path) > 0 {
			return nil, false, true
		}
		return scalarText(token), true, true
	}
	wasNamed := false
	for n := 0; d.More(); n++ {
		name := strconv.Itoa(n)
		if delim == '{' {
			key, err := d.Token()
			if err != nil {
				return value, isThere, false
			}
			name = key.(string)
		}
		var below []string // nil: nothing in there is looked for
		isNamed := len(path) > 0 && path[0] == name
		if isNamed {
			below = append([]string{}, path[1:]...)
		}
		found, there, whole := walkJSON(d, below, depth+1)
		if isNamed {
			if value = found; wasNamed { // twice: servers differ in which of them counts
				value = nil
			}
			wasNamed, isThere = true, there && value != nil
		}
		if !whole {
			return value, isThere, false
		}
	}
	_, err = d.Token() // the end of the list or object
	return value, isThere, err == nil
}

func scalarText(token json.Token) []byte {
	switch v := token.(type) {
	case string:
		return append([]byte{}, v...)
	case json.Number:
		return []byte(v)
	case bool:
		return strconv.AppendBool(nil, v)
	}
	return nil // null
}

// unmetContent says why a condition on content does not hold, beside what it is about.
func (c *condition) unmetContent(q Request) string {
	if !hasType(q, c.of) {
		return fmt.Sprintf("; the content is not said to be of that kind, or is compressed (Content-Type %q)", q.Field("Content-Type"))
	}
	if prefix, whole := q.Content(); !whole {
		return fmt.Sprintf("; only the first %d octets of the content are looked at", len(prefix))
	}
	return ""
}
