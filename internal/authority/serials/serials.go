// Package serials remembers over a restart which serial of each zone was served last,
// and which version was refused, so that the first version after a start can be held
// against the last before it.
//
// It owns one file. It does not own what follows from it: that is the gate's and the
// node's.
//
//	file    frames (package journal), each of the entries of up to a second
//	entry   length of the name u8 | name | serial u32 | refused serial u32 | length u16 | why it was refused
//
// Without a reason, the refused serial is Known.Accepted.
//
// What is noted is on disk at most interval later, all zones in one write. After a kill
// in between the last second is not known: see Last.
//
// Entry points: Open, Memory.Note, Memory.Accept, Memory.Refuse, Memory.Last, Memory.Close.
//
// Concurrency: all methods may be called from anywhere. One goroutine writes; Close ends it.
package serials

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pharos/internal/authority/journal"
	"pharos/internal/diskfile"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
)

// Limits.
const (
	// interval is how often what was noted is written: a second of changes is little to
	// go by a margin for, and a write each second is nothing to a disk.
	interval = time.Second
	// Margin is by how much more than the last known a serial may have been served before
	// a kill: twice what the ledger was measured to make durable in interval.
	Margin = 20_000
	// maxReason bounds why a version was refused, in octets.
	maxReason = 500
	// slack is how much larger than what it says the file may be before it is written
	// anew, beside as much again: so it is rarely.
	slack = 1 << 20
	// maxFile bounds what is read: ten million zones.
	maxFile = 1 << 30
)

// Known is what is remembered of a zone.
type Known struct {
	Serial  rdata.Serial // served last
	Refused rdata.Serial // of the version that was refused last, if Reason is not empty
	Reason  string
	// Accepted, if it is not 0, says that the version served last was refused until an
	// operator accepted it: a sum of its records, for its serial may be that of others.
	Accepted uint32

	isOld bool // of the process before
}

// Memory is the file and what it says.
type Memory struct {
	// Constant after Open.
	path string
	log  *slog.Logger
	done chan struct{} // closed when the writer has ended
	end  chan struct{} // closed by Close
	once sync.Once

	mu      sync.Mutex // guards what follows
	known   map[dnsname.Name]Known
	clean   bool // the process before has written all
	waiting map[dnsname.Name]bool
	wake    chan struct{} // one is there while something waits

	// Owned by the writer.
	salt uint32
	size int64 // of the file
	file *os.File
}

const headerSize = 12 // "PHSERIAL" and the salt of the frames

// Open reads the file, and begins to write. A file that cannot be read is begun anew, and
// said in the log: then nothing is known of what was served.
func Open(path string, log *slog.Logger) *Memory {
	m := &Memory{
		path: path, log: log, done: make(chan struct{}), end: make(chan struct{}), wake: make(chan struct{}, 1),
		known: map[dnsname.Name]Known{}, waiting: map[dnsname.Name]bool{},
	}
	if err := m.read(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("which serials were served before cannot be read; the first versions are taken as they are", "file", path, "error", err)
	}
	go m.write() // ends with Close
	return m
}

// Close writes what waits; twice does no harm.
func (m *Memory) Close() {
	m.once.Do(func() { close(m.end) })
	<-m.done
}

// Last returns what was known of a zone when the process began, until it is noted again.
// exact reports whether all was written then; else as many as Margin more versions may
// have been served.
func (m *Memory) Last(name dnsname.Name) (k Known, exact, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, ok = m.known[name]
	ok, k.isOld = ok && k.isOld, false
	return k, m.clean, ok
}

// Note says that a version is served.
func (m *Memory) Note(name dnsname.Name, serial rdata.Serial) {
	m.set(name, func(k *Known) { *k = Known{Serial: serial} })
}

// Accept says that a version with a sum, which is not 0, is served that was refused,
// because an operator wants it.
func (m *Memory) Accept(name dnsname.Name, serial rdata.Serial, sum uint32) {
	m.set(name, func(k *Known) { *k = Known{Serial: serial, Accepted: sum} })
}

// Refuse says that a version is not served, and why.
func (m *Memory) Refuse(name dnsname.Name, serial rdata.Serial, reason string) {
	m.set(name, func(k *Known) { k.Refused, k.Reason = serial, reason[:min(len(reason), maxReason)] })
}

func (m *Memory) set(name dnsname.Name, change func(*Known)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	k, known := m.known[name]
	k.isOld = false
	was := k
	change(&k)
	if !known {
		name = name.Clone()
	}
	m.known[name] = k
	if known && k == was {
		return
	}
	m.waiting[name] = true
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Memory) read() error {
	stat, err := os.Stat(m.path)
	if err != nil {
		return err
	}
	if stat.Size() > maxFile {
		return fmt.Errorf("it is larger than %d octets", maxFile)
	}
	text, err := os.ReadFile(m.path)
	if err != nil {
		return err
	}
	known, clean, err := decode(text)
	if err == nil {
		m.known, m.clean = known, clean
	}
	return err
}

