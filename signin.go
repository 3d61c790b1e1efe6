package doorward

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"
)

// SignedIn is what a person gets for a name and a password.
type SignedIn struct {
	User        User
	AccessToken string        // for programs
	Cookie      string        // for the browser; another token, of another kind
	Lifetime    time.Duration // of the session, and so of the cookie
	Device      string        // for the browser's device cookie; empty to leave it as it is
}

// SignIn compares a password and makes a person's session. Whether the name exists, is
// disabled or cannot be a name at all, a wrong answer costs the same work and reads the
// same: ErrInvalidCredentials. An account at which somebody has guessed too often is
// locked, whether or not it exists, and nothing is compared: ErrAccountLocked. From an
// address that has guessed too often nothing is compared either: ErrTooManyRequests. Neither
// stands in the way of a browser in which the user has signed in before.
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
	c, err := a.comparePassword(ctx, by, by.Audit(ActionSignIn, "", ""), username, password)
	if err != nil {
		return SignedIn{}, err
	}
	in, err := a.begin(ctx, by, c, "signed in")
	if err != nil {
		a.forget(ctx, c)
	}
	return in, err
}

// begin makes the session of a person who has shown who they are. how says how, in the audit log.
func (a *Authority) begin(ctx context.Context, by Caller, c compared, how string) (SignedIn, error) {
	u := c.user
	now := a.cfg.Now().Truncate(time.Millisecond)
	s := Session{
		ID: a.newID(), Kind: KindUser, Subject: u.ID, Credential: u.ID,
		Org: u.Org, Workspaces: JoinWorkspaces(u.Workspaces), Created: now, Ends: now.Truncate(time.Second).Add(a.cfg.SessionLife),
		Address: by.addressText(), UserAgent: by.UserAgent,
	}
	s.AccessUntil = s.Ends // the cookie's expiry; the access token's is never later
	by.Identity = Identity{Kind: KindUser, Subject: u.ID, Username: u.Username, Org: u.Org}
	err := a.cfg.Store.SignIn(ctx, s, u.Version, c.counter, a.cfg.SessionLimit, by.Audit(ActionSession, s.ID, how))
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
	in.Device = a.keepDevice(ctx, by, u, c.device)
	return in, nil
}

// errUnsignable is for claims that no token may carry. What goes into them is checked where
// it is made, so it means that something reached the store by another way.
var errUnsignable = errors.New("the claims cannot be signed")

// compared is a comparison that ended well.
type compared struct {
	user    User
	counter string // under which it was counted while it was under way
	device  string // the secret of the device that it was counted on; empty where on the account
	request string // id of the request, under which it is on record as a failure while it is under way
}

// comparePassword is the one place where a password is compared with an account's. Every
// way to present one goes through it, and so shares its counter: the account's, or, from a
// browser in which the user has signed in before, that device's. The comparison is
// counted as a failure before it begins and uncounted by whoever ends it well, as by
// forget; a caller who hangs up before its turn is not counted, having learnt nothing.
// attempt is the audit entry of the failure.
func (a *Authority) comparePassword(ctx context.Context, by Caller, attempt AuditEntry, username, password string) (c compared, err error) {
	// Before anything is read: in a rush most are refused here.
	if err := a.cfg.Hasher.slots.full(neighbours(by.Address)); err != nil {
		return c, err
	}
	c.request = by.RequestID
	canonical, possible := CanonicalUsername(username)
	if possible {
		if c.device, err = a.deviceOf(ctx, by, canonical); err != nil {
			return c, err
		}
	}
	if c.counter = canonical; c.device != "" {
		c.counter = deviceCounter(canonical, c.device)
	} else if left := a.guesses.left(by.Address); left > 0 {
		return c, Throttled(left)
	}
	if possible {
		// A look before queueing, so that a locked account does not wait for others' hashing.
		left, err := a.cfg.Store.LockedFor(ctx, c.counter)
		if err != nil {
			return c, Unavailable(err)
		}
		if left > 0 {
			return c, Locked(left)
		}
	}
	slot, err := a.cfg.Hasher.SlotFor(ctx, by.Address)
	if err != nil {
		return c, err
	}
	defer slot.Release()
	if c.device == "" {
		// Here and not before the queue, so that who waits for a turn is no guesser yet.
		if left := a.guesses.take(by.Address); left > 0 {
			return c, Throttled(left)
		}
		defer func() {
			if !errors.Is(err, ErrInvalidCredentials) {
				a.guesses.giveBack(by.Address)
			}
		}()
	}
	if !possible {
		return c, cmp.Or(slot.VerifyNobody(password), error(ErrInvalidCredentials))
	}
	left, err := a.cfg.Store.CountFailure(ctx, c.counter, a.cfg.Lockout, attempt)
	switch {
	case err != nil:
		return c, Unavailable(err)
	case left > 0:
		return c, Locked(left)
	}
	u, hash, found, err := a.cfg.Store.UserByName(ctx, canonical)
	if err != nil {
		return c, Unavailable(err)
	}
	if !found {
		return c, cmp.Or(slot.VerifyNobody(password), error(ErrInvalidCredentials))
	}
	ok, err := slot.Verify(hash, password)
	switch {
	case err != nil:
		return c, Unavailable(err)
	case !ok || u.Disabled:
		return c, ErrInvalidCredentials
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
	c.user = u
	return c, nil
}

// forget uncounts a comparison that ended well, after which something else went wrong: who
// knows the password is no guesser. Where even that cannot be done it stays counted.
func (a *Authority) forget(ctx context.Context, c compared) {
	if err := a.cfg.Store.ForgetFailures(context.WithoutCancel(ctx), c.counter, c.request); err != nil {
		a.cfg.Log.WarnContext(ctx, "a right password stays counted as a failure", "user", c.user.ID, "err", err)
	}
}

// CountGuess counts an unknown key or token, shown from the address from, as a guess, and
// says ErrTooManyRequests instead of ErrInvalidToken once there have been too many in
// a minute. err is what Authenticate made of p; any other is returned as it is. What has
// the form of a JWT is never counted: clients go on showing one that has been ended or forgotten,
// and nobody can guess one.
func (a *Authority) CountGuess(from netip.Addr, p Presented, err error) error {
	if p.Via == FromCookie || !errors.Is(err, ErrInvalidToken) || looksSigned(p.Value) {
		return err
	}
	if left := a.guesses.take(from); left > 0 {
		return Throttled(left)
	}
	return err
}

// looksSigned reports whether s has the form of a signed token (RFC 7515, section 3.1).
func looksSigned(s string) bool {
	return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2
}
