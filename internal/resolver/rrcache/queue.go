package rrcache

// This file is which items of the record level make room for new ones: S3-FIFO
// (Yang et al., SOSP 2023).
//
//	new ──► probation ──► not used: out, remembered as a ghost
//	        (a tenth)  └► used: main ──► not used since: out
//	a ghost is asked for again ──► main  └► used: round again, up to 3 times
//
// What is asked for once, as by a flood of random names, passes through probation
// and drives nothing out of main. A queue is a row of chunks: items are written at
// the end of its last one, and room is made by going through its first one.

// probationPart is which part of the chunks is for new items: a tenth, from the paper.
const probationPart = 10

type queue struct{ chunks []int } // from the oldest to the one that is written to

// room returns a place for an item of some octets at the end of q.
func (s *shard) room(q *queue, size int, now instant) place {
	if !s.fits(q, size) {
		s.makeRoom(now)
	}
	return s.extend(q, size)
}

// fits reports whether the last chunk of q has room for an item.
func (s *shard) fits(q *queue, size int) bool {
	return len(q.chunks) > 0 && s.chunks[q.chunks[len(q.chunks)-1]].fill+size <= s.chunkSize
}

// extend returns a place at the end of q, in a new chunk if need be.
func (s *shard) extend(q *queue, size int) place {
	if !s.fits(q, size) {
		q.chunks = append(q.chunks, s.take())
	}
	number := q.chunks[len(q.chunks)-1]
	c := &s.chunks[number]
	p := place((number*s.chunkSize+c.fill)/8) + 1
	c.fill += size
	return p
}

// take returns an empty chunk.
func (s *shard) take() int {
	if n := len(s.unused); n > 0 {
		number := s.unused[n-1]
		s.unused = s.unused[:n-1]
		return number
	}
	if n := len(s.absent); n > 0 {
		number := s.absent[n-1]
		s.absent = s.absent[:n-1]
		s.chunks[number].octets = s.memory.Take(s.chunkSize)
		return number
	}
	s.chunks = append(s.chunks, chunk{octets: s.memory.Take(s.chunkSize)})
	return len(s.chunks) - 1
}

// makeRoom sees to it that a chunk can be taken within the limit.
func (s *shard) makeRoom(now instant) {
	for pass := 0; ; pass++ {
		made, allowed := len(s.chunks)-len(s.absent), s.allowed()
		switch {
		case made > allowed && len(s.unused) > 0: // the index has grown
			s.release()
		case made < allowed || made == allowed && len(s.unused) > 0:
			return
		default:
			// While much of the room is taken by what is dead, nothing alive has to go:
			// then this only closes the gaps.
			s.reclaim(now, s.octets < s.limit*3/4 && pass < made)
		}
	}
}

// release gives the octets of an unused chunk back.
func (s *shard) release() {
	number := s.unused[len(s.unused)-1]
	s.unused = s.unused[:len(s.unused)-1]
	s.memory.Give(s.chunks[number].octets)
	s.chunks[number].octets = nil
	s.absent = append(s.absent, number)
}

// reclaim empties the oldest chunk of the queue whose turn it is. What stays moves on
// to the end of its queue; all that is alive does if compact is set.
func (s *shard) reclaim(now instant, compact bool) {
	q := &s.main
	if len(s.main.chunks) == 0 || len(s.probation.chunks) > max(s.allowed()/probationPart, 1) {
		q = &s.probation
	}
	number := q.chunks[0]
	q.chunks = q.chunks[1:]
	for it := range s.chunks[number].living() {
		var to *queue
		switch uses := it.uses(); {
		case now >= it.until():
		case compact:
			to = q
		case uses > 0 && q == &s.main:
			it.setUses(uses - 1)
			to = q
		case uses > 0:
			it.setUses(0)
			it[27] |= markMain
			to = &s.main
		}
		i, ok := s.find(it.key(), it.hash())
		if !ok {
			panic("BUG: a living item is not in the index")
		}
		if to != nil {
			hash := it.hash()
			s.index[i] = s.marked(s.move(it, to), hash)
			continue
		}
		if !it.has(markMain) {
			s.ghosts.add(it.hash())
		}
		s.remove(i)
		s.evicted++
	}
	s.chunks[number].fill = 0
	s.unused = append(s.unused, number)
}

// move copies an item to the end of q. For as long as a chunk is gone through there
// may be one more than the limit has room for.
func (s *shard) move(it item, q *queue) place {
	p := s.extend(q, it.size())
	copy(s.at(p), it[:it.size()])
	return p
}

// ghosts remembers the hashes of items that had to go from probation. A table that
// is written over: what is forgotten has only to pass probation again.
type ghosts []uint32

// ghostOctets is for how many octets of the cache there is one ghost: of the size of
// some items, so that there are about a quarter as many as items.
const ghostOctets = 512

func newGhosts(limit int) ghosts {
	n := 16
	for n*2*ghostOctets <= limit {
		n *= 2
	}
	return make(ghosts, n)
}

func (g ghosts) octets() int { return 4 * len(g) }

func (g ghosts) add(hash uint32) { g[g.at(hash)] = hash }

// has reports whether a hash is remembered, and forgets it.
func (g ghosts) has(hash uint32) bool {
	at := g.at(hash)
	if hash == 0 || g[at] != hash {
		return false
	}
	g[at] = 0
	return true
}

func (g ghosts) at(hash uint32) int { return int(hash*0x9E3779B1>>7) & (len(g) - 1) }
