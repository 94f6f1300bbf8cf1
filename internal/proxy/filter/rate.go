package filter

import (
	"fmt"
	"strconv"
	"time"

	"pharos/internal/serve/ratelimit"
)

// Rate bounds how many requests of one key pass in a time: a token bucket for each key.
type Rate struct {
	Key      []string // parts, see compileKey
	Requests int      // that pass in Per
	Per      time.Duration
	Burst    int // that pass at once; 0: Requests
	Accounts int // keys that are kept apart; 0: a default
	DryRun   bool
}

// defaultAccounts is how many keys are kept apart: 8 octets each.
const defaultAccounts = 1 << 16

// rate is a compiled Rate.
type rate struct {
	name    string // for the fields, without quotes
	spec    *Rate
	key     keyer
	buckets *ratelimit.Buckets
	bound   ratelimit.Bound
}

// compile makes a rate; prev is one in the same place of the set before, whose accounts it
// takes over if it has the same key: a reload must not be a reset.
func (r *Rate) compile(set string, prev step) (*rate, error) {
	if r.Requests <= 0 || r.Per <= 0 {
		return nil, fmt.Errorf("rateLimit: want how many requests pass in which time, as in requests: 100, per: 1m")
	}
	burst := r.Burst
	if burst <= 0 {
		burst = r.Requests
	}
	out := &rate{name: set, spec: r}
	var err error
	if out.key, err = compileKey(r.Key); err != nil {
		return nil, fmt.Errorf("rateLimit: %w", err)
	}
	if out.bound, err = ratelimit.BoundOf(r.Requests, r.Per, burst); err != nil {
		return nil, fmt.Errorf("rateLimit: %w", err)
	}
	accounts := r.Accounts
	if accounts <= 0 {
		accounts = defaultAccounts
	}
	if old, is := prev.(*rate); is && sameKey(old.spec.Key, r.Key) && old.spec.Accounts == r.Accounts {
		out.key, out.buckets = old.key, old.buckets
	} else {
		out.buckets = ratelimit.NewBuckets(accounts)
	}
	return out, nil
}

func sameKey(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// standing is what an account has left, for the fields of the response.
type standing struct {
	of    *rate
	left  int
	reset time.Duration // until all is left
}

// maxStandings is how many rates a response tells of.
const maxStandings = 4

func (r *rate) decide(p *Pass) Verdict {
	key := r.key.of(p)
	var t ratelimit.Taken
	if p.explains {
		t = r.buckets.Look(p.Now, key, r.bound)
		p.note("%d of %d requests are left for its key", t.Left, r.bound.Burst())
	} else {
		t = r.buckets.Take(p.Now, key, r.bound)
	}
	if p.standing < maxStandings {
		p.standings[p.standing] = standing{r, t.Left, t.Full}
		p.standing++
	}
	switch {
	case t.OK:
		return Verdict{}
	case r.spec.DryRun:
		p.spares = true
		p.note("would be refused with 429, but for the dry run")
		return Verdict{}
	}
	return Verdict{Status: 429, Kind: "http_request_denied", Text: "too many requests", After: seconds(t.Wait)}
}

// seconds rounds up, so that who waits so long does not come too early.
func seconds(d time.Duration) int { return max(int((d+time.Second-1)/time.Second), 1) }

// appendFields appends what is left (draft-ietf-httpapi-ratelimit-headers-10).
func (r *rate) appendFields(b []byte, p *Pass) []byte {
	for i := range p.standings[:p.standing] {
		s := &p.standings[i]
		if s.of != r || r.spec.DryRun {
			continue
		}
		b = append(append(append(b, `RateLimit-Policy: "`...), r.name...), `";q=`...)
		b = append(strconv.AppendInt(b, int64(r.spec.Requests), 10), ";w="...)
		b = strconv.AppendInt(b, int64(seconds(r.spec.Per)), 10)
		b = append(append(append(b, "\r\nRateLimit: \""...), r.name...), `";r=`...)
		b = append(strconv.AppendInt(b, int64(s.left), 10), ";t="...)
		b = append(strconv.AppendInt(b, int64(seconds(s.reset)), 10), '\r', '\n')
	}
	return b
}
