package web

import (
	"net/http"
	"time"

	"doorward"
	"doorward/gate"
)

// accountView is the page of who is signed in.
type accountView struct {
	Username, Role, Organization string
	Workspaces                   []string
	Everywhere                   bool // a superadmin: the workspaces are all there are
	Password                     string
	Recent                       []event
	Activity                     string
}

const recentEvents = 5

// showAccount shows who somebody is here, and what was done lately.
func (h *web) showAccount(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	id := p.Identity
	page, _, err := h.Authority.Activity(r.Context(), p.Caller(r), doorward.AuditMark{}, recentEvents)
	if err != nil {
		return err
	}
	return h.framed(w, r, p, http.StatusOK, "account", h.accountPath(""), view{Title: "Your account", Content: accountView{
		Username: id.Username, Role: string(id.Role), Organization: h.Authority.Places().Name(id.Org), Workspaces: id.Workspaces.List(),
		Everywhere: id.Role == doorward.Superadmin,
		Password:   withNext(h.passwordPath(), h.accountPath("")+"?done=password-changed"), Recent: eventsOf(id.Subject, page), Activity: h.accountPath("/activity"),
	}})
}

// signOut ends the session that the page was shown in.
func (h *web) signOut(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := h.Authority.SignOut(r.Context(), p.Caller(r), p.Shown); err != nil {
		return err
	}
	return h.signedOut(w, p)
}

// signedOut leads who has no session any more to where one is begun.
func (h *web) signedOut(w http.ResponseWriter, p *gate.Pass) error {
	gate.SetCookie(w, p, h.CookieName, "", -1)
	sendOn(w, SignInPage(h.Prefix))
	return nil
}

// pageSize is how many rows a page has: as many as make no page longer than 60 KB, whatever people call things.
const pageSize = 30

// sessionRow is a session as its owner sees it.
type sessionRow struct {
	What    string // a browser, a program
	Address string
	Began   stamp
	Ends    stamp
	Here    bool
	End     string // where the button posts to
}

type sessionsView struct {
	Rows   []sessionRow
	Others bool   // there are some that end together
	End    string // where that button posts to
	Next   string
}

// showSessions lists the sessions of who asks.
func (h *web) showSessions(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	after, err := doorward.ParseSessionMark(r.URL.Query().Get("after"))
	if err != nil {
		return err
	}
	page, next, err := h.Authority.Sessions(r.Context(), p.Caller(r), "", after, pageSize)
	if err != nil {
		return err
	}
	at := h.accountPath("/sessions")
	v := sessionsView{Rows: h.sessionRows(page, p.Identity.Session, at), End: at + "/end-others", Next: nextPage(at, next.String())}
	v.Others = len(v.Rows) > 1 || v.Next != "" || r.URL.Query().Has("after")
	return h.framed(w, r, p, http.StatusOK, "sessions", at, view{Title: "Your sessions", Content: v})
}

func (h *web) sessionRows(page []doorward.ListedSession, here, at string) []sessionRow {
	var rows []sessionRow
	for _, s := range page {
		rows = append(rows, sessionRow{
			What: programOf(s.UserAgent, s.Kind), Address: s.Address, Began: stampOf(s.Created), Ends: stampOf(s.Ends),
			Here: s.ID == here, End: at + "/" + s.ID + "/end",
		})
	}
	return rows
}

// nextPage is where the next page of a list is; empty at the end.
func nextPage(at, mark string) string {
	if mark == "" {
		return ""
	}
	return at + "?after=" + mark
}

// endSession ends one session of who asks. The one that the page was shown in ends as signing out does.
func (h *web) endSession(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	return h.endOne(w, r, p, p.Caller(r), h.accountPath("/sessions"), "session-ended")
}

// endOne ends the session that the path names for by, and shows the page again, which says so.
func (h *web) endOne(w http.ResponseWriter, r *http.Request, p *gate.Pass, by doorward.Caller, page, word string) error {
	id := r.PathValue("id")
	if err := h.Authority.EndOneSession(r.Context(), by, id); err != nil {
		return err
	}
	if id == p.Identity.Session {
		return h.signedOut(w, p)
	}
	return doneAt(w, page, word)
}

// endOtherSessions ends all sessions of who asks but the one that the page was shown in.
func (h *web) endOtherSessions(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	if err := h.Authority.EndOtherSessions(r.Context(), p.Caller(r), ""); err != nil {
		return err
	}
	return doneAt(w, h.accountPath("/sessions"), "sessions-ended")
}

// stamp is a moment, for people and for programs.
type stamp struct{ Text, Exact string }

func stampOf(t time.Time) stamp {
	if t.IsZero() {
		return stamp{}
	}
	t = t.UTC()
	return stamp{t.Format("2 Jan 2006, 15:04 UTC"), t.Format(time.RFC3339)}
}
