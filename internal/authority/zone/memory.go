package zone

// Memory returns the memory in which lookups are done, for whoever can tell the
// system how it is used. Nobody may write to it.
func (z *Zone) Memory() [][]byte { return [][]byte{z.arena, octetsOf(z.table)} }
