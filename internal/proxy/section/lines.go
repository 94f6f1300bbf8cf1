package section

import (
	"bytes"
	"iter"
)

// StatusOf returns the status of a status line; what is none is 502.
func StatusOf(line []byte) int {
	const at = len("HTTP/1.1 ")
	if len(line) < at+3 {
		return 502
	}
	return int(line[at]-'0')*100 + int(line[at+1]-'0')*10 + int(line[at+2]-'0')
}

// AfterLine returns what stands behind the first line of b.
func AfterLine(b []byte) []byte {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[i+1:]
	}
	return nil
}

// Fields yields the names and values of field lines.
func Fields(lines []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for len(lines) > 0 {
			end := bytes.IndexByte(lines, '\n')
			if end < 0 {
				end = len(lines)
			}
			line := bytes.TrimSuffix(lines[:end], []byte("\r"))
			lines = lines[min(end+1, len(lines)):]
			if colon := bytes.IndexByte(line, ':'); colon > 0 && !yield(line[:colon], bytes.TrimSpace(line[colon+1:])) {
				return
			}
		}
	}
}

// AppendLower appends a name in lower case.
func AppendLower(b, name []byte) []byte {
	for _, c := range name {
		b = append(b, lower(c))
	}
	return b
}

// IsOfConnection reports whether a field, in lower case, concerns a connection of HTTP/1.1,
// so that it does not exist here (RFC 9113 §8.2.2, RFC 9114 §4.2).
func IsOfConnection(name []byte) bool {
	switch string(name) {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}
