// Package pairs finds values in lists of name=value, as cookies and queries have them, where
// they stand and without copying them.
//
// Entry points: Value, Parameter, Of.
//
// Concurrency: functions only.
//
// Sources: RFC 6265 §5.4 (Cookie), RFC 3986 §3.4 (query).
package pairs

import "bytes"

// Value returns the value of the first pair of that name in a list; nil: there is none.
func Value(list []byte, separator byte, name string) []byte {
	for len(list) > 0 {
		pair := list
		if at := bytes.IndexByte(list, separator); at >= 0 {
			pair, list = list[:at], list[at+1:]
		} else {
			list = nil
		}
		if value := Of(pair, name); value != nil {
			return value
		}
	}
	return nil
}

// Of returns the value of name=value; nil if it has another name.
func Of(pair []byte, name string) []byte {
	pair = bytes.TrimSpace(pair)
	if len(pair) <= len(name) || pair[len(name)] != '=' || string(pair[:len(name)]) != name {
		return nil
	}
	return pair[len(name)+1:]
}

// Parameter returns the value of a parameter of a query, as it is written; nil if there is
// none. query begins with "?" unless it is empty.
func Parameter(query []byte, name string) []byte {
	if len(query) == 0 {
		return nil
	}
	return Value(query[1:], '&', name)
}
