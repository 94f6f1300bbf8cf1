package tools

import (
	"os"
	"strconv"
	"testing"
)

// Kills returns how often a test is to kill what it looks at: usual, or what
// PHAROS_TEST_KILLS says.
func Kills(t testing.TB, usual int) int {
	t.Helper()
	return Number(t, "PHAROS_TEST_KILLS", usual)
}

// Number returns the number that an environment variable asks for, usual without one.
func Number(t testing.TB, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
