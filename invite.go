package doorward

import (
	"context"
	"encoding/base64"
	"time"
)

// An invitation lets the person it is for choose a password, once, without anybody having
// chosen one for them. Whoever holds its code can become that person, so it is given to those
// alone who could set the password themselves, and it is good only for the user as they were
// when it was made: a change of role or membership, a new password, being disabled, and a newer
// invitation make it void. An admin's link from before does not come with a role above that admin's.

// DefaultInviteLife is how long an invitation is good when nothing else is said.
const DefaultInviteLife = 7 * 24 * time.Hour

// Invitation is one that was just made: its code is shown this once.
type Invitation struct {
	Code    Secret
	Expires time.Time
}

// Link is the address that is given to the person; page is that of the form. The code stands
// behind the #, which browsers send to no server (RFC 3986, section 3.5).
func (i Invitation) Link(page string) string { return page + "#code=" + string(i.Code) }

// InviteStore keeps invitations, by the SHA-256 of their codes, one of a user. Good is one that has
// not ended, of a user who is not disabled and at the Version that they had when it was made.
type InviteStore interface {
	// CreateInvited creates u without a password, with an invitation of this life; a CodeConflict *Error
	// when its canonical username is taken. made and invited are both written.
	CreateInvited(ctx context.Context, u User, code SecretHash, life time.Duration, made, invited AuditEntry) (expires time.Time, err error)
	// Invite keeps an invitation of user id in place of one before, unless check refuses. Not found: false.
	Invite(ctx context.Context, id string, code SecretHash, life time.Duration, check func(User) error, a AuditEntry) (expires time.Time, found bool, err error)
	// Invited returns whose the invitation with this code is, if it is good.
	Invited(ctx context.Context, code SecretHash) (User, bool, error)
	// AcceptInvite does what SetPassword does if the invitation is good and p.UserID's, and takes it away, in one
	// step: of any number of simultaneous calls one returns true. The user is returned as they are then.
	AcceptInvite(ctx context.Context, code SecretHash, p NewPassword, a AuditEntry) (User, []EndedSession, bool, error)
}

// inviteCodeLen is the length of a code in base64url: 256 bits.
const inviteCodeLen = 43

func (a *Authority) newInviteCode() Secret {
	var b [32]byte
	a.random(b[:])
	return Secret(base64.RawURLEncoding.EncodeToString(b[:]))
}

// CreateInvited makes a user for by as CreateUser does, without a password, and the invitation
// with which they choose one. n.Password and n.MustChange are not read.
func (a *Authority) CreateInvited(ctx context.Context, by Caller, n NewUser) (User, Invitation, error) {
	u, err := a.userOf(ctx, by, n)
	if err != nil {
		return User{}, Invitation{}, err
	}
	i := Invitation{Code: a.newInviteCode()}
	i.Expires, err = a.cfg.Store.CreateInvited(ctx, u, HashSecret(string(i.Code)), a.cfg.InviteLife, madeUser(by, u), by.Audit("user.invite", u.ID, ""))
	if err != nil {
		return User{}, Invitation{}, Refusal(err)
	}
	a.hasUsers.Store(true)
	return u, i, nil
}

// InviteUser makes an invitation for a user whom by manages; one made before is void. Nothing
// else changes before it is used: a password that there is goes on, and so do sessions.
func (a *Authority) InviteUser(ctx context.Context, by Caller, id string) (Invitation, error) {
	entry := by.Audit("user.invite", id, "")
	limited := a.unlimited(ctx, by)
	check := func(u User) error {
		if err := by.Manages(u); err != nil {
			return err
		}
		if limited != nil {
			return limited
		}
		if u.Disabled {
			return Conflict("%s is disabled; enable the account first", u.Username)
		}
		return nil
	}
	i := Invitation{Code: a.newInviteCode()}
	expires, found, err := a.cfg.Store.Invite(context.WithoutCancel(ctx), id, HashSecret(string(i.Code)), a.cfg.InviteLife, check, entry)
	switch {
	case err != nil:
		return Invitation{}, a.refuse(ctx, entry, Refusal(err))
	case !found:
		return Invitation{}, a.refuse(ctx, entry, NotFound("user"))
	}
	i.Expires = expires
	return i, nil
}

// AcceptInvite lets who shows the code of an invitation choose a password, and signs them in.
// All sessions that the user had end, and the lock of the account. A wrong code is
// ErrInvalidToken and counts as a guess; nothing is hashed for it. When the password was chosen
// and only the session could not be begun, User is set beside the error.
func (a *Authority) AcceptInvite(ctx context.Context, by Caller, code, password string) (SignedIn, error) {
	wrong := func() error { return a.CountGuess(by.Address, Presented{Value: code}, ErrInvalidToken) }
	if len(code) != inviteCodeLen {
		return SignedIn{}, wrong()
	}
	hash := HashSecret(code)
	u, found, err := a.cfg.Store.Invited(ctx, hash)
	switch {
	case err != nil:
		return SignedIn{}, Unavailable(err)
	case !found:
		return SignedIn{}, wrong()
	}
	if err := a.cfg.Passwords.Check("password", u.Username, password); err != nil {
		return SignedIn{}, err
	}
	p := NewPassword{UserID: u.ID, Reason: EndPassword}
	if p.Hash, err = a.cfg.Hasher.HashFor(ctx, by.Address, password); err != nil {
		return SignedIn{}, err
	}
	by.Identity = Identity{Kind: KindUser, Subject: u.ID, Username: u.Username, Org: u.Org}
	u, ended, found, err := a.cfg.Store.AcceptInvite(context.WithoutCancel(ctx), hash, p, by.Audit("user.password", u.ID, "chosen by an invite link"))
	switch {
	case err != nil:
		return SignedIn{}, Refusal(err)
	case !found:
		return SignedIn{}, wrong() // somebody was faster, or the user is not what they were
	}
	a.revoke(ended...)
	canonical, _ := CanonicalUsername(u.Username)
	in, err := a.begin(ctx, by, compared{user: u, counter: canonical}, "signed in by an invite link")
	if err != nil {
		return SignedIn{User: u}, Refusal(err)
	}
	return in, nil
}
