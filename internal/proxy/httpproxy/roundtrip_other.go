//go:build !linux

package httpproxy

// reportRoundTrip does nothing where the kernel cannot be asked.
func (c *client) reportRoundTrip() {}
