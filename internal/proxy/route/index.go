package route

import (
	"hash/maphash"
	"maps"
)

// index is a map that can be had with one entry more or less without a copy of the whole: when
// it is large it is cut into parts, and a copy shares all of them but one.
type index[V any] struct {
	few  map[string]V   // nil: there are none, or many
	many []map[string]V // by the hash of keys; nil: there are few
}

const (
	fewest = 1024 // entries from which on an index is cut; copying fewer takes some 20 µs
	parts  = 256  // of a large one, so that there are 400 entries in a part of 100,000
)

var indexSeed = maphash.MakeSeed()

// get returns the value of a key, or the zero value.
func (x *index[V]) get(key []byte) V {
	if x.many == nil {
		return x.few[string(key)]
	}
	return x.many[maphash.Bytes(indexSeed, key)%parts][string(key)]
}

func (x *index[V]) of(key string) V {
	if x.many == nil {
		return x.few[key]
	}
	return x.many[maphash.String(indexSeed, key)%parts][key]
}

// put sets the value of a key in x itself, which nobody else has.
func (x *index[V]) put(key string, v V) {
	if x.many != nil {
		x.many[maphash.String(indexSeed, key)%parts][key] = v
		return
	}
	if x.few == nil {
		x.few = map[string]V{}
	}
	if x.few[key] = v; len(x.few) > fewest {
		x.cut()
	}
}

func (x *index[V]) cut() {
	x.many = make([]map[string]V, parts)
	for i := range x.many {
		x.many[i] = map[string]V{}
	}
	for key, v := range x.few {
		x.many[maphash.String(indexSeed, key)%parts][key] = v
	}
	x.few = nil
}

// with returns x with another value of a key; gone: without the key. x stays as it is.
func (x index[V]) with(key string, v V, gone bool) index[V] {
	part := &x.few
	if x.many != nil {
		x.many = append([]map[string]V(nil), x.many...)
		part = &x.many[maphash.String(indexSeed, key)%parts]
	}
	if *part = maps.Clone(*part); *part == nil {
		*part = map[string]V{}
	}
	if gone {
		delete(*part, key)
	} else {
		(*part)[key] = v
	}
	if len(x.few) > fewest {
		x.cut()
	}
	return x
}

// isEmpty reports whether nothing was ever in x.
func (x *index[V]) isEmpty() bool { return x.few == nil && x.many == nil }
