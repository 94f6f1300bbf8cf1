package warmstart

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/rrcache"
)

// forgotten is the file of what was flushed since the cache was last saved, one JSON
// object a line. Its octets are handed to the system before a flush is acknowledged: they
// outlive the process, and not always the machine.
type forgotten struct {
	path string // constant

	mu   sync.Mutex // guards all below
	all  []flush
	file *os.File // nil: not open
}

// flush is one line.
type flush struct {
	Time time.Time    `json:"time"`
	Name dnsname.Name `json:"name"`
	Tree bool         `json:"tree,omitempty"`
	Type rdata.Type   `json:"type,omitempty"`
}

// mostForgotten is how many flushes are noted: 10,000. Beyond that the saved cache is
// dropped, which costs a warm start, and only if the process ends before the next save.
const mostForgotten = 10000

var errTooMany = errors.New("too many flushes since the cache was saved")

func openForgotten(path string) *forgotten {
	f := &forgotten{path: path}
	file, err := os.Open(path)
	if err != nil {
		return f
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan() && len(f.all) < mostForgotten; {
		var line flush
		if json.Unmarshal(lines.Bytes(), &line) == nil && !line.Name.IsZero() {
			f.all = append(f.all, line)
		}
	}
	return f
}

// list returns what is noted.
func (f *forgotten) list() []flush {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.all)
}

// since returns what was flushed after t.
func since(all []flush, t time.Time) (out []rrcache.Selection) {
	for _, line := range all {
		if !line.Time.Before(t) {
			out = append(out, rrcache.Selection{Name: line.Name, Tree: line.Tree, Type: line.Type})
		}
	}
	return out
}

func (f *forgotten) add(now time.Time, s rrcache.Selection) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) >= mostForgotten {
		return errTooMany
	}
	line := flush{now, s.Name.Clone(), s.Tree, s.Type}
	text, err := json.Marshal(line)
	if err == nil && f.file == nil {
		f.file, err = os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	}
	if err == nil {
		_, err = f.file.Write(append(text, '\n'))
	}
	if err == nil {
		f.all = append(f.all, line)
	}
	return err
}

// endBefore drops what a file that was begun at t does not have any more.
func (f *forgotten) endBefore(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	kept := slices.DeleteFunc(slices.Clone(f.all), func(line flush) bool { return line.Time.Before(t) })
	if len(kept) == len(f.all) {
		return nil
	}
	var text []byte
	for _, line := range kept {
		one, err := json.Marshal(line)
		if err != nil {
			return err
		}
		text = append(append(text, one...), '\n')
	}
	f.closeFile()
	if err := diskfile.Replace(f.path, text); err != nil {
		return err
	}
	f.all = kept
	return nil
}

func (f *forgotten) closeFile() {
	if f.file != nil {
		f.file.Close()
		f.file = nil
	}
}

func (f *forgotten) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closeFile()
}
