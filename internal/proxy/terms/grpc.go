package terms

import "bytes"

// A call of gRPC whose server fails has the status 200 of HTTP; how it ended is in the trailer
// field grpc-status, or in the head if there is no message
// (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

// Codes are the outcomes of calls for which another member may be asked, by the words for them
// in configurations. With others the server has done what it was asked to do.
var Codes = map[string]int{
	"grpc-cancelled": 1, "grpc-deadline-exceeded": 4, "grpc-resource-exhausted": 8, "grpc-aborted": 10, "grpc-internal": 13, "grpc-unavailable": 14,
}

// StatusOf returns the status of HTTP that is for a server what an outcome of a call is, 200 if
// the outcome is the caller's affair.
func StatusOf(code int) int {
	switch code {
	case 2, 13, 15: // UNKNOWN, INTERNAL, DATA_LOSS
		return 500
	case 4: // DEADLINE_EXCEEDED
		return 504
	case 8: // RESOURCE_EXHAUSTED
		return 429
	case 12: // UNIMPLEMENTED
		return 501
	case 14: // UNAVAILABLE
		return 503
	}
	return 200
}

// ParseCode reads grpc-status.
func ParseCode(text []byte) (code int, ok bool) {
	if len(text) == 0 || len(text) > 2 {
		return 0, false
	}
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			return 0, false
		}
		code = 10*code + int(digit-'0')
	}
	return code, true
}

// CodeOfTrailers returns the outcome in trailer fields, which are whole lines.
func CodeOfTrailers(lines []byte) (code int, ok bool) {
	for len(lines) > 0 {
		var line []byte
		line, lines, _ = bytes.Cut(lines, lineEnd)
		if len(line) > len(nameOfCode) && bytes.EqualFold(line[:len(nameOfCode)], nameOfCode) {
			return ParseCode(bytes.TrimSpace(line[len(nameOfCode):]))
		}
	}
	return 0, false
}

var lineEnd, nameOfCode = []byte("\r\n"), []byte("grpc-status:")
