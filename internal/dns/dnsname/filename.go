package dnsname

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// longestFileName is how many octets spell out a name in FileName. File systems have
// 255 for a file name; some are for what the caller puts behind it.
const longestFileName = 180

// FileName returns how a file or folder is called that is of n: letters, digits,
// hyphen, underscore and dot stand for themselves, other octets as =XX, the root is
// =2E, and what would be too long is =sha256- and the sum of the wire form. Two names
// never have the same. It begins with no dot, and has no separator of folders.
func (n Name) FileName() string {
	const digits = "0123456789ABCDEF"
	text := strings.TrimSuffix(n.String(), ".")
	if text == "" {
		text = "." // the root
	}
	b := make([]byte, 0, longestFileName+3)
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b = append(b, c)
		default:
			b = append(b, '=', digits[c>>4], digits[c&15])
		}
		if len(b) > longestFileName {
			sum := sha256.Sum256([]byte(n.Wire()))
			return "=sha256-" + hex.EncodeToString(sum[:])
		}
	}
	return string(b)
}
