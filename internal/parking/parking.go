// Package parking has a goroutine wait for a file descriptor without a thread and
// without a processor of the scheduler.
//
// A loop that waits in a system call of its own (recvmmsg, epoll_wait) keeps its
// processor, for the scheduler cannot know whether the call will take long. The
// runtime's monitor thread looks every 20 us whether it has to be taken away, and as
// such a loop never passes through the scheduler, it always has: with one core that
// takes a sixth of the CPU time of a resolver that asks. A parked loop is a goroutine
// as any other, which the runtime's poller wakes.
//
//	watched fd ──► epoll, told once ──► the runtime's poller ──► Wait returns
//
// The descriptor is watched only while somebody waits: else the poller would be woken
// by every datagram of a loop that is busy and takes them in anyhow.
//
// It owns the waiting; it does not own the descriptor, nor reads from it.
//
// Entry points: New, Place.Wait, Place.Close; NewLot, Lot.Park, Lot.Take, Lot.Close.
//
// Concurrency: a Place belongs to one goroutine; a Lot may be used by several.
package parking
