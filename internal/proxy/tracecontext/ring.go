package tracecontext

import (
	"time"

	"pharos/internal/proxy/bygone"
)

// RequestOctets is about what a Request takes in memory at most, with all its texts: they are
// cut to fit (Cut).
const RequestOctets = 4 << 10

// mostText is how long one text of a Request is that is kept.
const mostText = 512

// Cut returns text, or its beginning if it is too long to be kept.
func Cut(text []byte) string {
	if len(text) > mostText {
		return string(text[:mostText]) + "..."
	}
	return string(text)
}

// Ring keeps requests that are over.
type Ring = bygone.Ring[Request]

// NewRing returns a Ring of so much memory.
func NewRing(octets int) *Ring {
	return bygone.New(octets, bygone.Kind[Request]{
		Name: "requests", Octets: RequestOctets, Told: func(q *Request) (string, time.Time) { return q.ID, q.Began },
	})
}
