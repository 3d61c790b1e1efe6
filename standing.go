package doorward

import (
	"context"
	"time"
)

// Standing is how an account stands, beside what its user is.
type Standing struct {
	LockedUntil  time.Time // by wrong passwords; zero while it is not
	InvitedUntil time.Time // while an invitation is good; zero for none
	NoPassword   bool      // none was chosen yet
}

// Holdings is what ends with a user.
type Holdings struct {
	Sessions int // that live, those begun with keys of theirs among them
	Keys     int // that are not revoked
}

// StandingStore reads what administrators look at.
type StandingStore interface {
	// Standings returns how the accounts of these users stand, by their ids.
	Standings(ctx context.Context, ids []string) (map[string]Standing, error)
	// Holdings counts what a user has.
	Holdings(ctx context.Context, id string) (Holdings, error)
}

// Standings returns how the accounts of users stand, whom by has listed, by their ids.
func (a *Authority) Standings(ctx context.Context, by Caller, users []User) (map[string]Standing, error) {
	if !by.Role.AtLeast(Admin) {
		return nil, ErrForbidden
	}
	var ids []string
	for _, u := range users {
		if u.Org == by.Org {
			ids = append(ids, u.ID)
		}
	}
	all, err := a.cfg.Store.Standings(ctx, ids)
	if err != nil {
		return nil, Unavailable(err)
	}
	return all, nil
}

// FindUser reads a user of the organization that the request acts in, and how the account
// stands. Admins see all of them, as Users says.
func (a *Authority) FindUser(ctx context.Context, by Caller, id string) (User, Standing, error) {
	if !by.Role.AtLeast(Admin) {
		return User{}, Standing{}, ErrForbidden
	}
	u, found, err := a.cfg.Store.User(ctx, id)
	if err != nil {
		return User{}, Standing{}, Unavailable(err)
	}
	if !found || u.Org != by.Org {
		return User{}, Standing{}, NotFound("user")
	}
	all, err := a.Standings(ctx, by, []User{u})
	return u, all[id], err
}

// UserNamed finds a user of the organization that the request acts in by name, in any case.
func (a *Authority) UserNamed(ctx context.Context, by Caller, name string) (User, error) {
	if !by.Role.AtLeast(Admin) {
		return User{}, ErrForbidden
	}
	canonical, ok := CanonicalUsername(name)
	if !ok {
		return User{}, NotFound("user")
	}
	u, _, found, err := a.cfg.Store.UserByName(ctx, canonical)
	if err != nil {
		return User{}, Unavailable(err)
	}
	if !found || u.Org != by.Org {
		return User{}, NotFound("user")
	}
	return u, nil
}

// Holdings counts what a user whom by manages has, which ends when the user is deleted.
func (a *Authority) Holdings(ctx context.Context, by Caller, id string) (Holdings, error) {
	if err := a.managedUser(ctx, by, id, by.Audit("session.list", id, "")); err != nil {
		return Holdings{}, err
	}
	h, err := a.cfg.Store.Holdings(ctx, id)
	if err != nil {
		return Holdings{}, Unavailable(err)
	}
	return h, nil
}
