package doorward

import (
	"context"
	"errors"
)

// ChangePassword replaces the caller's own password and ends all their sessions but the
// one the request came in. A wrong current password counts towards the lockout like a
// wrong one at the sign-in. All browsers in which the user has signed in become strangers,
// but the one that asks, if it was none: device is its new device cookie, else empty.
func (a *Authority) ChangePassword(ctx context.Context, by Caller, current, next string) (device string, err error) {
	if err := a.cfg.Passwords.Check("new_password", by.Username, next); err != nil {
		return "", err
	}
	if by.MustChange && next == current {
		return "", Invalid("new_password", "must not be the one that somebody else has chosen")
	}
	c, err := a.comparePassword(ctx, by, by.Audit("user.password", by.Subject, "wrong current password"), by.Username, current)
	if errors.Is(err, ErrInvalidCredentials) {
		return "", Invalid("current_password", "is wrong")
	}
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			a.forget(ctx, c)
		}
	}()
	u := c.user
	if u.ID != by.Subject {
		return "", ErrTokenBlacklisted // the name has gone to somebody else: this session's user is no more
	}
	hash, err := a.cfg.Hasher.HashFor(ctx, by.Address, next)
	if err != nil {
		return "", err
	}
	unchanged := func(now User) error {
		if now.Version != u.Version || now.Disabled {
			return Conflict("the account was changed meanwhile; sign in and try again")
		}
		return nil
	}
	p := NewPassword{UserID: u.ID, Hash: hash, Keep: by.Session, Reason: EndPassword}
	if err := a.setPassword(ctx, p, unchanged, by.Audit("user.password", u.ID, "changed")); err != nil || c.device == "" {
		return "", err
	}
	u.Version++
	return a.keepDevice(ctx, by, u, ""), nil
}

// ResetPassword sets another user's password, clears the lock on the account and ends all
// the user's sessions. With mustChange the user may do nothing before choosing another.
func (a *Authority) ResetPassword(ctx context.Context, by Caller, id, next string, mustChange bool) error {
	entry := by.Audit("user.password", id, "reset")
	u, found, err := a.cfg.Store.User(ctx, id)
	switch {
	case err != nil:
		return Unavailable(err)
	case !found:
		return a.refuse(ctx, entry, NotFound("user"))
	}
	if err := by.Manages(u); err != nil {
		return a.refuse(ctx, entry, err)
	}
	if err := a.unlimited(ctx, by); err != nil {
		return a.refuse(ctx, entry, err)
	}
	if err := a.cfg.Passwords.Check("new_password", u.Username, next); err != nil {
		return err
	}
	hash, err := a.cfg.Hasher.HashFor(ctx, by.Address, next)
	if err != nil {
		return err
	}
	p := NewPassword{UserID: id, Hash: hash, MustChange: mustChange, Reason: EndPasswordReset}
	return a.setPassword(ctx, p, by.Manages, entry)
}

func (a *Authority) setPassword(ctx context.Context, p NewPassword, check func(User) error, entry AuditEntry) error {
	ended, found, err := a.cfg.Store.SetPassword(context.WithoutCancel(ctx), p, check, entry)
	switch {
	case err != nil:
		return a.refuse(ctx, entry, Refusal(err))
	case !found:
		return a.refuse(ctx, entry, NotFound("user"))
	}
	a.revoke(ended...)
	return nil
}
