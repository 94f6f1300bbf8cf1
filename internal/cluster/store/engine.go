package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Timing of raft in a cluster of one: nobody can be late, so a short election
// only makes the start short (measured: 0.1 s to the first write). Each tick wakes
// several goroutines: at 10 ms, that was a third of what a node at rest costs. etcd
// wants an election to last five.
const (
	tickMs     = 20
	electionMs = 100
)

// maxTxnOps is how many objects one commit may change, plus the head key.
// etcd's own default is 128; a file of objects may be larger.
const maxTxnOps = 10_001

// snapshotCount is after how many commits etcd drops what it holds in memory
// and in its log. etcd's default, 10,000, keeps tens of MiB for nothing here.
const snapshotCount = 1000

// engineConfig returns etcd's configuration. It has no listeners: the client is
// in this process, and there are no peers.
func (s *Store) engineConfig() *embed.Config {
	c := embed.NewConfig()
	c.Name = "pharos"
	c.Dir = filepath.Join(s.config.Dir, "etcd")
	c.TickMs, c.ElectionMs = tickMs, electionMs
	c.QuotaBackendBytes = s.config.Quota
	c.MaxTxnOps = maxTxnOps
	c.MaxRequestBytes = maxRequest
	c.SnapshotCount = snapshotCount
	c.AutoCompactionMode = embed.CompactorModeRevision
	c.AutoCompactionRetention = strconv.Itoa(s.config.History)
	c.ListenClientUrls, c.ListenPeerUrls = nil, nil
	// A member must be called something. Nothing listens there.
	self := url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	c.AdvertiseClientUrls, c.AdvertisePeerUrls = []url.URL{self}, []url.URL{self}
	c.InitialCluster = c.Name + "=" + self.String()
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(&slogCore{log: s.config.Log, life: s.life},
		zap.WithFatalHook(fatalHook{s}), zap.WithPanicHook(fatalHook{s})))
	return c
}

// fatalHook stands where etcd would end the process: at a full disk, a damaged
// log. The store fails, its goroutine ends, and the node goes on serving.
type fatalHook struct{ store *Store }

func (h fatalHook) OnWrite(entry *zapcore.CheckedEntry, fields []zapcore.Field) {
	text := entry.Message
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok {
			text += ": " + err.Error()
		}
	}
	h.store.fail(fmt.Errorf("%s", text))
	runtime.Goexit()
}

// slogCore writes etcd's log lines of level warning and above to ours; once the
// store is being closed only errors: that etcd's parts then miss each other is
// nothing that an operator could act on.
type slogCore struct {
	log    *slog.Logger
	life   context.Context // of the store
	fields []zapcore.Field
}

// noise are warnings of etcd about how it is embedded here, which is on purpose,
// and about a store that is new: it has no version until its first commit is
// applied.
var noise = []string{
	"Running http and grpc server on single port. This is not recommended for production.",
	"simple token is not cryptographically signed",
	"Failed to detect schema version",
	"failed to update storage version",
}

// pendingNoise is part of a warning of every new store whose first campaign is
// due before its own membership is applied: it campaigns again a moment later.
const pendingNoise = "since there are still pending configuration changes to apply"

func isNoise(message string) bool {
	return slices.Contains(noise, message) || strings.Contains(message, pendingNoise)
}

func (c *slogCore) Enabled(l zapcore.Level) bool {
	if errors.Is(context.Cause(c.life), ErrClosed) {
		return l >= zapcore.ErrorLevel
	}
	return l >= zapcore.WarnLevel
}

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{log: c.log, life: c.life, fields: slices.Concat(c.fields, fields)}
}

func (c *slogCore) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(entry.Level) && !isNoise(entry.Message) {
		return checked.AddCore(entry, c)
	}
	return checked
}

func (c *slogCore) Write(entry zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(c.fields, fields) {
		f.AddTo(encoder)
	}
	var args []any
	for key, value := range encoder.Fields {
		args = append(args, slog.Any(key, value))
	}
	if entry.Level >= zapcore.ErrorLevel {
		c.log.Error("etcd reports an error", "text", entry.Message, slog.Group("etcd", args...))
	} else {
		c.log.Warn("etcd reports a warning", "text", entry.Message, slog.Group("etcd", args...))
	}
	return nil
}

func (c *slogCore) Sync() error { return nil }
