package document

import "strings"

// Nearest returns the word of known that word was most likely meant to be, or
// "" when none is near. Two edits are near, in a long word one in three letters,
// but never more than half of the word.
func Nearest(word string, known []string) string {
	const longest = 64 // words beyond this are no typing mistakes of ours
	if len(word) > longest {
		return ""
	}
	best, bestDistance := "", max(2, len(word)/3)+1
	for _, k := range known {
		if len(k) > longest {
			continue
		}
		d := distance(strings.ToLower(word), strings.ToLower(k))
		if d < bestDistance && 2*d <= max(len(word), len(k)) {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1)
	last := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
