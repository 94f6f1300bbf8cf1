//go:build !linux

package hugepages

func collapse([]byte) {}
