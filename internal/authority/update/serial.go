package update

import (
	"fmt"
	"time"

	"pharos/internal/dns/rdata"
)

// SerialPolicy says which serial the next version of a zone has.
type SerialPolicy uint8

// The policies.
const (
	Increment SerialPolicy = iota // one more
	Unixtime                      // seconds since 1970
	Date                          // YYYYMMDDnn, the day by UTC
)

var policyNames = [...]string{"increment", "unixtime", "date"}

// String returns the name of p as the configuration has it.
func (p SerialPolicy) String() string { return policyNames[p] }

// ParseSerialPolicy reads the name of a policy; "" is Increment.
func ParseSerialPolicy(s string) (SerialPolicy, error) {
	for p, name := range policyNames {
		if s == name || s == "" {
			return SerialPolicy(p), nil
		}
	}
	return 0, fmt.Errorf("unknown serial policy %q; there are increment, unixtime and date", s)
}

// NextSerial returns the serial after old. It goes forward by RFC 1982 whatever the
// clock says and whatever policy old came from: where the policy's own value would
// not, it is one more than old. It is never 0, which some servers take for "none".
func NextSerial(p SerialPolicy, old rdata.Serial, now time.Time) rdata.Serial {
	next := old + 1
	switch p {
	case Unixtime:
		if t := rdata.Serial(now.Unix()); old.Less(t) {
			next = t
		}
	case Date:
		y, m, d := now.UTC().Date()
		if t := rdata.Serial(((y*100+int(m))*100 + d) * 100); old.Less(t) {
			next = t
		}
	}
	if next == 0 {
		next = 1
	}
	return next
}
