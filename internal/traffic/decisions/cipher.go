package decisions

import (
	"encoding/binary"

	"pharos/internal/shortid"
)

// cipher turns numbers of 40 bits into others and back: a Feistel network of six rounds
// over halves of 20 bits. It is to keep ids from being guessed one from the other, and
// protects nothing else.
type cipher struct{ keys [6]uint64 }

const (
	halfBits = shortid.Bits / 2
	halfMask = 1<<halfBits - 1
)

func newCipher(secret [16]byte) (c cipher) {
	a, b := binary.BigEndian.Uint64(secret[:8]), binary.BigEndian.Uint64(secret[8:])
	for i := range c.keys {
		a = mix(a + b + uint64(i))
		c.keys[i] = a
	}
	return c
}

// mix is the finaliser of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

func (c *cipher) encrypt(x uint64) uint64 {
	left, right := x>>halfBits&halfMask, x&halfMask
	for _, k := range c.keys {
		left, right = right, left^mix(right^k)&halfMask
	}
	return left<<halfBits | right
}

func (c *cipher) decrypt(x uint64) uint64 {
	left, right := x>>halfBits&halfMask, x&halfMask
	for i := len(c.keys) - 1; i >= 0; i-- {
		left, right = right^mix(left^c.keys[i])&halfMask, left
	}
	return left<<halfBits | right
}
