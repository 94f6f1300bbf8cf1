// Command pharos is the whole program; see "pharos --help".
//
// It only joins the command line with what the commands start. Everything it
// does is in package cli, and in package node for a running node.
package main

import (
	"os"

	"pharos/internal/admin/cli"
	"pharos/internal/node"
	"pharos/lab/demo"
)

// programs are what the commands start.
var programs = cli.Programs{
	Serve: node.Serve,
	Stub:  node.ServeStub,
	Check: node.Check,
	Rules: node.Rules,
	Lab:   demo.Run,

	Resolver:  node.Resolver,
	ExportKey: node.ExportKey,
}

func main() {
	os.Exit(cli.Run(os.Args[1:], os.Stdout, os.Stderr, programs))
}