// decode reads a file. Frames that are damaged are passed over: others speak for their
// zones. clean reports whether the last frame says that all was written.
func decode(text []byte) (known map[dnsname.Name]Known, clean bool, err error) {
	if len(text) < headerSize || string(text[:8]) != magic {
		return nil, false, errors.New("it is no file of serials")
	}
	known = map[dnsname.Name]Known{}
	frames := journal.ScanFrames(text[headerSize:], binary.BigEndian.Uint32(text[8:]))
	for _, b := range frames.Payloads {
		clean = len(b) == 0
		for len(b) > 0 {
			name, k, size, err := parse(b)
			if err != nil {
				return nil, false, err
			}
			known[name] = k
			b = b[size:]
		}
	}
	return known, clean && frames.Tail.From == frames.Tail.To, nil
}

const magic = "PHSERIAL"

var errEntry = errors.New("an entry is cut off")

func parse(b []byte) (name dnsname.Name, k Known, size int, err error) {
	length := 1 + int(b[0])
	if len(b) < length+10 {
		return name, k, 0, errEntry
	}
	name, used, err := dnsname.FromWire(b[1:length])
	if err != nil || used != length-1 {
		return name, k, 0, errEntry
	}
	k.Serial, k.Refused = rdata.Serial(binary.BigEndian.Uint32(b[length:])), rdata.Serial(binary.BigEndian.Uint32(b[length+4:]))
	reason := int(binary.BigEndian.Uint16(b[length+8:]))
	if size = length + 10 + reason; len(b) < size {
		return name, k, 0, errEntry
	}
	k.Reason, k.isOld = string(b[length+10:size]), true
	if reason == 0 {
		k.Accepted, k.Refused = uint32(k.Refused), 0
	}
	return name.Clone(), k, size, nil
}

func appendEntry(b []byte, name dnsname.Name, k Known) []byte {
	b = append(b, byte(name.Len()))
	b = name.AppendWire(b)
	if k.Reason == "" {
		k.Refused = rdata.Serial(k.Accepted)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(k.Serial))
	b = binary.BigEndian.AppendUint32(b, uint32(k.Refused))
	b = binary.BigEndian.AppendUint16(b, uint16(len(k.Reason)))
	return append(b, k.Reason...)
}

// write writes what is noted, until Close.
func (m *Memory) write() {
	defer close(m.done)
	for {
		select {
		case <-m.wake:
		case <-m.end:
			m.flush(true)
			if m.file != nil {
				m.file.Close()
			}
			return
		}
		m.flush(false)
		select { // others wait for the next write together
		case <-time.After(interval):
		case <-m.end:
		}
	}
}

// flush puts what waits on disk.
func (m *Memory) flush(last bool) {
	m.mu.Lock()
	entries, all := []byte(nil), []byte(nil)
	for name := range m.waiting {
		entries = appendEntry(entries, name, m.known[name])
	}
	clear(m.waiting)
	if count := int64(len(m.known)); m.file == nil && (len(entries) > 0 || m.size == 0 && count > 0) || m.size > slack+count*200 {
		for name, k := range m.known {
			all = appendEntry(all, name, k)
		}
	}
	m.mu.Unlock()
	if len(entries) == 0 && all == nil && (!last || m.file == nil) {
		return
	}
	if err := m.put(entries, all, last); err != nil {
		m.log.Warn("which serials are served cannot be written; after a restart it is not known", "file", m.path, "error", err)
	}
}

// put appends entries, or begins the file anew with all.
func (m *Memory) put(entries, all []byte, last bool) error {
	if all != nil {
		if err := m.begin(all); err != nil {
			return err
		}
		entries = nil
	}
	b := frames(m.salt, entries)
	if last {
		b = journal.AppendFrame(b, m.salt, nil)
	}
	if _, err := m.file.Write(b); err != nil {
		m.file.Close()
		m.file = nil // the next begins anew
		return err
	}
	m.size += int64(len(b))
	return m.file.Sync()
}

// begin writes the file anew.
func (m *Memory) begin(all []byte) error {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
	var salt [4]byte
	rand.Read(salt[:]) // never fails
	m.salt = binary.BigEndian.Uint32(salt[:])
	text := append(append([]byte(magic), salt[:]...), frames(m.salt, all)...)
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return err
	}
	if err := diskfile.Replace(m.path, text); err != nil {
		return err
	}
	file, err := os.OpenFile(m.path, os.O_WRONLY|os.O_APPEND, 0o600)
	m.file, m.size = file, int64(len(text))
	return err
}

// frames puts entries into frames, each no larger than may be.
func frames(salt uint32, entries []byte) (b []byte) {
	for len(entries) > 0 {
		end := 0
		for end < len(entries) {
			_, _, size, err := parse(entries[end:])
			if err != nil {
				panic("BUG: an entry of ours: " + err.Error())
			}
			if end+size > journal.MaxFrame {
				break
			}
			end += size
		}
		b = journal.AppendFrame(b, salt, entries[:end])
		entries = entries[end:]
	}
	return b
}
