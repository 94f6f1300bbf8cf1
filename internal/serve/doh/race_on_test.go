//go:build race

package doh

const raceEnabled = true
