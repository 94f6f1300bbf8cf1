//go:build !unix

package offheap

import "errors"

func newSlab(int) ([]byte, error) { return nil, errors.ErrUnsupported }
func unmap([]byte)                {}
func discard([]byte)              {}
