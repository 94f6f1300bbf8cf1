// Package accesslog opens what the gateway's access log is written to, as it is configured:
// a file that rotates, standard output, or a log daemon.
//
// It owns neither the lines (package logline) nor files (logfile) nor messages (syslog).
//
// Entry point: Open.
//
// Concurrency: what Open returns is constant; what is in it may be used from anywhere.
package accesslog

import (
	"fmt"
	"io"
	"time"

	"pharos/internal/admin/config"
	"pharos/internal/admin/logfile"
	"pharos/internal/admin/syslog"
	"pharos/internal/proxy/logline"
)

// Log is where lines go, and how they look.
type Log struct {
	To     io.Writer       // nil: nowhere
	File   *logfile.File   // nil: To is no file
	Format *logline.Format // constant
	Every  int             // of how many requests one leaves a line
}

// Open opens the log that g wants. The error names the key.
func Open(g *config.Gateway, stdout io.Writer) (l Log, err error) {
	a := &g.AccessLines
	l.Every = a.Every
	if l.Format, err = logline.Parse(a.Form()); err != nil {
		return l, fmt.Errorf("gateway.accessLines: %w", err)
	}
	if g.AccessLog == "syslog" {
		if l.To, err = syslog.Open(a.Syslog.Config("access")); err != nil {
			return l, fmt.Errorf("gateway.accessLines.syslog: %w", err)
		}
		return l, nil
	}
	if l.To, l.File, err = logfile.OpenNamed(g.AccessLog, stdout); err != nil {
		return l, fmt.Errorf("gateway.accessLog: %w", err)
	}
	if l.File != nil {
		err = l.File.Rotate(logfile.Rotation{Size: int64(a.Rotate.Size), Age: time.Duration(a.Rotate.Age), Keep: a.Rotate.Keep})
	}
	return l, err
}
