// Package state is the set of resources that were applied at run time, as a
// value that is the same on every node that has seen the same changes.
package state
