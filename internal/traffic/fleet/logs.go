package fleet

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode"
)

// A member writes its log itself: so it goes on when the node is killed, and the node
// need not carry each line. Once a second the node looks, and turns over a log that has
// grown too long: the end of it is copied, and it is cut to nothing, at whose end the
// member goes on (O_APPEND). What it writes just between the two is lost.

// turnLog puts a log aside when it is longer than size, and keeps so many with it.
func turnLog(name string, size int64, files int) {
	info, err := os.Stat(name)
	if err != nil || info.Size() <= size {
		return
	}
	for i := files - 1; i > 1; i-- {
		os.Rename(name+"."+strconv.Itoa(i-1), name+"."+strconv.Itoa(i))
	}
	if files > 1 {
		copyEnd(name, name+".1", size)
	}
	os.Truncate(name, 0)
}

// copyEnd copies the last octets of a file.
func copyEnd(from, to string, size int64) {
	text := readEnd(from, size)
	os.WriteFile(to, text, 0o640)
}

func readEnd(name string, size int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > size {
		f.Seek(-size, io.SeekEnd)
	}
	text, err := io.ReadAll(io.LimitReader(f, size))
	if err != nil {
		return nil
	}
	return text
}

// maxLine is how much of a line is shown, in octets.
const maxLine = 200

// lastLine says what a member has printed last: "; it printed: cannot bind", or nothing.
func lastLine(log string) string {
	text := bytes.TrimSpace(readEnd(log, 4096))
	line := text[bytes.LastIndexByte(text, '\n')+1:]
	if len(line) == 0 {
		return ""
	}
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, string(line[:min(len(line), maxLine)]))
	return fmt.Sprintf("; it printed: %s", printable)
}
