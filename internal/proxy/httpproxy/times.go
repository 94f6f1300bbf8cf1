package httpproxy

import "time"

// times are how long parts of an exchange took.
type times struct {
	total time.Duration // from the first octet of the request to the end of the response
}
