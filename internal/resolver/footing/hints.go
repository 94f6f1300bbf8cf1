package footing

import (
	"fmt"
	"reflect"
	"sync/atomic"

	"pharos/internal/dns/rdata"
)

// Hints is a File of hints with those that count: the built-in ones without a file, and
// nothing if no version of it could ever be read. Who has a root of his own does not want
// its names asked for at another.
type Hints struct {
	File
	BuiltIn []rdata.Record // constant

	now atomic.Pointer[[]rdata.Record]
}

// Follow is File.Follow; problem says what the matter is, to an operator.
func (h *Hints) Follow(path string) (changed bool, problem string) {
	h.File.Follow(path)
	was := h.Now()
	next := was
	if path == "" {
		next = h.BuiltIn
	} else if read := h.Records(); len(read) > 0 {
		next = read
	}
	h.now.Store(&next)
	switch err := h.Unread(); {
	case err != nil && len(next) > 0:
		problem = fmt.Sprintf("%v; those that counted before do so until the file is mended, which is noticed", err)
	case err != nil:
		problem = fmt.Sprintf("%v; until the file is mended, which is noticed, only zones of ours and of resolver.routes resolve", err)
	}
	return !reflect.DeepEqual(next, was), problem
}

// Unread returns why the file cannot be read; nil if it can.
func (h *Hints) Unread() error {
	if err := h.Problem(); err != nil {
		return fmt.Errorf("resolver.rootHints: %w", err)
	}
	return nil
}

// Now returns the hints that count. Any goroutine may call it.
func (h *Hints) Now() []rdata.Record {
	if now := h.now.Load(); now != nil {
		return *now
	}
	return nil
}

// Anchors is a File of trust anchors, beside which there may be others in a configuration.
type Anchors struct {
	File
	last string
}

// Begin returns the anchors to begin with: those of the file at path, or those given if
// there is no path; or why they are not known. changed: it says something else than before.
func (a *Anchors) Begin(path string, given []rdata.Record) (anchors []rdata.Record, changed bool, err error) {
	if a.Follow(path); path != "" {
		if given, err = a.Records(), a.Problem(); err != nil {
			err = fmt.Errorf("resolver.trust.file: %w", err)
		}
	}
	now := fmt.Sprint(given, err)
	changed, a.last = now != a.last, now
	return given, changed, err
}
