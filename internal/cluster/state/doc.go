// Package state is the set of resources that were applied at run time, as a
// value that is the same on every node that has seen the same changes.
//
// It owns the types of the resources (which the configuration file shares), the
// rules between them, the merge of the file's resources with the applied ones,
// and the canonical bytes of a state. It does not own where the bytes are kept
// (packages store and snapshot) nor what is compiled from them (package node).
//
//	changes of the store --Apply--> State --Encode--> snapshot
//	resources of the file --Rebase--^  |
//	                                   +--> Resources: file + applied, all sound
//	                                   +--> Problems:  what was left out, and why
//
// A change that was committed is a fact, so Apply never fails: an object that
// cannot be used, because it clashes with the file or names a pool that is
// gone, is kept, left out of Resources and shown in Problems until its cause
// goes away. Validate is what stands before a commit: it refuses a change that
// would add a problem.
//
// Concurrency: a State is immutable; Apply and Rebase return a new one.
// No I/O, no clock.
package state
