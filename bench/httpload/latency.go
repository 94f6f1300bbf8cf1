package httpload

import (
	"math/bits"
	"time"
)

// Latency is a distribution of times. Each power of two of nanoseconds has 32
// buckets, so that a quantile is right to 3 %.
type Latency struct {
	buckets [bucketCount]uint32
	n       int
}

const (
	stepBits    = 5
	steps       = 1 << stepBits
	bucketCount = (64 - stepBits) * steps
)

func bucket(ns int64) int {
	if ns < steps {
		return int(max(ns, 0))
	}
	shift := bits.Len64(uint64(ns)) - stepBits - 1
	return shift<<stepBits + int(ns>>shift)
}

// lowest returns the shortest time in a bucket.
func lowest(i int) time.Duration {
	if i < 2*steps {
		return time.Duration(i)
	}
	shift := i>>stepBits - 1
	return time.Duration(int64(i&(steps-1)|steps) << shift)
}

func (l *Latency) add(ns int64) {
	l.buckets[bucket(ns)]++
	l.n++
}

// Quantile returns the time that the given part of all stayed below.
func (l *Latency) Quantile(q float64) time.Duration {
	rank := int(q * float64(l.n))
	for i, count := range l.buckets {
		if rank -= int(count); rank < 0 {
			return lowest(i)
		}
	}
	return 0
}
