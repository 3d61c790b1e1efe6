package doorward

import (
	"context"
	"time"
)

// Presented is one credential as a request shows it.
type Presented struct {
	Via   Source
	Value string
}

// Source is where in a request a credential was.
type Source uint8

// The sources, in the order in which the door looks.
const (
	FromBearer    Source = iota + 1 // Authorization: Bearer
	FromKeyHeader                   // X-API-Key
	FromCookie                      // the session cookie
)

// Authenticate decides who shows p: an identity, or ErrInvalidToken, ErrTokenExpired,
// ErrTokenBlacklisted, or an unavailable error when what must be known could not be read.
func (a *Authority) Authenticate(ctx context.Context, p Presented) (Identity, error) {
	switch {
	case p.Via == FromCookie:
		return a.authenticateToken(ctx, CookieToken, p.Value)
	case p.Via == FromBearer && a.cfg.Keys.Recognizes(p.Value):
		return a.authenticateToken(ctx, AccessToken, p.Value)
	}
	if c, ok := a.credentials.find(p.Value); ok {
		return c.identity(), nil
	}
	return Identity{}, ErrInvalidToken
}

func (a *Authority) authenticateToken(ctx context.Context, use Use, token string) (Identity, error) {
	c, err := a.cfg.Keys.Verify(use, token, a.cfg.Now())
	if err != nil {
		return Identity{}, err
	}
	mustChange, err := a.alive(ctx, c)
	if err != nil {
		return Identity{}, err
	}
	via := ViaAccessToken
	if use == CookieToken {
		via = ViaCookie
	}
	id := Identity{
		Kind: c.Kind, Subject: c.Subject, Username: c.Username, Role: c.Role,
		Org: c.Org, Workspaces: c.Workspaces, Session: c.Session,
		Expires: time.Unix(c.ExpiresAt, 0), Via: via, MustChange: mustChange,
	}
	if c.Kind == KindUser {
		id.Credential = c.Subject
	}
	return id, nil
}

// alive decides whether the session of a well-signed token lives: from memory once this
// node has seen it, else from the store. A session whose person must change the password
// is asked after each time, so that the restriction ends everywhere at once with the change.
func (a *Authority) alive(ctx context.Context, c Claims) (mustChange bool, err error) {
	_, known := a.seen.get(c.Session)
	if !known {
		mustChange, err = a.meet(ctx, c)
		if err != nil {
			return false, err
		}
	}
	// Last, so that an end acknowledged while the store was read is seen.
	if _, ended := a.revoked.get(c.Session); ended {
		return false, ErrTokenBlacklisted
	}
	return mustChange, nil
}

// meet reads the session of a token that comes to this node for the first time.
func (a *Authority) meet(ctx context.Context, c Claims) (mustChange bool, err error) {
	s, found, err := a.cfg.Store.Session(ctx, c.Session)
	switch {
	case err != nil:
		return false, Unavailable(err)
	case !found:
		return false, ErrInvalidToken
	case !s.Ended.IsZero():
		a.revoke(EndedSession{ID: s.ID, Until: s.AccessUntil})
		return false, ErrTokenBlacklisted
	}
	if s.Kind == KindUser {
		u, found, err := a.cfg.Store.User(ctx, s.Credential)
		switch {
		case err != nil:
			return false, Unavailable(err)
		case !found, u.Disabled:
			return false, ErrTokenBlacklisted
		case u.MustChange:
			return true, nil // not remembered
		}
	}
	a.seen.add(c.Session, struct{}{}, time.Unix(c.ExpiresAt, 0))
	return false, nil
}

// AccessClaims returns the claims of a good access token, for whoever asks about it.
func (a *Authority) AccessClaims(ctx context.Context, token string) (Claims, error) {
	c, err := a.cfg.Keys.Verify(AccessToken, token, a.cfg.Now())
	if err != nil {
		return Claims{}, err
	}
	if _, err := a.alive(ctx, c); err != nil {
		return Claims{}, err
	}
	return c, nil
}
