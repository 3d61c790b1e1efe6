package web

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"doorward"
	"doorward/gate"
)

type auditView struct {
	Action  string // where the form asks
	Asked   auditForm
	Actions []choice
	Events  []auditEvent
	CSV     string
	Next    string
	Any     bool // something was asked for
}

// auditForm is what the filters are set to, as the fields of a form have it.
type auditForm struct{ Actor, Action, Target, RequestID, From, To string }

// choice is an option of a list.
type choice struct{ Value, Text string }

// auditEvent is an entry with what it is about.
type auditEvent struct {
	event
	WhoTo, Target, TargetTo, RequestTo string
}

// auditRows is how many entries a page lists, each as long as what it records.
const auditRows = 30

// auditPath is where the audit log of an organization is.
func (h *web) auditPath(org string, own bool) string {
	if own {
		return h.adminPath("/audit")
	}
	return h.inPath(org, "/audit")
}

// auditQuery is what a page's query asks of the audit log, and that query with its times as programs write them.
func auditQuery(r *http.Request) (doorward.AuditQuery, url.Values, error) {
	query := r.URL.Query()
	delete(query, "done")
	for _, name := range []string{"from", "to"} {
		if query.Has(name) {
			query[name] = []string{exactTime(query.Get(name))}
		}
	}
	q, err := doorward.ParseAuditQuery(query, auditRows)
	return q, query, err
}

// auditFile writes all of the audit log that the filters let through.
func (h *web) auditFile(d *desk) error {
	q, _, err := auditQuery(d.r)
	if err != nil {
		return err
	}
	write, err := h.Authority.AuditCSV(d.r.Context(), d.by, q)
	if err != nil {
		return err
	}
	gate.WriteCSV(d.w, d.r, "audit.csv", write)
	return nil
}

// showAudit lists the audit log of an organization.
func (h *web) showAudit(d *desk) error {
	at := h.auditPath(d.by.Org, d.own())
	q, query, err := auditQuery(d.r)
	if err != nil {
		return err
	}
	page, next, err := h.Authority.AuditLog(d.r.Context(), d.by, q)
	if err != nil {
		return err
	}
	v := auditView{Action: at, Actions: auditChoices()}
	v.Asked = auditForm{query.Get("actor"), query.Get("action"), query.Get("target"), query.Get("request_id"), fieldTime(q.From), fieldTime(q.To)}
	v.Any = v.Asked != auditForm{} || query.Has("after")
	kept := []field{{"actor", q.Actor}, {"action", q.Action}, {"target", q.Target}, {"request_id", q.RequestID}, {"from", queryTime(q.From)}, {"to", queryTime(q.To)}}
	v.CSV = h.in(d, "/audit.csv")
	if filters := asQuery(kept...); filters != "" {
		v.CSV += "?" + filters
	}
	if !next.Time.IsZero() {
		v.Next = at + "?" + asQuery(append(kept, field{"after", next.String()})...)
	}
	for i, e := range eventsOf("", page) {
		entry := page[i].AuditEntry
		v.Events = append(v.Events, auditEvent{
			event: e, WhoTo: filterBy(at, "actor", entry.Actor), Target: entry.Target, TargetTo: h.userPage(entry.Target, entry.Org), RequestTo: filterBy(at, "request_id", entry.RequestID),
		})
	}
	return h.page(d, http.StatusOK, "audit", at, view{Title: "Audit", Content: v})
}

// filterBy is where what one field is alike in is listed; empty where it is empty.
func filterBy(at, name, value string) string {
	if value == "" {
		return ""
	}
	return at + "?" + asQuery(field{name, value})
}

// auditChoices are the actions to choose from: each, and each family of them.
func auditChoices() []choice {
	var all []choice
	family := ""
	for _, action := range actionsInOrder() {
		if noun, _, _ := strings.Cut(action, "."); noun != family {
			family = noun
			all = append(all, choice{noun + ".", "All of " + noun})
		}
		all = append(all, choice{action, inWordsOf(action)})
	}
	return all
}

func actionsInOrder() []string {
	var all []string
	for action := range actions {
		all = append(all, action)
	}
	slices.Sort(all)
	return all
}

// formTimes are how browsers write what is chosen in a field of date and time (the WHATWG HTML
// standard, section 2.3.5.6); here that is UTC.
var formTimes = []string{"2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02T15:04:05.000"}

// exactTime is a field's time as queries have it. What is none stays, to be refused as it is.
func exactTime(s string) string {
	for _, layout := range formTimes {
		if t, err := time.Parse(layout, s); err == nil {
			return queryTime(t)
		}
	}
	return s
}

func queryTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func fieldTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05")
}
