package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"doorward"
	"doorward/gate"
)

type sessionBody struct {
	ID        string     `json:"id" is:"SessionID"`
	Kind      string     `json:"kind" is:"SessionKind"`
	Created   string     `json:"created" is:"Time"` // RFC 3339
	Ends      string     `json:"ends" is:"Time"`
	Address   string     `json:"address"`
	UserAgent string     `json:"user_agent"`
	Current   bool       `json:"current"`         // the one that the request came in
	Whose     *whoseBody `json:"whose,omitempty"` // with all=true alone
}

// whoseBody says whose a session is, and with what it was begun.
type whoseBody struct {
	Subject        string   `json:"subject" is:"Subject"`
	UserID         string   `json:"user_id" is:"NoneOrUserID"` // of the person behind it, in person or through a key
	Username       string   `json:"username" is:"PersonsName"`
	Role           string   `json:"role" is:"NoneOrRole"`
	Workspaces     []string `json:"workspaces" is:"Slug"`
	Credential     string   `json:"credential"` // the id of the user, key or API token
	CredentialName string   `json:"credential_name"`
	LastSeen       string   `json:"last_seen" is:"NoneOrTime"` // when a machine last got tokens
}

type sessionsBody struct {
	Sessions []sessionBody `json:"sessions"`
	Next     string        `json:"next" is:"Mark"`
}

// listSessions lists the caller's own sessions; an admin asks for a user's, or for all of the organization.
func (a *api) listSessions(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := single(r, "user", "all", "search", "after", "limit")
	if err != nil {
		return err
	}
	limit, err := pageLimit(q)
	if err != nil {
		return err
	}
	switch q.Get("all") {
	case "", "false":
	case "true":
		return a.listAllSessions(w, r, p, q, limit)
	default:
		return doorward.Invalid("all", "must be true or false")
	}
	if q.Get("search") != "" {
		return doorward.Invalid("search", "needs all=true")
	}
	after, err := doorward.ParseSessionMark(q.Get("after"))
	if err != nil {
		return err
	}
	page, next, err := a.Authority.Sessions(r.Context(), p.Caller(r), q.Get("user"), after, limit)
	if err != nil {
		return err
	}
	body := sessionsBody{Sessions: make([]sessionBody, 0, len(page)), Next: next.String()}
	for _, s := range page {
		body.Sessions = append(body.Sessions, sessionOf(s.Session, p))
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

func sessionOf(s doorward.Session, p *gate.Pass) sessionBody {
	return sessionBody{
		ID: s.ID, Kind: string(s.Kind), Created: s.Created.UTC().Format(time.RFC3339), Ends: s.Ends.UTC().Format(time.RFC3339),
		Address: s.Address, UserAgent: s.UserAgent, Current: s.ID == p.Identity.Session,
	}
}

// listAllSessions lists those of the organization, people's and machines', that the caller may end.
func (a *api) listAllSessions(w http.ResponseWriter, r *http.Request, p *gate.Pass, q url.Values, limit int) error {
	if q.Get("user") != "" {
		return doorward.Invalid("user", "must not be given together with all")
	}
	page, next, err := a.Authority.OrgSessions(r.Context(), p.Caller(r), q.Get("search"), q.Get("after"), limit)
	if err != nil {
		return err
	}
	body := sessionsBody{Sessions: make([]sessionBody, 0, len(page)), Next: next}
	for _, s := range page {
		one := sessionOf(s.Session, p)
		one.Whose = &whoseBody{
			Subject: s.Subject, UserID: s.Holder.ID, Username: s.Holder.Username, Role: string(s.Role), Workspaces: append([]string{}, s.Workspaces.List()...),
			Credential: s.Credential, CredentialName: s.CredentialName,
		}
		if seen := s.Chain.Minted; !seen.IsZero() {
			one.Whose.LastSeen = seen.UTC().Format(time.RFC3339)
		}
		body.Sessions = append(body.Sessions, one)
	}
	gate.WriteJSON(w, http.StatusOK, body)
	return nil
}

// single reads a query in which each of names may stand once, and nothing else.
func single(r *http.Request, names ...string) (url.Values, error) {
	q := r.URL.Query()
	for _, name := range names {
		if len(q[name]) > 1 {
			return nil, doorward.Invalid(name, "must not be given twice")
		}
		if q.Has(name) && q.Get(name) == "" && r.Method == http.MethodDelete {
			return nil, doorward.Invalid(name, "is empty; leave it out for your own") // a variable that was not set, say
		}
		most := 256
		if name == "after" {
			most = 4096 // as a page before has said it: some name what people have called things
		}
		if v := q.Get(name); strings.ContainsRune(v, 0) || strings.ToValidUTF8(v, "") != v || len(v) > most {
			return nil, doorward.Invalid(name, "must be a text of at most %d bytes", most)
		}
	}
	for name := range q {
		known := false
		for _, n := range names {
			known = known || n == name
		}
		if !known {
			// "sessions?usr=..." must not end one's own.
			return nil, doorward.Invalid("query", "may hold %s", strings.Join(names, ", "))
		}
	}
	return q, nil
}

// endSession ends one of the caller's own sessions, or of somebody whom they manage.
func (a *api) endSession(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	id := r.PathValue("id")
	if strings.ContainsRune(id, 0) || strings.ToValidUTF8(id, "") != id || len(id) > 256 {
		return doorward.NotFound("session")
	}
	if err := a.Authority.EndOneSession(r.Context(), p.Caller(r), id); err != nil {
		return err
	}
	if id == p.Identity.Session && p.Shown.Via == doorward.FromCookie {
		gate.SetCookie(w, p, a.CookieName, "", -1)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endSessions ends all of the caller's own but the one that asks; for an admin all of a user's.
func (a *api) endSessions(w http.ResponseWriter, r *http.Request, p *gate.Pass) error {
	q, err := single(r, "user")
	if err != nil {
		return err
	}
	if err := a.Authority.EndOtherSessions(r.Context(), p.Caller(r), q.Get("user")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
