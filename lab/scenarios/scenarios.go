// Package scenarios is the project's own resolver dialogues, as files: each
// begins with a comment that cites the sentence it proves, and may say how many
// packets the resolver may send at most ("; at most N packets"). skips.txt lists
// the public scenarios that are not played, with the reasons.
//
// It owns files and their test only; package scenario reads and plays them.
//
// Entry point: Files.
//
// Concurrency: Files is constant.
package scenarios

import "embed"

// Files are the scenarios of this folder.
//
//go:embed *.rpl
var Files embed.FS
