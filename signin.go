package doorward

import (
	"context"
	"errors"
	"time"
)

// SignedIn is what a person gets for a name and a password.
type SignedIn struct {
	User        User
	AccessToken string        // for programs
	Cookie      string        // for the browser; another token, of another kind
	Lifetime    time.Duration // of the session, and so of the cookie
}

// SignIn compares a password and makes a person's session. Whether the name exists, is
// disabled or cannot be a name at all, a wrong answer costs the same work and reads the
// same: ErrInvalidCredentials. An account at which somebody has guessed too often is
// locked, whether or not it exists, and nothing is compared: ErrAccountLocked.
func (a *Authority) SignIn(ctx context.Context, by Caller, username, password string) (SignedIn, error) {
	// What fails because an administrator changed the user in that moment is judged anew.
	for range 3 {
		in, err := a.signIn(ctx, by, username, password)
		if !errors.Is(err, ErrChanged) {
			return in, err
		}
	}
	return SignedIn{}, Unavailable(ErrChanged)
}

func (a *Authority) signIn(ctx context.Context, by Caller, username, password string) (SignedIn, error) {
	u, err := a.comparePassword(ctx, by.Audit(ActionSignIn, "", ""), username, password)
	if err != nil {
		return SignedIn{}, err
	}
	now := a.cfg.Now().Truncate(time.Millisecond)
	s := Session{
		ID: a.newID(), Kind: KindUser, Subject: u.ID, Credential: u.ID,
		Org: u.Org, Workspaces: JoinWorkspaces(u.Workspaces), Created: now, Ends: now.Truncate(time.Second).Add(a.cfg.SessionLife),
		Address: by.addressText(), UserAgent: by.UserAgent,
	}
	s.AccessUntil = s.Ends // the cookie's expiry; the access token's is never later
	canonical, _ := CanonicalUsername(u.Username)
	by.Identity = Identity{Kind: KindUser, Subject: u.ID, Username: u.Username, Org: u.Org}
	err = a.cfg.Store.SignIn(ctx, s, u.Version, canonical, a.cfg.SessionLimit, by.Audit("session.create", s.ID, "signed in"))
	if err != nil {
		return SignedIn{}, err
	}
	claims := Claims{
		Subject: u.ID, IssuedAt: now.Unix(), ExpiresAt: a.accessExpiry(now, s.Ends).Unix(), ID: a.newID(), Session: s.ID,
		Kind: KindUser, Role: u.Role, Org: u.Org, Workspaces: s.Workspaces, Username: u.Username,
	}
	in := SignedIn{User: u, AccessToken: a.keys.Load().Sign(AccessToken, claims), Lifetime: a.cfg.SessionLife}
	claims.ID, claims.ExpiresAt = a.newID(), s.Ends.Unix()
	in.Cookie = a.keys.Load().Sign(CookieToken, claims)
	if in.AccessToken == "" || in.Cookie == "" {
		return SignedIn{}, Unavailable(errUnsignable)
	}
	return in, nil
}

// errUnsignable is for claims that no token may carry. What goes into them is checked where
// it is made, so it means that something reached the store by another way.
var errUnsignable = errors.New("the claims cannot be signed")

// comparePassword is the one place where a password is compared with an account's. Every
// way to present one goes through it, and so shares its counter. The comparison is
// counted as a failure before it begins and uncounted by whoever ends it well; a caller
// who hangs up before its turn is not counted, having learnt nothing. attempt is the audit
// entry of the failure.
func (a *Authority) comparePassword(ctx context.Context, attempt AuditEntry, username, password string) (User, error) {
	canonical, possible := CanonicalUsername(username)
	if possible {
		// A look before queueing, so that a locked account does not wait for others' hashing.
		left, err := a.cfg.Store.LockedFor(ctx, canonical)
		if err != nil {
			return User{}, Unavailable(err)
		}
		if left > 0 {
			return User{}, Locked(left)
		}
	}
	slot, err := a.cfg.Hasher.Slot(ctx)
	if err != nil {
		return User{}, err
	}
	defer slot.Release()
	if !possible {
		slot.VerifyNobody(password)
		return User{}, ErrInvalidCredentials
	}
	left, err := a.cfg.Store.CountFailure(ctx, canonical, a.cfg.Lockout, attempt)
	switch {
	case err != nil:
		return User{}, Unavailable(err)
	case left > 0:
		return User{}, Locked(left)
	}
	u, hash, found, err := a.cfg.Store.UserByName(ctx, canonical)
	if err != nil {
		return User{}, Unavailable(err)
	}
	if !found {
		slot.VerifyNobody(password)
		return User{}, ErrInvalidCredentials
	}
	ok, err := slot.Verify(hash, password)
	switch {
	case err != nil:
		return User{}, Unavailable(err)
	case !ok || u.Disabled:
		return User{}, ErrInvalidCredentials
	}
	if a.cfg.Hasher.NeedsRehash(hash) {
		better, err := slot.Hash(password)
		if err == nil {
			err = a.cfg.Store.UpgradePassword(ctx, u.ID, u.Version, better)
		}
		if err != nil { // the old hash still serves
			a.cfg.Log.WarnContext(ctx, "cannot upgrade a password hash", "user", u.ID, "err", err)
		}
	}
	return u, nil
}
