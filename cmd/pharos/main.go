// Command pharos is the whole program; see "pharos --help".
//
// It only joins the command line with what the commands start. Everything it
// does is in package cli, and in package node for a running node.
package main

import (
	"context"
	"os"
	"time"
	_ "time/tzdata" // schedules name time zones, and not every machine has them

	"pharos/internal/admin/cli"
	"pharos/internal/admin/routedesk"
	"pharos/internal/node"
	"pharos/lab/demo"
)

// programs are what the commands start.
var programs = cli.Programs{
	Serve: node.Serve,
	Stub:  node.ServeStub,
	Check: node.Check,
	Rules: node.Rules,
	Lab:   lab(),

	Resolver:  func(config string) (cli.Asker, error) { return node.Resolver(config) },
	ExportKey: node.ExportKey,
	TestRoute: routedesk.Test,
}

func main() {
	os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr, programs))
}

// lab is what "pharos lab" can show.
func lab() cli.Lab {
	l := cli.Lab{Origin: func(ctx context.Context, listen, name string, takes time.Duration, workers int) error {
		return demo.ServeOrigin(ctx, demo.Server{Listen: listen, Name: name, Takes: takes, Workers: workers})
	}}
	for _, t := range demo.Tours() {
		l.Tours = append(l.Tours, cli.Tour{Name: t.Name, Short: t.Short, Run: t.Run})
	}
	return l
}
