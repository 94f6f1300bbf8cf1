package sign

import (
	"slices"
	"sort"
)

// repair finds what changes in a chain, a circle of keys in ascending order of which each
// tells the next one, when some keys go and others come. At least one stays.
type repair[K comparable] struct {
	compare   func(a, b K) int
	preceding func(K) K // the key of the old chain before one that is or is not in it
	following func(K) K // the key of the old chain that one in it tells
	removed   map[K]bool
	added     []K // ascending

	back, forth map[K]K // beyond the removed ones, found already
}

// owners returns the keys of the new chain whose next one may have changed: those that
// come, and those before one that comes or goes.
func (r *repair[K]) owners() []K {
	r.back, r.forth = map[K]K{}, map[K]K{}
	var owners []K
	for _, k := range r.added {
		owners = append(owners, k, r.before(k))
	}
	for k := range r.removed {
		owners = append(owners, r.before(k))
	}
	slices.SortFunc(owners, r.compare)
	return slices.Compact(owners)
}

// before returns the key of the new chain before k.
func (r *repair[K]) before(k K) K {
	best := r.skip(r.preceding(k), r.preceding, r.back)
	if len(r.added) == 0 {
		return best
	}
	i := sort.Search(len(r.added), func(i int) bool { return r.compare(r.added[i], k) >= 0 })
	other := r.added[(i+len(r.added)-1)%len(r.added)]
	// What is before k is nearer than what is behind it; of two on one side the larger is.
	if nearOld, nearNew := r.compare(best, k) < 0, r.compare(other, k) < 0; nearOld != nearNew {
		if nearNew {
			return other
		}
		return best
	}
	if r.compare(other, best) > 0 && other != k {
		return other
	}
	return best
}

// after returns the key of the new chain behind k, which is in it.
func (r *repair[K]) after(k K) K {
	i := sort.Search(len(r.added), func(i int) bool { return r.compare(r.added[i], k) >= 0 })
	isNew := i < len(r.added) && r.added[i] == k
	from := k
	if isNew {
		from = r.preceding(k)
		i++
	}
	best := r.skip(r.following(from), r.following, r.forth)
	if len(r.added) == 0 {
		return best
	}
	other := r.added[i%len(r.added)]
	if nearOld, nearNew := r.compare(best, k) > 0, r.compare(other, k) > 0; nearOld != nearNew {
		if nearNew {
			return other
		}
		return best
	}
	if r.compare(other, best) < 0 {
		return other
	}
	return best
}

// skip follows step from k until a key that is not removed. found remembers where
// removed ones lead, so that many in a row are walked over once.
func (r *repair[K]) skip(k K, step func(K) K, found map[K]K) K {
	var passed []K
	for r.removed[k] {
		if to, ok := found[k]; ok {
			k = to
			break
		}
		passed = append(passed, k)
		k = step(k)
	}
	for _, p := range passed {
		found[p] = k
	}
	return k
}
