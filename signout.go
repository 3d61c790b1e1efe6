package doorward

import (
	"context"
	"errors"
)

// SignOut ends the session of the access token or cookie presented. It is durable before
// it returns nil, and dead on this node at once. Ending it again on the same unexpired
// token is no error.
func (a *Authority) SignOut(ctx context.Context, by Caller, p Presented) error {
	use := AccessToken
	if p.Via == FromCookie {
		use = CookieToken
	}
	c, err := a.keys.Load().Verify(use, p.Value, a.cfg.Now())
	if err != nil {
		return err
	}
	by.Identity = Identity{Kind: c.Kind, Subject: c.Subject, Username: c.Username, Role: c.Role, Org: c.Org}
	if a.revoked.has(c.Session) {
		return nil
	}
	// A client that hangs up does not stop what it asked for half-way: what the store
	// made durable must be known here.
	ended, found, err := a.cfg.Store.EndSession(context.WithoutCancel(ctx), c.Session, EndSignedOut, by.Audit("session.end", c.Session, EndSignedOut))
	switch {
	case err != nil:
		return Unavailable(err)
	case !found:
		return ErrInvalidToken
	}
	a.revoke(ended)
	return nil
}

// IsDead reports whether err says that a token is no good, as against not knowing.
func IsDead(err error) bool {
	return errors.Is(err, ErrInvalidToken) || errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrTokenBlacklisted)
}
