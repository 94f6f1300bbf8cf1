package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// dirError is what is wrong with a store's folder, with the remedy.
type dirError struct {
	dir, remedy string
	cause       error
}

func (e *dirError) Error() string {
	return fmt.Sprintf("store %s: %v; %s", e.dir, e.cause, e.remedy)
}

func (e *dirError) Unwrap() error { return e.cause }

// explainDir adds place and remedy to what went wrong with a store.
func explainDir(dir string, err error) error {
	if known := (*dirError)(nil); errors.As(err, &known) || errors.Is(err, ErrClosed) {
		return err
	}
	var path *fs.PathError
	if errors.As(err, &path) && strings.HasPrefix(path.Path, dir) {
		err = path.Err // the folder is named once
	}
	text := err.Error() // etcd passes some causes on as text only
	has := func(target error) bool { return errors.Is(err, target) || strings.Contains(text, target.Error()) }
	remedy := "restore the folder from a backup, or move it away to begin with an empty store"
	switch {
	case has(syscall.ENOSPC), has(syscall.EDQUOT):
		remedy = "free space on its disk and start again; nothing that was acknowledged is lost"
	case has(syscall.EROFS):
		remedy = "its disk is mounted read-only; mount it for writing, or set data: to another folder"
	case errors.Is(err, fs.ErrPermission), has(syscall.EACCES), has(syscall.EPERM):
		remedy = "give the user that runs pharos the right to read and write it, or set data: to another folder"
	case has(syscall.ENOTDIR), has(syscall.EEXIST):
		remedy = "a file is in its place; remove it, or set data: to another folder"
	case has(syscall.EMFILE), has(syscall.ENFILE):
		remedy = "raise the limit of open files and start again"
	}
	return &dirError{dir, remedy, err}
}

// explain adds the remedy to what went wrong with one commit or read.
func (s *Store) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case s.Err() != nil:
		return s.Err()
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("%w: the store has reached its quota of %d MiB; delete objects, or raise store.quota", ErrRefused, s.config.Quota>>20)
	case errors.Is(err, rpctypes.ErrRequestTooLarge), errors.Is(err, rpctypes.ErrTooManyOps):
		return fmt.Errorf("%w: too much at once: %v; apply the objects in several parts", ErrRefused, err)
	case ctx.Err() != nil, errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, rpctypes.ErrTimeout):
		return fmt.Errorf("store: no answer in time, so it is not known whether the change was made; repeat it, which is safe: %w", err)
	}
	return fmt.Errorf("store: %w", err)
}

// panicError returns the cause of a panic in etcd as an error.
func panicError(cause any) error {
	if err, ok := cause.(error); ok {
		return fmt.Errorf("etcd gave up: %w", err)
	}
	return fmt.Errorf("etcd gave up: %v", cause)
}
