package doorward

import "context"

// OrgSession is a session as those who look after an organization see it.
type OrgSession struct {
	HeldSession
	Role           Role   // it acts with; empty where nobody knows any more
	CredentialName string // of the key or API token that it was begun with; empty for a person's, and for what is no more
	OperatorKey    bool   // it was begun with the operator's key
}

// OrgSessions lists a page of the sessions that live in the organization that by, an admin at
// least, acts in and that by may end, people's and machines': any other is not shown. They are in the order of
// whose they are, and next is where the next page begins, empty at the end. A page looks at a
// bounded number, so that it may be short though more follow.
func (a *Authority) OrgSessions(ctx context.Context, by Caller, search string, after string, limit int) (page []OrgSession, next string, err error) {
	if !by.Role.AtLeast(Admin) {
		return nil, "", ErrForbidden
	}
	place, err := a.openPlace(after, by.Org)
	if err != nil {
		return nil, "", err
	}
	if !SessionSearch(search) {
		return nil, "", nil // nobody and nothing is called like that
	}
	q := OrgSessionQuery{Org: by.Org, Search: search, After: place, Limit: limit}
	held, place, err := a.cfg.Store.OrgSessions(ctx, q, func(s HeldSession) bool { return a.mayEnd(by, s) })
	if err != nil {
		return nil, "", Unavailable(err)
	}
	for _, s := range held {
		page = append(page, a.orgSession(s))
	}
	return page, a.sealPlace(place, by.Org), nil
}

// FindSession reads a session that OrgSessions would list; any other is not found.
func (a *Authority) FindSession(ctx context.Context, by Caller, id string) (OrgSession, error) {
	if !by.Role.AtLeast(Admin) {
		return OrgSession{}, ErrForbidden
	}
	s, found, err := a.cfg.Store.HeldSession(ctx, id)
	switch {
	case err != nil:
		return OrgSession{}, Unavailable(err)
	case !found, !s.Ended.IsZero(), !a.cfg.Now().Before(s.Ends), s.Org != by.Org, !a.mayEnd(by, s):
		return OrgSession{}, NotFound("session")
	}
	return a.orgSession(s), nil
}

func (a *Authority) orgSession(s HeldSession) OrgSession {
	shown := OrgSession{HeldSession: s, Role: a.sessionRole(s), CredentialName: s.KeyName}
	if c, ok := a.credentials.byID[s.Credential]; ok {
		shown.CredentialName, shown.OperatorKey = c.Name, c.Kind == KindKey
	}
	return shown
}

// sessionRole is the role that a session acts with now: its person's, or its key's, which is never
// above its owner's; empty where its credential is no more.
func (a *Authority) sessionRole(s HeldSession) Role {
	if c, ok := a.credentials.byID[s.Credential]; ok {
		return c.Role
	}
	switch {
	case s.Kind == KindUser:
		return s.Holder.Role
	case s.Owner != "" && s.KeyRole != "":
		return MinRole(s.KeyRole, s.Holder.Role)
	}
	return s.KeyRole
}
