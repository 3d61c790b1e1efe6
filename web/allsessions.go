package web

import (
	"net/http"

	"doorward"
)

// orgSessionRow is a session as those see it who look after an organization.
type orgSessionRow struct {
	Who, WhoTo  string // a person, with their page, or a client id
	Kind        string // person, machine
	With        string // what it was begun with, in words
	Role, In    string
	Address     string
	Program     string
	Began, Ends stamp
	Seen        stamp
	Here        bool   // it is the one that the page is shown in
	End         string // where the question is
}

type orgSessionsView struct {
	list
	Rows []orgSessionRow
}

// showAllSessions lists the sessions of an organization, people's and machines', that the caller may end.
func (h *web) showAllSessions(d *desk) error {
	at := h.in(d, "/sessions")
	l := d.list(at)
	page, next, err := h.Authority.OrgSessions(d.r.Context(), d.by, l.Search, l.After, pageSize)
	if err != nil {
		return err
	}
	v := orgSessionsView{list: l.to(next)}
	for _, s := range page {
		row := orgSessionRow{
			Who: s.Subject, Kind: "machine", With: begunWith(s), Role: string(s.Role), In: someOf(s.Workspaces.List()), Address: s.Address,
			Program: programOf(s.UserAgent, doorward.KindUser), Began: stampOf(s.Created), Ends: stampOf(s.Ends), Seen: stampOf(s.Chain.Minted),
			Here: s.ID == d.p.Identity.Session, End: at + "/" + s.ID + "/end",
		}
		if s.Kind == doorward.KindUser {
			row.Who, row.WhoTo, row.Kind = s.Holder.Username, h.in(d, "/users/"+s.Holder.ID), "person"
		}
		v.Rows = append(v.Rows, row)
	}
	return h.page(d, http.StatusOK, "all-sessions", at, view{Title: "Sessions", Content: v})
}

// begunWith says with what a session was begun.
func begunWith(s doorward.OrgSession) string {
	switch {
	case s.Kind == doorward.KindUser:
		return "a sign-in"
	case s.OperatorKey:
		return "the operator's key"
	case s.Configured && s.CredentialName != "":
		return "the API token " + s.CredentialName
	case s.Configured:
		return "an API token"
	case s.Owner != "":
		return "the API key " + s.KeyName + " of " + s.Holder.Username
	case s.KeyName != "":
		return "the API key " + s.KeyName
	}
	return "a key that is no more"
}

// askEndAnySession asks once, and says what will happen.
func (h *web) askEndAnySession(d *desk) error {
	s, err := h.Authority.FindSession(d.r.Context(), d.by, d.r.PathValue("id"))
	if err != nil {
		return err
	}
	at := h.in(d, "/sessions")
	q := question{Action: at + "/" + s.ID + "/end", Button: "End the session"}
	since := " since " + stampOf(s.Created).Text
	switch {
	case s.Kind != doorward.KindUser:
		q.Title = "End the session of " + s.Subject + "?"
		q.Will = "The session of the machine " + s.Subject + since + ", begun with " + begunWith(s) + ", ends at once: its access token and its refresh token are refused from then on, and every open stream of it closes. " +
			"What it was begun with stays good, so it can begin another; to keep it out, revoke the key or take the token out of the settings."
	case s.ID == d.p.Identity.Session:
		q.Title, q.Will = "End your own session?", "This is the session that you are in: you will be signed out."
	default:
		q.Title = "End the session of " + s.Holder.Username + "?"
		q.Will = "The session of " + s.Holder.Username + since + " ends at once, and every open stream of it closes. The password stays as it is, so " + s.Holder.Username + " can sign in again; to keep them out, disable the account."
	}
	return h.ask(d.w, d.r, d.p, at, q)
}

// endAnySession ends a session. The one that the page was shown in ends as signing out does.
func (h *web) endAnySession(d *desk) error {
	return h.endOne(d.w, d.r, d.p, d.by, h.in(d, "/sessions"), "their-session-ended")
}
