package sim

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Sizes of the plot, in pixels.
const (
	plotWidth   = 1000
	plotLeft    = 64
	plotRight   = 16
	panelHeight = 150
	smallPanel  = 90
	panelGap    = 46
	plotTop     = 76
)

// colours of variants and servers: those of Okabe and Ito, which most people tell apart.
var colours = [...]string{"#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000"}

func colour(i int) string { return colours[i%len(colours)] }

// maxLabels is how many events are named in the plot; the others are only shaded.
const maxLabels = 12

// plot is a picture in the making.
type plot struct {
	b       bytes.Buffer
	plan    *Plan
	results []*Result
	y       int // where the next panel begins
}

// WriteSVG draws what came out of all variants: failures, times and balance over the time,
// and who had which part of the requests.
func WriteSVG(w io.Writer, p *Plan, results []*Result) error {
	d := &plot{plan: p, results: results, y: plotTop}
	d.lines("requests that failed, %", false, func(v *Window) float64 { return 100 * float64(v.Failed) / float64(max(v.Requests, 1)) })
	d.lines("99 of 100 answers within, ms", true, func(v *Window) float64 { return v.P99 })
	d.lines("busiest server beside the mean", false, func(v *Window) float64 { return v.Imbalance })
	for _, r := range results {
		d.areas(r)
	}
	height := d.y
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height, plotWidth, height)
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", plotWidth, height)
	title := p.Title
	if title == "" {
		title = "pool " + p.Pool
	}
	text(&out, plotLeft, 20, style{"start", "#000000", 15}, title)
	x := plotLeft
	for i, r := range results {
		fmt.Fprintf(&out, `<rect x="%d" y="32" width="14" height="10" fill="%s"/>`+"\n", x, colour(i))
		text(&out, x+19, 41, style{"start", "#000000", 12}, r.Name)
		x += 40 + 7*len(r.Name)
	}
	out.Write(d.b.Bytes())
	out.WriteString("</svg>\n")
	_, err := out.WriteTo(w)
	return err
}

// style is how a text is written.
type style struct {
	anchor, fill string
	size         int
}

// text writes a text.
func text(b *bytes.Buffer, x, y int, how style, what string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" fill="%s" font-size="%d">%s</text>`+"\n", x, y, how.anchor, how.fill, how.size, escape(what))
}

// escape makes a text fit to stand in a document of XML: characters that cannot are left out.
func escape(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0xfffd || r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, text)
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(text)
}

// x returns where a time stands.
func (d *plot) x(at time.Duration) float64 {
	return plotLeft + float64(at)/float64(d.plan.Length.Std())*(plotWidth-plotLeft-plotRight)
}

