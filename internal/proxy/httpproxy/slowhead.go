package httpproxy

import (
	"io"
	"sync"
	"syscall"
)

// A head that has not come whole waits without buffers: what there is of it is kept in as many
// octets as it has, and the 48 KiB (112 with a large head) that a request on its way has are
// others' meanwhile. Who sends half a head, and no more, a thousand times a second, has the gateway
// neither make nor look through the buffers of some ten thousand connections.

// buffers are what an exchange reads into and writes from, but for large ones.
type buffers struct{ in, back, out []byte }

var bufferSets = sync.Pool{New: func() any {
	return &buffers{make([]byte, smallBuffer), make([]byte, smallBuffer), make([]byte, 0, smallBuffer)}
}}

// equip gives x buffers. What x has kept of a head is in them then.
func (x *exchange) equip() {
	if x.small != nil {
		return
	}
	kept := x.in
	x.small = bufferSets.Get().(*buffers)
	x.in, x.back, x.out, x.filled = x.small.in, x.small.back, x.small.out, 0
	if len(kept) >= len(x.in) { // and there is room for more
		x.growIn()
	}
	x.filled = copy(x.in, kept)
}

// lend gives the buffers of x to others, and keeps what has come of a head, which begins at 0.
func (x *exchange) lend() {
	kept := append(make([]byte, 0, x.filled), x.in[:x.filled]...)
	if cap(x.out) == smallBuffer {
		x.small.out = x.out[:0]
	}
	if x.largeIn != nil {
		largeBuffers.Put(x.largeIn)
		x.largeIn = nil
	}
	bufferSets.Put(x.small)
	x.small, x.in, x.back, x.out = nil, kept, nil, nil
}

// fillHead reads more of a head. x has its buffers when it returns.
func (c *client) fillHead(x *exchange) error {
	if c.raw == nil || c.descriptor < 0 || x.largeBack != nil {
		return c.wire.fill(x)
	}
	defer x.equip()
	for {
		c.waitErr = nil
		err := c.raw.Read(c.readMore)
		if err == nil {
			return c.waitErr
		}
		if !c.isSpurious(err) {
			return err
		}
	}
}

// readMore is called when more of a head may be there; false asks to be called again when
// there is.
func (c *client) readMore(descriptor uintptr) bool {
	x := c.x
	x.equip()
	n, err := readDescriptor(int(descriptor), x.in[x.filled:])
	switch {
	case err == syscall.EAGAIN:
		x.lend()
		return false
	case err != nil:
		c.waitErr = err
	case n == 0:
		c.waitErr = io.EOF
	}
	x.filled += max(n, 0)
	return true
}
