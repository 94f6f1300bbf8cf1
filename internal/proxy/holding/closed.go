package holding

import "syscall"

// HasClosed reports whether there is nothing to read on a connection and never will be. What there
// is to read stays. That somebody has closed who has sent something is not seen: it may wait for
// an answer still.
func HasClosed(raw syscall.RawConn) bool {
	closed := false
	err := raw.Control(func(descriptor uintptr) {
		var octet [1]byte
		n, _, err := syscall.Recvfrom(int(descriptor), octet[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || err == syscall.ECONNRESET
	})
	return closed || err != nil
}
