//go:build !linux

package spare

// Elsewhere a priority is that of the whole process, and stays what it is.

func lowerAll(int) {}

func lowerOwn(int) {}

func prompt() {}
