package web

import (
	"fmt"
	"time"
)

// chart is a small bar chart, drawn here: nothing is loaded for it, and no script draws it. What it
// shows stands in a table beside it as well.
type chart struct {
	ID, Title string
	Total     int64
	Most      int64
	Bars      []bar
	From, To  string // under its two ends
	Text      string // all that it shows, in a sentence
}

// bar is one of them, in the units of the drawing; those of height 0 are left out.
type bar struct {
	X, Y, Width, Height int
	Text                string
}

// The measures of a chart, in the units of the drawing; pages/parts.html has them too.
const (
	chartWidth = 480
	barHeight  = 72
)

// series is what is counted in each of some spans of time, all as long, oldest first.
type series struct {
	spans  []time.Time
	length time.Duration
	layout string // how a span is called
}

func (s series) name(i int) string { return s.spans[i].Format(s.layout) }

// spansUntil are the last n spans, the one in which now is the last.
func spansUntil(now time.Time, n int, length time.Duration, layout string) series {
	s := series{length: length, layout: layout}
	last := now.UTC().Truncate(length)
	for i := n - 1; i >= 0; i-- {
		s.spans = append(s.spans, last.Add(-time.Duration(i)*length))
	}
	return s
}

// sum adds up what each yields by the hour into the spans.
func (s series) sum(each func(add func(hour time.Time, n int64))) []int64 {
	counts := make([]int64, len(s.spans))
	each(func(hour time.Time, n int64) {
		if i := int(hour.Sub(s.spans[0]) / s.length); !hour.Before(s.spans[0]) && i < len(counts) {
			counts[i] += n
		}
	})
	return counts
}

// chart draws counts, one for each span.
func (s series) chart(id, title string, counts []int64) chart {
	c := chart{ID: id, Title: title, From: s.name(0), To: s.name(len(counts) - 1)}
	at := 0
	for i, n := range counts {
		if c.Total += n; n > c.Most {
			c.Most, at = n, i
		}
	}
	for i, n := range counts {
		if n == 0 {
			continue
		}
		// At least a stroke: what there was must be seen beside the most there was.
		height, step := max(2, int(n*barHeight/c.Most)), chartWidth/len(counts)
		c.Bars = append(c.Bars, bar{X: i * step, Y: barHeight - height, Width: step * 3 / 4, Height: height, Text: fmt.Sprintf("%s: %d", s.name(i), n)})
	}
	if c.Total == 0 {
		c.Text = "None."
		return c
	}
	c.Text = fmt.Sprintf("%d in all; the most, %d, at %s.", c.Total, c.Most, s.name(at))
	return c
}
