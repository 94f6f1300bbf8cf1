package config

import (
	"pharos/internal/admin/syslog"
	"pharos/internal/proxy/logline"
)

// AccessLines are the lines of gateway.accessLog. Nothing waits for them: what cannot be
// written in time is dropped and counted (pharos_http_events_total, log_dropped).
type AccessLines struct {
	// Format is how a line looks: a JSON object; common or combined, as Apache httpd and
	// nginx write them; or as Template has it.
	Format string `json:"format" enum:"json,common,combined,template" default:"json" example:"combined"`
	// Template is a line, with variables such as `{client}`, `{status}` or
	// `{field.User-Agent}`. What a client sent is escaped by where it stands: between
	// double quotes as in a string of JSON but for `\xhh`, elsewhere white space too.
	// What a request does not have is "-". OPERATING.md has all variables.
	Template string `json:"template" default:"" example:"{time} {client} \"{method} {target}\" {status} {seconds}"`
	// Fields are the variables that a JSON object has. None: time, client, method, host,
	// target, version, status, in, out, seconds, id, route, pool, member, tries, reason
	// and agent.
	Fields []string `json:"fields" default:"" max:"100" example:"time, status, firstByte"`
	// Every has one of so many requests leave a line; those that failed (status 500 and
	// above, or never answered) or were tried more than once always do.
	Every int `json:"every" default:"1" min:"1" max:"1000000000" example:"100"`
	// Rotate has a file begin anew by itself. It may be moved away by others all the same.
	Rotate Rotate `json:"rotate"`
	// Syslog is where lines go if accessLog is syslog.
	Syslog Syslog `json:"syslog"`
}

// Rotate has a file begin anew: log becomes log.1, log.1 becomes log.2.
type Rotate struct {
	// Size is how large the file may become. 0: any.
	Size Size `json:"size" default:"0" min:"0" example:"100MiB"`
	// Age is the period that a file is about, in UTC: with 24h a day. 0: any.
	Age Duration `json:"age" default:"0s" min:"0s" max:"8760h" example:"24h"`
	// Keep is how many files are kept beside the one that is written to.
	Keep int `json:"keep" default:"7" min:"0" max:"1000" example:"30"`
}

// Syslog is a log daemon, which gets messages of RFC 5424. It may come and go.
type Syslog struct {
	// Address is where it listens: unix:/dev/log, udp://192.0.2.1:514 or
	// tcp://192.0.2.1:601.
	Address string `json:"address" default:"unix:/dev/log" example:"udp://192.0.2.1:514"`
	// Facility is the kind of program that it takes this for.
	Facility string `json:"facility" enum:"user,daemon,local0,local1,local2,local3,local4,local5,local6,local7" default:"local0" example:"daemon"`
	// App is what it takes this for, by name.
	App string `json:"app" default:"pharos" example:"edge"`
}

// Form returns how lines look.
func (a *AccessLines) Form() logline.Form {
	return logline.Form{Kind: a.Format, Template: a.Template, Fields: a.Fields}
}

// Config returns the log daemon as package syslog knows it; kind is which log goes there.
func (s *Syslog) Config(kind string) syslog.Config {
	return syslog.Config{Address: s.Address, Facility: s.Facility, App: s.App, Kind: kind}
}

func (c *Config) checkAccessLines(to *checker) {
	a := &c.Gateway.AccessLines
	key := map[string]string{"template": ".template", "json": ".fields"}[a.Format]
	if _, err := logline.Parse(a.Form()); err != nil {
		to.fail("gateway.accessLines"+key, err.Error(), "correct it")
	}
	if a.Template != "" && a.Format != "template" {
		to.fail("gateway.accessLines.template", "it is not used, as format is "+a.Format, "set format to template, or remove it")
	}
	if len(a.Fields) > 0 && a.Format != "json" {
		to.fail("gateway.accessLines.fields", "they are not used, as format is "+a.Format, "set format to json, or remove them")
	}
	if _, _, err := syslog.Parse(a.Syslog.Address); err != nil {
		to.fail("gateway.accessLines.syslog.address", err.Error(), "correct it")
	}
}
