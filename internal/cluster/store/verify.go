package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"go.etcd.io/bbolt"
	boltErrors "go.etcd.io/bbolt/errors"
)

// maxVerify is the largest database whose every page is looked at before etcd
// opens it, which takes about a second for it. Of larger ones only the length
// is checked.
const maxVerify = 512 << 20

// errDamaged is what is wrong with a database that etcd must not see.
var errDamaged = errors.New("the database is damaged")

// verify looks for damage in the database of the store in dir. etcd maps the
// file into memory and reads it from many goroutines: a page that is missing or
// makes no sense would end the process there, where nobody can catch it.
func verify(dir string) (err error) {
	name := filepath.Join(dir, "etcd", "member", "snap", "db")
	stat, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store
	}
	if err != nil {
		return err
	}
	// A page beyond the end of the file is a fault; here it becomes a panic.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errDamaged, cause)
		}
	}()
	db, err := bbolt.Open(name, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if errors.Is(err, boltErrors.ErrTimeout) {
		return &dirError{dir, "start pharos again, or stop what else has it open", errors.New("the database is locked")}
	}
	if err != nil {
		return fmt.Errorf("%w: %v", errDamaged, err)
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		if tx.Size() > stat.Size() {
			return fmt.Errorf("%w: it has %d octets of %d", errDamaged, stat.Size(), tx.Size())
		}
		if stat.Size() > maxVerify {
			return nil
		}
		return walk(tx)
	})
}

// walk reads every key and value of the database, in this goroutine. (bbolt's
// own check panics in another one, where it cannot be caught.)
func walk(tx *bbolt.Tx) error {
	var last byte // reading the last octet is what may fault
	visit := func(key, value []byte) error {
		for _, b := range [][]byte{key, value} {
			if len(b) > 0 {
				last ^= b[len(b)-1]
			}
		}
		return nil
	}
	err := tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
		visit(name, nil)
		return b.ForEach(visit)
	})
	runtime.KeepAlive(last)
	return err
}
