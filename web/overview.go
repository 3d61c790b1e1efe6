package web

import (
	"net/http"
	"strconv"
	"time"

	"doorward"
	"doorward/gate"
)

type overviewView struct {
	Organization string
	Version      string
	Open         bool // the service behind is open to all
	Health       []healthRow
	Warnings     []string
	Locked       []lockedRow
	MoreLocked   bool
	Spans        []spanView
	Since        stamp // the start of this server; empty where refusals are not shown
	Refusals     string
}

type healthRow struct{ Name, Problem string }

type lockedRow struct {
	Username string
	To       string // their page; empty where the caller does not manage them
	Until    stamp
}

// spanView is a span of time: its charts, and the same as a table.
type spanView struct {
	ID, Title string
	Charts    []chart
	Columns   []string
	Rows      [][]string // of each the span, and a number for each column; those of nothing left out
}

// overviewPath is where the overview of an organization is. One's own is what administration begins with.
func (h *web) overviewPath(org string, own bool) string {
	if own {
		return h.adminPath("")
	}
	return h.inPath(org, "/overview")
}

// showOverview shows how it goes at the door.
func (h *web) showOverview(d *desk) error {
	by, ctx := d.by, d.r.Context()
	o, err := h.Authority.Overview(ctx, by)
	if err != nil {
		return err
	}
	health := d.p.Running().Health(ctx)
	v := overviewView{
		Organization: h.Authority.Places().Name(by.Org), Version: health.Version, Open: d.p.Running().Disabled(), Warnings: health.Warnings,
		MoreLocked: o.More, Refusals: h.adminPath("/refusals"),
	}
	for _, c := range health.Components {
		v.Health = append(v.Health, healthRow{c.Name, c.Problem})
	}
	for _, l := range o.Locked {
		row := lockedRow{Username: l.User.Username, Until: stampOf(l.Until)}
		if l.Managed {
			row.To = h.inPath(l.User.Org, "/users/"+l.User.ID)
		}
		v.Locked = append(v.Locked, row)
	}
	var refused []gate.RefusalCount
	if by.Role == doorward.Superadmin {
		if refused, err = d.p.Running().Refusals.Hours(by, o.Now); err != nil {
			return err
		}
		v.Since = stampOf(d.p.Running().Refusals.Since())
	}
	v.Spans = []spanView{
		spanOf("hours", "The last 24 hours", spansUntil(o.Now, 24, time.Hour, "2 Jan 15:04"), o.Hours, refused, by.Role == doorward.Superadmin),
		spanOf("days", "The last 30 days", spansUntil(o.Now, doorward.OverviewDays, 24*time.Hour, "2 Jan"), o.Hours, refused, by.Role == doorward.Superadmin),
	}
	return h.page(d, http.StatusOK, "overview", h.overviewPath(by.Org, d.own()), view{Title: "Overview", Content: v})
}

// spanOf makes the charts and the table of a span of time.
func spanOf(id, title string, s series, hours []doorward.HourCount, refused []gate.RefusalCount, withRefused bool) spanView {
	of := func(count func(doorward.HourCount) int64) []int64 {
		return s.sum(func(add func(time.Time, int64)) {
			for _, h := range hours {
				add(h.Hour, count(h))
			}
		})
	}
	columns := []struct {
		title  string
		counts []int64
	}{
		{"Sign-ins", of(func(h doorward.HourCount) int64 { return h.SignIns })},
		{"Failed sign-ins", of(func(h doorward.HourCount) int64 { return h.Failures })},
		{"Accounts locked", of(func(h doorward.HourCount) int64 { return h.Lockouts })},
	}
	if withRefused {
		columns = append(columns, struct {
			title  string
			counts []int64
		}{"Refusals", s.sum(func(add func(time.Time, int64)) {
			for _, f := range refused {
				add(f.Hour, f.Refusals)
			}
		})})
	}
	v := spanView{ID: id, Title: title}
	for i, c := range columns {
		v.Columns = append(v.Columns, c.title)
		v.Charts = append(v.Charts, s.chart(id+strconv.Itoa(i), c.title, c.counts))
	}
	for i := len(s.spans) - 1; i >= 0; i-- {
		row, any := []string{s.name(i)}, false
		for _, c := range columns {
			row, any = append(row, strconv.FormatInt(c.counts[i], 10)), any || c.counts[i] > 0
		}
		if any {
			v.Rows = append(v.Rows, row)
		}
	}
	return v
}
