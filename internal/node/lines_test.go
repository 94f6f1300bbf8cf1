package node

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"
)

// TestLinesOfLibraries: what others could have libraries write does not fill our log, and is
// there for who debugs.
func TestLinesOfLibraries(t *testing.T) {
	flags, to := log.Flags(), log.Writer()
	t.Cleanup(func() { log.SetFlags(flags); log.SetOutput(to) })
	for level, want := range map[slog.Level]string{slog.LevelInfo: "", slog.LevelDebug: "level=DEBUG msg=\"a frame too many\"\n"} {
		var b bytes.Buffer
		takeLines(slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: level})))
		log.Print("a frame too many")
		if got := b.String(); !strings.HasSuffix(got, want) || (want == "") != (got == "") {
			t.Errorf("level %v: got %q, want it to end in %q", level, got, want)
		}
	}
}
