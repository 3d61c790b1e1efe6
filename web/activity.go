package web

import (
	"net/http"

	"doorward"
	"doorward/gate"
)

// event is an entry of the audit log as people read it.
type event struct {
	When    stamp
	What    string
	Who     string // empty where the page is about one person and it was them
	Outcome string // empty for done
	Address string
	Detail  string
	Request string // its id
}

// eventsOf are entries for the person with the id me, or for nobody in particular.
func eventsOf(me string, page []doorward.AuditRecord) []event {
	var all []event
	for _, r := range page {
		e := event{
			When: stampOf(r.Time), What: whatOf(r.AuditEntry), Address: r.Address, Detail: cut(r.Detail, longestDetail), Request: r.RequestID, Who: nameOf(r.AuditEntry),
		}
		if me != "" && (r.Actor == me) {
			e.Who = ""
		}
		if r.Outcome != doorward.OutcomeDone && r.Outcome != "" {
			e.Outcome = string(r.Outcome)
		}
		all = append(all, e)
	}
	return all
}

// nameOf is what an actor is called.
func nameOf(e doorward.AuditEntry) string {
	switch {
	case e.ActorName != "":
		return e.ActorName
	case e.Actor != "":
		return e.Actor
	case e.Action == doorward.ActionSignIn, e.Action == doorward.ActionLock:
		return "somebody who was not signed in"
	}
	return "the server or its command line"
}

// actions are the actions of the audit log in words.
var actions = map[string]string{
	"session.create":      "Signed in",
	"session.end":         "Session ended",
	"session.list":        "Sessions looked at",
	doorward.ActionSignIn: "Sign-in failed",
	doorward.ActionLock:   "Account locked",
	"user.create":         "User created",
	"user.change":         "User changed",
	"user.delete":         "User deleted",
	"user.unlock":         "Account unlocked",
	"user.password":       "Password changed",
	"user.invite":         "Invite link made",
	"user.explain":        "Asked what the door makes of somebody",
	"backup.create":       "Backup made",
	"key.create":          "API key created",
	"key.list":            "API keys looked at",
	"key.rotate":          "API key rotated",
	"key.revoke":          "API key revoked",
	"organization.create": "Organization created",
	"organization.rename": "Organization renamed",
	"organization.delete": "Organization deleted",
	"workspace.create":    "Workspace created",
	"workspace.rename":    "Workspace renamed",
	"workspace.delete":    "Workspace deleted",
	"workspace.join":      "Member added",
	"workspace.leave":     "Member removed",
	"secret.rotate":       "Signing key rotated",
}

// inWordsOf says an action in words; one that has none is said as it is.
func inWordsOf(action string) string {
	if words, ok := actions[action]; ok {
		return words
	}
	return action
}

// longestDetail is how many characters of an entry's detail a page shows; the JSON and the CSV have all of it.
const longestDetail = 160

// cut is s, or its first n characters and a mark that there are more.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i] + "…"
		}
		n--
	}
	return s
}

// whatOf says what was done.
func whatOf(e doorward.AuditEntry) string {
	if e.Action == doorward.ActionSession && e.ActorKind != doorward.KindUser {
		return "Session begun" // a machine's
	}
	return inWordsOf(e.Action)
}

type activityView struct {
	Events []event
	Next   string
}

// showActivity lists what the account of who asks has done and what was done to it.
func (h *web) showActivity(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	before, err := doorward.ParseAuditMark(r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	page, next, err := h.Authority.Activity(r.Context(), p.Caller(r), before, pageSize)
	if err != nil {
		return err
	}
	at := h.accountPath("/activity")
	return h.framed(w, r, p, http.StatusOK, "activity", at, view{Title: "Your activity", Content: activityView{
		Events: eventsOf(p.Identity.Subject, page), Next: nextPage(at, next.String()),
	}})
}