// panel begins a panel: its title, frame, events and hours.
func (d *plot) panel(title, fill string, height int) (top int) {
	top = d.y
	text(&d.b, plotLeft, top-6, style{"start", fill, 12}, title)
	for i, e := range d.results[0].Events {
		from, to := d.x(e.At.Std()), d.x(e.At.Std()+e.For.Std())
		fmt.Fprintf(&d.b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#000000" fill-opacity="0.08"/>`+"\n", from, top, max(to-from, 1), height)
		if top == plotTop && i < maxLabels {
			text(&d.b, int(from)+2, top+11+11*(i%3), style{"start", "#555555", 9}, e.Member+" "+e.Does)
		}
	}
	fmt.Fprintf(&d.b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#999999"/>`+"\n", plotLeft, top, plotWidth-plotLeft-plotRight, height)
	step := stepOf(d.plan.Length.Std())
	for at := time.Duration(0); at <= d.plan.Length.Std(); at += step {
		x := d.x(at)
		fmt.Fprintf(&d.b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#999999"/>`+"\n", x, top+height, x, top+height+4)
		text(&d.b, int(x), top+height+16, style{"middle", "#555555", 10}, clockText(at))
	}
	d.y += height + panelGap
	return top
}

// stepOf returns the step between times that are written below a panel.
func stepOf(length time.Duration) time.Duration {
	for _, step := range []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour} {
		if length/step <= 12 {
			return step
		}
	}
	return max(24*time.Hour, length/12)
}

func clockText(at time.Duration) string {
	if at > 0 && at < time.Hour || at%time.Minute != 0 {
		return at.String()
	}
	return fmt.Sprintf("%d:%02d", at/time.Hour, at%time.Hour/time.Minute)
}

// lines draws a value of all variants, one line for each. A window without the value, which
// is 0, is passed over where the scale is of powers of ten, or begins at one.
func (d *plot) lines(title string, log bool, value func(*Window) float64) {
	least, most := math.Inf(1), 0.0
	for _, r := range d.results {
		for i := range r.Windows {
			if v := value(&r.Windows[i]); v > 0 {
				least, most = min(least, v), max(most, v)
			}
		}
	}
	top := d.panel(title, "#000000", panelHeight)
	if most == 0 {
		text(&d.b, plotWidth/2, top+panelHeight/2, style{"middle", "#555555", 12}, "none")
		return
	}
	s := newScale(least, most, log, top, panelHeight)
	s.draw(&d.b)
	for at := len(d.results) - 1; at >= 0; at-- { // the first one, mostly the baseline, on top
		r := d.results[at]
		var points strings.Builder
		for i := range r.Windows {
			v := value(&r.Windows[i])
			if v == 0 && (log || least >= 1) {
				continue
			}
			middle := r.Windows[i].From.Std() + d.plan.Length.Std()/windows/2
			fmt.Fprintf(&points, "%.1f,%.1f ", d.x(middle), s.y(v))
		}
		fmt.Fprintf(&d.b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5" stroke-opacity="0.85"/>`+"\n", strings.TrimSpace(points.String()), colour(at))
	}
}

// areas draws what the servers of a variant were sent, one on top of the other.
func (d *plot) areas(r *Result) {
	perWindow := d.plan.Length.Std().Seconds() / windows
	most := 0.0
	below := make([]float64, len(r.Windows))
	for i := range r.Windows {
		sum := uint64(0)
		for _, n := range r.Windows[i].Sent {
			sum += n
		}
		most = max(most, float64(sum)/perWindow)
	}
	index := slices.Index(d.results, r)
	top := d.panel("requests a second by server: "+r.Name, colour(index), smallPanel)
	s := newScale(0, max(most, 1e-9), false, top, smallPanel)
	for k := range r.Servers {
		var forth, back []string
		for i := range r.Windows {
			at := d.x(r.Windows[i].From.Std() + d.plan.Length.Std()/windows/2)
			back = append(back, fmt.Sprintf("%.1f,%.1f", at, s.y(below[i])))
			below[i] += float64(r.Windows[i].Sent[k]) / perWindow
			forth = append(forth, fmt.Sprintf("%.1f,%.1f", at, s.y(below[i])))
		}
		slices.Reverse(back)
		fmt.Fprintf(&d.b, `<polygon points="%s" fill="%s" fill-opacity="%.2f"/>`+"\n", strings.Join(append(forth, back...), " "), colour(k+1), 0.75)
	}
	x := plotWidth - plotRight
	for k := min(len(r.Servers), maxLabels) - 1; k >= 0; k-- {
		text(&d.b, x, top-6, style{"end", colour(k + 1), 11}, r.Servers[k].Name)
		x -= 14 + 7*len(r.Servers[k].Name)
	}
	s.draw(&d.b)
}

// scale is the vertical axis of a panel.
type scale struct {
	from, to    float64
	log         bool
	top, height int
}

func newScale(least, most float64, log bool, top, height int) scale {
	s := scale{to: most * 1.05, log: log, top: top, height: height}
	switch {
	case log:
		s.from, s.to = math.Pow(10, math.Floor(math.Log10(least))), math.Pow(10, math.Ceil(math.Log10(most)))
		if s.from == s.to {
			s.to *= 10
		}
	case least >= 1:
		s.from, s.to = 1, max(s.to, 1.1)
	}
	return s
}

func (s *scale) y(v float64) float64 {
	part := (v - s.from) / (s.to - s.from)
	if s.log {
		part = math.Log10(max(v, s.from)/s.from) / math.Log10(s.to/s.from)
	}
	return float64(s.top) + float64(s.height)*(1-part)
}

// draw writes the values at the side of a panel.
func (s *scale) draw(b *bytes.Buffer) {
	for _, v := range s.marks() {
		y := s.y(v)
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#cccccc" stroke-width="0.5"/>`+"\n", plotLeft, y, plotWidth-plotRight, y)
		text(b, plotLeft-6, int(y)+4, style{"end", "#555555", 10}, strconv.FormatFloat(v, 'g', 6, 64))
	}
}

// marks returns round values of the scale.
func (s *scale) marks() (marks []float64) {
	if s.log {
		for v := s.from; v <= s.to*1.001; v *= 10 {
			marks = append(marks, v)
		}
		return marks
	}
	step := math.Pow(10, math.Floor(math.Log10(s.to-s.from)))
	for _, part := range []float64{1, 2, 5} {
		if n := (s.to - s.from) / (step / part); n >= 3 {
			step /= part
			break
		}
	}
	for i := math.Ceil(s.from/step - 1e-9); i*step <= s.to; i++ {
		marks = append(marks, math.Round(i*step*1e9)/1e9+0) // not -0
	}
	return marks
}
