package httpproxy

// This file bounds retries. When all members of a pool fail, each request that is tried again
// makes it worse: with three tries a pool that can do no more has three times as much to do. So
// only a part of the requests in flight may be retries at a time, by pool.

// leastRetries is how many retries a pool may have at once whatever its requests are: with few
// requests a part of them would be none.
const leastRetries = 10

// mayRetry reports whether the request may be sent to another member, and counts it as one
// that is.
func (x *exchange) mayRetry(percent int) bool {
	if x.retrying != nil {
		return true // it is counted already
	}
	load := x.choice.load
	under := load.Retrying.Add(1)
	if b := x.table.BreakerOf(x.index); b != nil && b.Rules().Retries > 0 && under > int64(b.Rules().Retries) {
		load.Retrying.Add(-1)
		x.counters.Unretried.Add(1)
		return false
	}
	if under > leastRetries && under*100 > load.Active()*int64(percent) {
		load.Retrying.Add(-1)
		x.counters.Unretried.Add(1)
		return false
	}
	x.retrying = load
	return true
}

// endRetries gives back what mayRetry has taken.
func (x *exchange) endRetries() {
	if x.retrying != nil {
		x.retrying.Retrying.Add(-1)
		x.retrying = nil
	}
}
