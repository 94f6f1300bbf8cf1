//go:build !linux

package ledger

import "os"

// syncOctets makes what was written durable.
func syncOctets(f *os.File) error { return f.Sync() }
