package explain

import (
	"fmt"
	"html"
	"io"
	"strings"
	"time"
)

// Measures of a picture, in pixels.
const (
	rowHeight  = 22
	indent     = 18
	treeLeft   = 20
	textWidth  = 7.2 // of a character, roughly
	barWidth   = 220
	headHeight = 58
)

// WriteSVG writes e as a picture: the steps as a tree, and beside each when it
// happened and how long it took. It is one file that needs nothing else.
func (e *Explanation) WriteSVG(w io.Writer) error {
	rows := e.rows()
	longest, end := len(e.Question), time.Duration(1)
	for _, r := range rows {
		longest = max(longest, len(r.text)+r.depth*indent/7)
		end = max(end, r.at)
	}
	bars := treeLeft + indent + int(float64(longest)*textWidth) + 20
	width, height := bars+barWidth+80, headHeight+len(rows)*rowHeight+24

	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="ui-monospace, monospace" font-size="12">
<style>text{fill:#222}.dim{fill:#777}.bad{fill:#cd2b31}.good{fill:#18794e}line{stroke:#bbb}rect.bar{fill:#3b82c4}rect.bad{fill:#cd2b31}@media(prefers-color-scheme:dark){text{fill:#ddd}.dim{fill:#999}line{stroke:#555}}</style>
<title>%s</title>
<text x="%d" y="22" font-size="15">%s</text>
<text x="%d" y="42" class="dim">for %s, %s, in %v</text>
`, width, height, width, height, html.EscapeString(e.Question), treeLeft, html.EscapeString(e.Question),
		treeLeft, html.EscapeString(e.Client), e.At.UTC().Format(time.RFC3339), end.Round(time.Microsecond))
	above := map[int]int{} // by depth: y of the row that the next one of this depth hangs from
	for i, r := range rows {
		x, y := treeLeft+r.depth*indent, headHeight+i*rowHeight+rowHeight/2
		if from, ok := above[r.depth-1]; ok {
			fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d"/><line x1="%d" y1="%d" x2="%d" y2="%d"/>`+"\n",
				x-indent+4, from, x-indent+4, y, x-indent+4, y, x, y)
		}
		above[r.depth] = y
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" class="%s"/><text x="%d" y="%d" class="%s">%s</text>`+"\n", x+4, y, r.class, x+14, y+4, r.class, html.EscapeString(r.text))
		if r.hasTime {
			start := r.at - r.took
			at := bars + int(float64(barWidth)*float64(max(start, 0))/float64(end))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="8" class="bar %s"/><text x="%d" y="%d" class="dim">%v</text>`+"\n",
				at, y-4, max(2, int(float64(barWidth)*float64(r.took)/float64(end))), r.class, bars+barWidth+8, y+4, r.at.Round(10*time.Microsecond))
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// row is one line of a picture.
type row struct {
	depth    int
	text     string
	class    string // "", "good", "bad", "dim"
	hasTime  bool
	at, took time.Duration // the end, and how long before it began
}

func (e *Explanation) rows() []row {
	var rows []row
	timed := false
	for _, s := range e.Steps {
		timed = timed || s.At > 0
		r := row{depth: s.Depth, text: s.Text, hasTime: timed && s.Stage == Resolve, at: s.At, took: s.Took}
		if s.Bad {
			r.class = "bad"
		}
		rows = append(rows, r)
		for _, d := range s.Detail {
			rows = append(rows, row{depth: s.Depth + 1, text: d, class: "dim"})
		}
	}
	end := row{text: "=> " + e.Outcome, class: "good"}
	if len(e.Warnings) > 0 {
		end.class = "bad"
	}
	rows = append(rows, end)
	for _, r := range e.Result {
		rows = append(rows, row{depth: 1, text: strings.ReplaceAll(r, "\t", " ")})
	}
	for _, warning := range e.Warnings {
		rows = append(rows, row{depth: 1, text: warning, class: "bad"})
	}
	return rows
}
