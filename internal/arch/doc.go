// Package arch holds the rules of docs/ARCHITECTURE.md as tests: who may import
// whom, what a pure package must not touch, how large things may grow, and which
// words the code does not use. It has no code of its own.
package arch
