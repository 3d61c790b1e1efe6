package doorward

import (
	"context"
	"slices"
)

// NewUser is what a caller says of a user to be made.
type NewUser struct {
	Username   string
	Password   string
	Role       string   // as sent; required except for the first user
	Workspaces []string // nil: the one the request picked
	MustChange bool     // the password is to be changed at the first sign-in; not of the first user
}

// CreateFirstUser makes the user that ends the first run. What allows it is the setup
// code or the operator's key; nothing where the door stands open. Of any number of attempts exactly one
// wins; the others get ErrTokenRequired, before a password is hashed for them.
func (a *Authority) CreateFirstUser(ctx context.Context, by Caller, code string, keys []string, n NewUser) (User, error) {
	maker, right, err := a.mayMakeFirstUser(ctx, code, keys)
	if err != nil {
		shown := code
		if shown == "" && len(keys) > 0 {
			shown = keys[0]
		}
		return User{}, a.CountGuess(by.Address, Presented{Value: shown}, err)
	}
	by.Identity = maker
	role := Superadmin
	switch Role(n.Role) {
	case "", Superadmin:
	case Admin:
		role = Admin
	default:
		return User{}, Invalid("role", "the first user is superadmin or admin")
	}
	u, err := a.newUser(n, role)
	if err != nil {
		return User{}, err
	}
	if err := a.cfg.Passwords.Check("password", n.Username, n.Password); err != nil {
		return User{}, err
	}
	if !a.firstUser.TryLock() {
		return User{}, ErrTokenRequired // somebody is being made the first user
	}
	defer a.firstUser.Unlock()
	if a.hasUsers.Load() {
		return User{}, ErrTokenRequired
	}
	hash, err := a.cfg.Hasher.HashFor(ctx, by.Address, n.Password)
	if err != nil {
		return User{}, err
	}
	entry := by.Audit("user.create", u.ID, "first user "+u.Username+", "+string(u.Role)+", "+right)
	entry.Org = u.Org
	created, err := a.cfg.Store.CreateFirstUser(context.WithoutCancel(ctx), u, hash, entry)
	if err != nil {
		return User{}, Refusal(err) // of a workspace that there is not, say
	}
	a.hasUsers.Store(true)
	if !created {
		return User{}, ErrTokenRequired
	}
	a.cfg.Log.InfoContext(ctx, "the first user is made; a credential is needed from now on", "user", u.ID, "username", u.Username)
	return u, nil
}

// newUser checks what can be checked without the store, but for the password.
func (a *Authority) newUser(n NewUser, role Role) (User, error) {
	if _, ok := CanonicalUsername(n.Username); !ok {
		return User{}, errUsername
	}
	workspaces := slices.Compact(slices.Sorted(slices.Values(n.Workspaces)))
	if len(workspaces) == 0 {
		workspaces = []string{Default}
	}
	return User{
		ID: a.newUserID(), Username: n.Username, Role: role, Org: Default, Workspaces: workspaces, Created: a.cfg.Now(),
	}, nil
}

var errUsername = Invalid("username", "must have 1 to 64 of ASCII letters, digits and ._@+-")
