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
	text := os.Getenv("PHAROS_TEST_KILLS")
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("PHAROS_TEST_KILLS: %v", err)
	}
	return n
}
