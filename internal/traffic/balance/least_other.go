//go:build !amd64

package balance

import "pharos/internal/traffic/pool"

func lowestWord(w *pool.Block, chance uint32) uint32 { return lowestPlain(w, chance) }
