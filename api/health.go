package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"doorward"
	"doorward/gate"
)

// Health answers whether the server can do its work. Make it with its fields; it is not
// changed afterwards.
type Health struct {
	Version    string
	Components []Component
	Warnings   []string // what the operator should know, on every answer
	// Now returns what the operator should know at the moment; nil for nothing.
	Now func() []string
}

// Component is one thing that the work depends on. Check returns nil while it can be used;
// Message is what strangers are told otherwise, since the page is public.
type Component struct {
	Name     string
	Check    func(context.Context) error
	Message  string
	Optional bool // reported, but the server is not called down without it
}

type healthBody struct {
	Name       string          `json:"name" is:"=doorward"`
	Status     string          `json:"status" is:"HealthStatus"`
	Version    string          `json:"version"`
	Components []componentBody `json:"components"`
	Warnings   []string        `json:"warnings,omitempty"`
}

type componentBody struct {
	Name   string `json:"name"`
	Status string `json:"status" is:"HealthStatus"`
	Error  string `json:"error"`
}

// checkTimeout bounds one look at one component: a health check that hangs is worse than
// one that fails.
const checkTimeout = 2 * time.Second

func (h *Health) all(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	report := h.Report(r.Context())
	status := http.StatusOK
	if !report.OK() {
		status = http.StatusServiceUnavailable
	}
	gate.WriteJSON(w, status, healthOf(report))
	return nil
}

// healthOf is a report as programs see it.
func healthOf(report doorward.HealthReport) healthBody {
	body := healthBody{Name: "doorward", Status: "ok", Version: report.Version, Components: []componentBody{}, Warnings: report.Warnings}
	if !report.OK() {
		body.Status = "error"
	}
	for _, c := range report.Components {
		row := componentBody{Name: c.Name, Status: "ok", Error: c.Problem}
		if c.Problem != "" {
			row.Status = "error"
		}
		body.Components = append(body.Components, row)
	}
	return body
}

// Report looks at all components.
func (h *Health) Report(ctx context.Context) doorward.HealthReport {
	report := doorward.HealthReport{Version: h.Version, Warnings: h.Warnings}
	if h.Now != nil {
		report.Warnings = append(slices.Clone(report.Warnings), h.Now()...)
	}
	for i, err := range h.check(ctx) {
		c := h.Components[i]
		is := doorward.ComponentHealth{Name: c.Name, Optional: c.Optional}
		if err != nil {
			is.Problem = cmp.Or(c.Message, "cannot be used")
		}
		report.Components = append(report.Components, is)
	}
	return report
}

// check looks at all components at once, so that several that hang take no longer than one.
func (h *Health) check(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(h.Components))
	var all sync.WaitGroup
	for i, c := range h.Components {
		all.Go(func() { errs[i] = c.Check(ctx) })
	}
	all.Wait()
	return errs
}

// live says that the process answers; nothing else is asked, so that a database that is
// away does not get it restarted.
func (h *Health) live(w http.ResponseWriter, _ *http.Request, _ *gate.Pass) error {
	gate.WriteJSON(w, http.StatusOK, statusBody{"ok"})
	return nil
}

// ready says whether requests can be served.
func (h *Health) ready(w http.ResponseWriter, r *http.Request, _ *gate.Pass) error {
	for _, c := range h.Components {
		if c.Optional {
			continue
		}
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		err := c.Check(ctx)
		cancel()
		if err != nil {
			return doorward.Unavailable(err)
		}
	}
	gate.WriteJSON(w, http.StatusOK, statusBody{"ok"})
	return nil
}
