package diskfile

import (
	"os"
	"time"
)

// Stamp tells whether a file has changed, or whether another one has come in its place:
// one of the same size, and even with the same time of change, as tools that copy or
// install files make them.
type Stamp struct {
	Path   string
	Size   int64
	Time   int64  // of the last change of its content, ns since 1970; 0: there was no such file
	Status int64  // of the last change of anything about it, likewise, which nobody can set; 0: not known here
	Inode  uint64 // the file itself, whatever its name; 0: not known here
}

// grain is how coarse the times of files may be: those of Linux before 6.13 go on with
// the kernel's tick, of 100 to 1000 in a second.
const grain = 10 * time.Millisecond

// StampOf returns the stamp that a file has now. A file that has just changed may change
// again within its grain, and nobody could tell by its times: StampOf waits for that to be
// over, so that what is read after it returns is told from all that comes later. File
// systems that count whole seconds (ext3, some of NFS) remain blind for as long.
func StampOf(path string) Stamp {
	s := stampNow(path)
	if age := time.Since(time.Unix(0, max(s.Time, s.Status))); age >= 0 && age < grain {
		<-time.NewTimer(grain - age).C
		s = stampNow(path)
	}
	return s
}

// stampNow is StampOf for what is not about to be read.
func stampNow(path string) Stamp {
	s := Stamp{Path: path}
	if st, err := os.Stat(path); err == nil {
		s.Size, s.Time = st.Size(), st.ModTime().UnixNano()
		s.Status, s.Inode = identity(st)
	}
	return s
}

// Changed reports whether the file has another stamp now.
func (s Stamp) Changed() bool { return s != stampNow(s.Path) }

// Changed reports whether one of the files has another stamp now. Without any stamp
// nothing is known, which counts as changed.
func Changed(stamps []Stamp) bool {
	for _, s := range stamps {
		if s.Changed() {
			return true
		}
	}
	return len(stamps) == 0
}
