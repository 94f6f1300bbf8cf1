package balance

import "pharos/internal/traffic/pool"

// lowestWord is lowestPlain with the sixteen words of a block in four steps: a pick of the Least policies is little
// else. docs/decisions/0057 says why it is in assembly.
//
//go:noescape
func lowestWord(w *pool.Block, chance uint32) uint32
