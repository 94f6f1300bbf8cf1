package ledger

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// memDisk is a disk in memory that knows what of it is durable, fails when told to,
// and can lose its power. What is written is durable when its file was synced; that a
// file has a name, when its folder was.
type memDisk struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	dirOps  []dirOp // of names, not in durable yet

	ops     int
	crashAt int                                   // the operation at which everything ends; 0: never
	fault   func(op int, kind, path string) error // an error for one operation
	room    int                                   // octets of all files; 0: any number
	rnd     *rand.Rand
}

type inode struct {
	data    []byte
	synced  []byte
	pending []write // since the last sync
}

// write is one write at an offset, or, without data, a change of the size to it.
type write struct {
	at   int64
	data []byte
}

func (w write) apply(b []byte) []byte {
	if w.data == nil {
		for int64(len(b)) < w.at {
			b = append(b, 0)
		}
		return b[:w.at]
	}
	for int64(len(b)) < w.at+int64(len(w.data)) {
		b = append(b, 0)
	}
	copy(b[w.at:], w.data)
	return b
}

// dirOp is that a name became another file, or none.
type dirOp struct {
	path string
	node *inode
}

var errCrash = errors.New("the power is gone")

func newMemDisk(rnd *rand.Rand) *memDisk {
	return &memDisk{names: map[string]*inode{}, durable: map[string]*inode{}, rnd: rnd}
}

// step counts an operation that changes something, and fails it if it is to fail.
func (d *memDisk) step(kind, path string) error {
	if d.crashAt > 0 && d.ops >= d.crashAt {
		return errCrash
	}
	d.ops++
	if d.ops == d.crashAt {
		return errCrash
	}
	if d.fault != nil {
		return d.fault(d.ops, kind, path)
	}
	return nil
}

func (d *memDisk) set(path string, n *inode) {
	if n == nil {
		delete(d.names, path)
	} else {
		d.names[path] = n
	}
	d.dirOps = append(d.dirOps, dirOp{path, n})
}

func (d *memDisk) used() int {
	sum := 0
	for _, n := range d.names {
		sum += len(n.data)
	}
	return sum
}

func (d *memDisk) Open(path string, flag int) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[path]
	if n == nil {
		if flag&os.O_CREATE == 0 {
			return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
		}
		if err := d.step("create", path); err != nil {
			return nil, err
		}
		n = &inode{}
		d.set(path, n)
	}
	if flag&os.O_TRUNC != 0 && len(n.data) > 0 {
		if err := d.step("truncate", path); err != nil {
			return nil, err
		}
		n.data = nil
		n.pending = append(n.pending, write{})
	}
	return &memFile{disk: d, node: n, path: path}, nil
}

func (d *memDisk) Rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[from]
	if n == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	if err := d.step("rename", to); err != nil {
		return err
	}
	// A rename is durable as one, so the old name goes with the new one.
	d.names[to] = n
	delete(d.names, from)
	d.dirOps = append(d.dirOps, dirOp{to, n}, dirOp{from, nil})
	return nil
}

func (d *memDisk) Link(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.names[from]
	if n == nil {
		return &fs.PathError{Op: "link", Path: from, Err: fs.ErrNotExist}
	}
	if err := d.step("link", to); err != nil {
		return err
	}
	d.set(to, n)
	return nil
}

func (d *memDisk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.names[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	if err := d.step("remove", path); err != nil {
		return err
	}
	d.set(path, nil)
	return nil
}

func (d *memDisk) SyncFolder(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.step("sync folder", path); err != nil {
		return err
	}
	var left []dirOp
	for _, op := range d.dirOps {
		if filepath.Dir(op.path) != path {
			left = append(left, op)
			continue
		}
		op.apply(d.durable)
	}
	d.dirOps = left
	return nil
}

func (op dirOp) apply(names map[string]*inode) {
	if op.node == nil {
		delete(names, op.path)
	} else {
		names[op.path] = op.node
	}
}

func (d *memDisk) List(folder string) ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var names []string
	for path := range d.names {
		if filepath.Dir(path) == folder {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

// killed returns the disk as the next process finds it when this one was killed: all
// that was written is there.
func (d *memDisk) killed() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	next := newMemDisk(d.rnd)
	for path, n := range d.names {
		data := append([]byte(nil), n.data...)
		node := &inode{data: data, synced: append([]byte(nil), data...)}
		next.names[path], next.durable[path] = node, node
	}
	return next
}

// powerless returns the disk after a loss of power: what is durable is there, and of
// the rest what chance has let reach it, writes of one file in any order.
func (d *memDisk) powerless() *memDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := maps.Clone(d.durable)
	for _, op := range d.dirOps[:d.rnd.IntN(len(d.dirOps)+1)] {
		op.apply(names)
	}
	next := newMemDisk(d.rnd)
	seen := map[*inode]*inode{}
	for path, n := range names {
		node := seen[n]
		if node == nil {
			data := append([]byte(nil), n.synced...)
			for _, w := range n.pending {
				switch d.rnd.IntN(3) {
				case 0:
					data = w.apply(data)
				case 1:
					if len(w.data) > 0 {
						w.data = w.data[:d.rnd.IntN(len(w.data))]
						data = w.apply(data)
					}
				}
			}
			node = &inode{data: data, synced: append([]byte(nil), data...)}
			seen[n] = node
		}
		next.names[path], next.durable[path] = node, node
	}
	return next
}

// damage changes one octet of a file whose name ends in suffix.
func (d *memDisk) damage(suffix string, at func(size int) int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path, n := range d.names {
		if strings.HasSuffix(path, suffix) {
			n.data[at(len(n.data))] ^= 0x55
			return path
		}
	}
	return ""
}

type memFile struct {
	disk *memDisk
	node *inode
	path string
	at   int
}

func (f *memFile) Read(b []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.at >= len(f.node.data) {
		return 0, io.EOF
	}
	n := copy(b, f.node.data[f.at:])
	f.at += n
	return n, nil
}

func (f *memFile) WriteAt(b []byte, at int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	dead := d.crashAt > 0 && d.ops >= d.crashAt
	err := d.step("write", f.path)
	if err == nil && d.room > 0 && d.used()+len(b) > d.room {
		err = syscall.ENOSPC
	}
	if dead {
		return 0, err
	}
	if err != nil { // a part of it is written all the same
		b = b[:d.rnd.IntN(len(b)+1)]
	}
	w := write{at, append([]byte{}, b...)}
	if len(b) > 0 {
		f.node.data = w.apply(f.node.data)
		f.node.pending = append(f.node.pending, w)
	}
	return len(b), err
}

func (f *memFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("truncate", f.path); err != nil {
		return err
	}
	w := write{at: size}
	f.node.data = w.apply(f.node.data)
	f.node.pending = append(f.node.pending, w)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return int64(len(f.node.data)), nil
}

// Sync makes the file durable. After an error what was written counts as clean, and
// is not tried again, be it durable or not: so do Linux file systems.
func (f *memFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step("sync", f.path); err != nil {
		if !errors.Is(err, errCrash) {
			for _, w := range f.node.pending {
				if f.disk.rnd.IntN(2) == 0 {
					f.node.synced = w.apply(f.node.synced)
				}
			}
			f.node.pending = nil
		}
		return err
	}
	for _, w := range f.node.pending {
		f.node.synced = w.apply(f.node.synced)
	}
	f.node.pending = nil
	return nil
}

func (f *memFile) Close() error { return nil }
