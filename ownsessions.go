package doorward

import (
	"context"
	"errors"
	"time"
)

// HeldSession is a session with what decides whose it is.
type HeldSession struct {
	Session
	Owner   string // the user who began it, in person or through a key; empty for others
	KeyRole Role   // of the API key it was begun with; empty for none, and for one of the settings
	KeyName string // what people call that key
	Holder  User   // Owner as they are now; the zero User where there is none, or none any more
}

// SessionMark is a place in a list of sessions, which are in the order of their ends.
type SessionMark struct {
	Ends time.Time
	ID   string
}

// own picks the sessions that are by's own: a person's, those begun with keys of theirs among
// them, or those begun with the key or token that is shown as itself. A client has the one that
// its token is of, which no query picks.
func (by Caller) own() SessionQuery {
	if by.Kind == KindUser {
		return SessionQuery{User: by.Subject}
	}
	return SessionQuery{Credential: by.Credential}
}

// isClient reports whether by shows a token of a machine's session.
func (by Caller) isClient() bool { return by.Kind != KindUser && by.Session != "" }

// Sessions lists a page of by's own sessions that live, those that end last first; or, for
// who may manage that user, those of another. next is where the next page begins, zero at the end.
func (a *Authority) Sessions(ctx context.Context, by Caller, user string, after SessionMark, limit int) (page []ListedSession, next SessionMark, err error) {
	q := by.own()
	switch {
	case user != "" && user != by.Subject:
		if err := a.managedUser(ctx, by, user, by.Audit("session.list", user, "")); err != nil {
			return nil, SessionMark{}, err
		}
		q = SessionQuery{User: user}
	case by.isClient():
		s, found, err := a.cfg.Store.Session(ctx, by.Session)
		if err != nil {
			return nil, SessionMark{}, Unavailable(err)
		}
		if found && s.Ended.IsZero() && after.Ends.IsZero() {
			page = []ListedSession{{Session: s}}
		}
		return page, SessionMark{}, nil
	}
	page, err = a.cfg.Store.SessionPage(ctx, q, after, limit+1)
	if err != nil {
		return nil, SessionMark{}, Unavailable(err)
	}
	if len(page) > limit {
		page = page[:limit]
		last := page[limit-1]
		next = SessionMark{last.Ends, last.ID}
	}
	return page, next, nil
}

// managedUser refuses, as not found, a user whom by may not manage.
func (a *Authority) managedUser(ctx context.Context, by Caller, id string, entry AuditEntry) error {
	if !by.Role.AtLeast(Admin) {
		return NotFound("user")
	}
	u, found, err := a.cfg.Store.User(ctx, id)
	if err != nil {
		return Unavailable(err)
	}
	if !found || by.Manages(u) != nil {
		return a.refuse(ctx, entry, NotFound("user"))
	}
	return nil
}

// EndOneSession ends a session of by's own, or of somebody whom by may manage. Any other
// is not found. It is durable before it returns nil, and dead on this node at once; one that
// has ended already is no error.
func (a *Authority) EndOneSession(ctx context.Context, by Caller, id string) error {
	s, found, err := a.cfg.Store.HeldSession(ctx, id)
	if err != nil {
		return Unavailable(err)
	}
	entry := by.Audit("session.end", id, EndRevoked)
	if !found || !a.mayEnd(by, s) {
		if !by.Role.AtLeast(Admin) {
			return NotFound("session")
		}
		return a.refuse(ctx, entry, NotFound("session"))
	}
	ended, found, err := a.cfg.Store.EndSession(context.WithoutCancel(ctx), id, EndRevoked, entry)
	switch {
	case err != nil:
		return Unavailable(err)
	case !found:
		return NotFound("session")
	}
	a.revoke(ended)
	return nil
}

// holds reports whether s is by's own.
func (by Caller) holds(s HeldSession) bool {
	switch {
	case by.Kind == KindUser:
		return s.Owner == by.Subject
	case by.isClient():
		return s.ID == by.Session
	}
	return by.Credential != "" && s.Credential == by.Credential
}

// mayEnd is the one rule of who may end a session: whose it is, and who manages it.
func (a *Authority) mayEnd(by Caller, s HeldSession) bool {
	return by.holds(s) || by.Role.AtLeast(Admin) && a.managesSession(by, s)
}

// managesSession reports whether by, who is an admin at least, manages whose session s is:
// the person's behind it, or else the credential's, by its rank and its workspaces.
func (a *Authority) managesSession(by Caller, s HeldSession) bool {
	switch {
	case s.Org != by.Org:
		return false
	case s.Owner != "":
		return s.Holder.ID == s.Owner && by.Manages(s.Holder) == nil
	}
	role := a.sessionRole(s)
	if role == "" {
		role = Superadmin // of a credential that is no more nobody knows what it was
	}
	return by.Manages(User{Org: s.Org, Role: role, Workspaces: s.Workspaces.List()}) == nil
}

// EndOtherSessions ends all of by's own sessions but the one that the request came in; or,
// for who may manage that user, all of another's.
func (a *Authority) EndOtherSessions(ctx context.Context, by Caller, user string) error {
	q, target := by.own(), by.Credential
	switch {
	case user != "" && user != by.Subject:
		if err := a.managedUser(ctx, by, user, by.Audit("session.end", user, "all sessions")); err != nil {
			return err
		}
		q, target = SessionQuery{User: user}, user
	case by.isClient():
		return nil // it has no other
	}
	if q == (SessionQuery{}) {
		return Unavailable(errNobody) // or it would be everybody's
	}
	q.Keep = by.Session
	ended, err := a.cfg.Store.EndSessions(context.WithoutCancel(ctx), q, EndRevoked, by.Audit("session.end", target, "all other sessions"))
	if err != nil {
		return Unavailable(err)
	}
	a.revoke(ended...)
	return nil
}

var errNobody = errors.New("a caller without a subject or a credential")
