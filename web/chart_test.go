package web

import (
	"testing"
	"time"
)

// TestCharts draws nothing, one, and very many: every bar is within the drawing, can be seen, and the text says the same.
func TestCharts(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 3, 1, 0, 30, 0, 0, time.UTC)
	s := spansUntil(now, 24, time.Hour, "2 Jan 15:04")
	if s.name(23) != "1 Mar 00:00" || s.name(0) != "28 Feb 01:00" {
		t.Fatalf("from %s to %s", s.name(0), s.name(23))
	}
	counts := s.sum(func(add func(time.Time, int64)) {
		add(now.Truncate(time.Hour), 1)
		add(now.Add(-5*time.Hour).Truncate(time.Hour), 1_000_000)
		add(now.Add(-24*time.Hour).Truncate(time.Hour), 7) // too old
		add(now.Add(time.Hour).Truncate(time.Hour), 7)     // of a clock ahead
	})
	c := s.chart("x", "Things", counts)
	if c.Total != 1_000_001 || c.Most != 1_000_000 || len(c.Bars) != 2 || c.Text != "1000001 in all; the most, 1000000, at 28 Feb 19:00." {
		t.Fatalf("%+v", c)
	}
	for _, b := range c.Bars {
		if b.Height < 2 || b.Y < 0 || b.Y+b.Height != barHeight || b.X < 0 || b.Width < 2 || b.X+b.Width > chartWidth {
			t.Errorf("%+v", b)
		}
	}
	if none := s.chart("x", "Things", make([]int64, 24)); none.Text != "None." || none.Bars != nil {
		t.Errorf("%+v", none)
	}
	if days := spansUntil(now, 30, 24*time.Hour, "2 Jan"); days.name(29) != "1 Mar" || days.name(0) != "31 Jan" {
		t.Errorf("from %s to %s", days.name(0), days.name(29))
	}
}
