// Package shortid writes numbers of 40 bits as people can read them out to each other:
// servfail-0k3m9x2q, steer-7h2c0qzd. It owns the form, and knows no meaning.
//
// Entry points: Text, Parse.
//
// Concurrency: functions of their arguments.
package shortid

import (
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"strings"
)

// Bits is how long a number is.
const Bits = 40

// letters has none that are taken for others.
var letters = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// Text returns number behind prefix, which ends in a hyphen.
func Text(prefix string, number uint64) string {
	octets := binary.BigEndian.AppendUint64(nil, number)
	return prefix + letters.EncodeToString(octets[8-Bits/8:])
}

// Parse reads what Text wrote behind prefix, in any case. what names it in the error.
func Parse(prefix, text, what string) (number uint64, err error) {
	digits, ok := strings.CutPrefix(strings.ToLower(text), prefix)
	octets, err := letters.DecodeString(digits)
	if !ok || err != nil || len(digits) != Bits/5 {
		return 0, fmt.Errorf("%q is no id of %s; want one such as %s", text, what, Text(prefix, 0x123456789a))
	}
	return binary.BigEndian.Uint64(append(make([]byte, 8-len(octets)), octets...)), nil
}
