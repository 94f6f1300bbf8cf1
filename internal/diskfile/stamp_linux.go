package diskfile

import (
	"io/fs"
	"syscall"
)

// identity returns when anything about a file was last changed, and which file it is.
func identity(st fs.FileInfo) (status int64, inode uint64) {
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		return s.Ctim.Nano(), s.Ino
	}
	return 0, 0
}
