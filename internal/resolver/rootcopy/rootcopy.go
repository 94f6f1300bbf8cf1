// Package rootcopy keeps a copy of the root zone for the resolvers (RFC 8806): from
// primaries that it is transferred from, or from a file.
//
//	primaries ──► xfr.Secondaries ──┐
//	file ──► masterfile.Watched ────┴──► localroot.Copy ──► Answer
//
// It owns where versions come from, and says what is wrong with them. Whether one may be
// believed, and until when, is package localroot's.
//
// Entry points: Open, Follower.Start, Reread, Answer, State, Close.
//
// Concurrency: all methods may be called by many goroutines, but for Close, which is called
// once.
//
// Sources: RFC 8806.
package rootcopy

import (
	"cmp"
	"log/slog"
	"time"

	"pharos/internal/authority/masterfile"
	"pharos/internal/authority/xfr"
	"pharos/internal/authority/zone"
	"pharos/internal/clock"
	"pharos/internal/dns/dnsname"
	"pharos/internal/dns/rdata"
	"pharos/internal/resolver/localroot"
)

// Config is where the copy comes from: one of Transferred and File, or neither.
type Config struct {
	Transferred bool
	Folder      string // where transferred versions are kept
	Limits      xfr.Limits
	File        string // a master file
	Anchors     func() []rdata.Record
	Problem     func(text string) // nothing: there is none
	Log         *slog.Logger
}

// Follower is the copy there is, with what brings new versions.
type Follower struct {
	config Config
	copy   localroot.Copy
	source *xfr.Secondaries // nil: it is not transferred
	file   masterfile.Watched
}

// State is how the copy is.
type State struct {
	localroot.State
	Confirmed, Expires time.Time // by the primaries; zero for a file
}

// Open takes the copy from disk, if there is to be one. Nobody is asked before Start.
func Open(c Config) *Follower {
	f := &Follower{config: c}
	f.file.Origin, f.file.Path = dnsname.Root, c.File
	if c.File != "" {
		f.Reread()
	}
	if c.Transferred {
		f.source = xfr.New(xfr.Config{
			Folder: c.Folder, Turns: xfr.NewTurns(1, 1), Log: c.Log, Limits: c.Limits,
			Publish: func(dnsname.Name) { f.take() }, Trouble: func(dnsname.Name) { f.tell() },
		})
		f.take()
	}
	return f
}

// Start begins to keep the copy up to date, from primaries.
func (f *Follower) Start(primaries []xfr.Peer) {
	if f.source != nil {
		f.source.Set([]xfr.Zone{{Name: dnsname.Root, Primaries: primaries}})
	}
}

// Close ends what talks to primaries.
func (f *Follower) Close() {
	if f.source != nil {
		f.source.Close()
	}
}

// IsSet reports whether there is to be a copy.
func (f *Follower) IsSet() bool { return f != nil && (f.source != nil || f.file.Path != "") }

// HasChanged reports whether there is a file that is another one than was read.
func (f *Follower) HasChanged() bool { return f != nil && f.file.HasChanged() }

// Reread takes the copy from its file.
func (f *Follower) Reread() {
	if z := f.file.Read(); z != nil {
		f.give(z)
	}
	f.tell()
}

// Answer answers a query from the copy; nil if there is none that may be used.
func (f *Follower) Answer(now time.Time, query []byte, tcp bool) []byte {
	return f.copy.Answer(now, query, tcp)
}

// take looks at the version that has come, or that is gone.
func (f *Follower) take() {
	z := f.source.Version(dnsname.Root)
	if z == nil {
		f.copy.Drop()
	} else {
		f.give(z)
	}
	f.tell()
}

func (f *Follower) give(z *zone.Zone) {
	if err := f.copy.Take(clock.Now(), z, f.config.Anchors()); err == nil {
		f.config.Log.Info("copy of the root zone is used", "serial", z.Serial())
	}
}

// tell says what is wrong with the copy.
func (f *Follower) tell() {
	text := ""
	if s := f.State(); s.Problem != "" {
		text = s.Problem + "; the root's servers are asked"
		if s.Present {
			text = s.Problem + "; the version before is used until it expires"
		}
	}
	f.config.Problem(text)
}

// State returns how the copy is now.
func (f *Follower) State() State {
	s := State{State: f.copy.State(clock.Now())}
	if f.source == nil {
		s.Problem = cmp.Or(f.file.Problem(), s.Problem)
		return s
	}
	st, _ := f.source.State(dnsname.Root)
	s.Confirmed, s.Expires = st.Confirmed, st.Expires
	if s.Problem == "" && st.Problem != "" && st.Failures > 0 {
		s.Problem = "the root zone cannot be transferred: " + st.Problem
	}
	return s
}
