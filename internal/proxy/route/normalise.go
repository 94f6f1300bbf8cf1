package route

// Policy says what Normalise may do. The zero Policy is the strict default.
type Policy struct {
	// KeepSlashes leaves empty segments ("//") alone; otherwise they are merged,
	// since most origins take /a//b for /a/b and a route must not be passed by.
	KeepSlashes bool
	// AllowEncodedSlash forwards %2f and %5c as they are instead of refusing them.
	AllowEncodedSlash bool
}

// Problem is why a path is refused; the answer is 400.
type Problem struct {
	Text   string
	Offset int
}

func (p *Problem) Error() string { return p.Text }

// The problems a path can have. They are values so that finding one allocates
// nothing but the Problem itself.
const (
	textEncodedSlash = "the path has an encoded slash or backslash, which servers read differently"
	textNUL          = "the path has an encoded NUL"
	textEncodedDots  = "the path has a dot segment in encoded form"
	textAboveRoot    = "the path leads above the root"
	textBackslash    = "the path has a backslash, which some servers take for a slash"
	textDotParameter = "the path has a dot segment with a parameter, which servers read differently"
	textBroken       = "a % in the path is not followed by two hexadecimal digits"
)

// Normalise returns the one normal form of path in which it is matched and
// forwarded (RFC 3986 §6.2.2): unreserved characters decoded, hexadecimal
// digits in upper case, dot segments resolved, empty segments merged. A path
// already normal, as nearly all are, is returned as it is and dst is not
// touched; otherwise the result is appended to dst.
//
// What servers read differently is refused: %2f %5c %00, backslash, dot
// segments in disguise ("%2e%2e", "..;a") and those that lead above the root.
func Normalise(dst, path []byte, policy Policy) ([]byte, *Problem) {
	i := firstOdd(path, policy)
	if i < 0 {
		return path, nil
	}
	from := len(dst)
	dst = append(dst, path[:i]...)
	encodedDot := false // the current segment has a dot that was encoded
	for i < len(path) {
		c := path[i]
		switch {
		case c == '\\':
			return nil, &Problem{textBackslash, i}
		case c == '%':
			if i+2 >= len(path) || unhex(path[i+1]) > 15 || unhex(path[i+2]) > 15 {
				return nil, &Problem{textBroken, i}
			}
			v := unhex(path[i+1])<<4 | unhex(path[i+2])
			switch {
			case v == 0:
				return nil, &Problem{textNUL, i}
			case (v == '/' || v == '\\') && !policy.AllowEncodedSlash:
				return nil, &Problem{textEncodedSlash, i}
			case isUnreserved(v):
				encodedDot = encodedDot || v == '.'
				dst = append(dst, v)
			default:
				dst = append(dst, '%', upperHex[v>>4], upperHex[v&15])
			}
			i += 3
			continue
		case c == '/':
			var problem *Problem
			if dst, problem = endSegment(dst, from, encodedDot, i); problem != nil {
				return nil, problem
			}
			encodedDot = false
			if !(dst[len(dst)-1] == '/' && !policy.KeepSlashes) {
				dst = append(dst, '/')
			}
		default:
			dst = append(dst, c)
		}
		i++
	}
	dst, problem := endSegment(dst, from, encodedDot, len(path))
	if problem != nil {
		return nil, problem
	}
	return dst[from:], nil
}

// endSegment looks at the segment that dst ends with and resolves it when it is
// a dot segment (RFC 3986 §5.2.4). dst[from] is always "/".
func endSegment(dst []byte, from int, encodedDot bool, at int) ([]byte, *Problem) {
	start := len(dst)
	for start > from && dst[start-1] != '/' {
		start--
	}
	segment := dst[start:]
	dots, disguised := dotsOf(segment)
	switch {
	case start == from || dots == 0:
		return dst, nil
	case disguised:
		return nil, &Problem{textDotParameter, at}
	case encodedDot:
		return nil, &Problem{textEncodedDots, at}
	case dots == 1:
		return dst[:start], nil
	}
	if start == from+1 {
		return nil, &Problem{textAboveRoot, at}
	}
	start-- // the slash before ".."
	for dst[start-1] != '/' {
		start--
	}
	return dst[:start], nil
}

// dotsOf returns 1 or 2 for the segments "." and "..", else 0; disguised says
// that a parameter follows the dots (";" as servlet containers read it).
func dotsOf(segment []byte) (dots int, disguised bool) {
	for dots < len(segment) && segment[dots] == '.' {
		dots++
	}
	switch {
	case dots == 0 || dots > 2:
		return 0, false
	case dots == len(segment):
		return dots, false
	case segment[dots] == ';':
		return dots, true
	}
	return 0, false
}

// firstOdd returns the start of the segment in which Normalise may have
// something to do; -1 when the path is normal.
func firstOdd(path []byte, policy Policy) int {
	previous := byte(0)
	segment := 0
	for i, c := range path {
		switch {
		case c == '/':
			if previous == '/' && !policy.KeepSlashes {
				return i
			}
			segment = i + 1
		case c == '.' && previous == '/', c == '%', c == '\\':
			return max(segment, 1)
		}
		previous = c
	}
	return -1
}

func isUnreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '-' || c == '.' || c == '_' || c == '~'
}

// unhex returns the value of a hexadecimal digit; 255 for any other octet.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

const upperHex = "0123456789ABCDEF"
