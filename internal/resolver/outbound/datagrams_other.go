//go:build !linux

package outbound

var newDatagrams = newPortable
