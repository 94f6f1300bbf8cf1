package diskfile

import (
	"os"
	"time"
)

// Stamp tells whether a file has changed.
type Stamp struct {
	Path string
	Size int64
	Time time.Time // zero: there was no such file
}

// StampOf returns the stamp that a file has now.
func StampOf(path string) Stamp {
	s := Stamp{Path: path}
	if st, err := os.Stat(path); err == nil {
		s.Size, s.Time = st.Size(), st.ModTime()
	}
	return s
}

// Changed reports whether one of the files has another stamp now. Without any stamp
// nothing is known, which counts as changed.
func Changed(stamps []Stamp) bool {
	for _, s := range stamps {
		if s != StampOf(s.Path) {
			return true
		}
	}
	return len(stamps) == 0
}
