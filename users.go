package doorward

import (
	"context"
	"slices"
)

// CreateUser makes a user for by, who needs at least the role admin, in the organization that
// the request acts in. Nobody grants a role above their own.
func (a *Authority) CreateUser(ctx context.Context, by Caller, n NewUser) (User, error) {
	u, err := a.userOf(ctx, by, n)
	if err != nil {
		return User{}, err
	}
	if err := a.cfg.Passwords.Check("password", n.Username, n.Password); err != nil {
		return User{}, err
	}
	u.MustChange = n.MustChange
	hash, err := a.cfg.Hasher.HashFor(ctx, by.Address, n.Password)
	if err != nil {
		return User{}, err
	}
	if err := a.cfg.Store.CreateUser(ctx, u, hash, madeUser(by, u)); err != nil {
		return User{}, Refusal(err)
	}
	a.hasUsers.Store(true)
	return u, nil
}

func madeUser(by Caller, u User) AuditEntry {
	return by.Audit("user.create", u.ID, u.Username+", "+string(u.Role))
}

// userOf is the user that by wants to make, if by may; all but the password is checked.
func (a *Authority) userOf(ctx context.Context, by Caller, n NewUser) (User, error) {
	if !by.Role.AtLeast(Admin) {
		return User{}, ErrForbidden
	}
	if n.Role == "" {
		return User{}, Invalid("role", "is required: one of superadmin, admin, editor, viewer")
	}
	role, err := ParseRole(n.Role)
	if err != nil {
		return User{}, err
	}
	if !by.Role.AtLeast(role) {
		return User{}, a.refuse(ctx, by.Audit("user.create", "", "role "+string(role)), ErrForbidden)
	}
	if err := a.unlimited(ctx, by); err != nil {
		return User{}, a.refuse(ctx, by.Audit("user.create", "", "role "+string(role)), err)
	}
	if len(n.Workspaces) == 0 {
		n.Workspaces = []string{by.Workspace}
	}
	if err := by.checkWorkspaces(n.Workspaces); err != nil {
		return User{}, err
	}
	u, err := a.newUser(n, role)
	u.Org = by.Org
	return u, err
}

// checkWorkspaces refuses workspaces that by may not give.
func (by Caller) checkWorkspaces(ids []string) error {
	for _, id := range ids {
		if !by.Reaches(id) {
			return Invalid("workspaces", "there is no workspace of that name that you could give")
		}
	}
	return nil
}

// Manages decides whether by, an admin at least, may act on u: nil, or not found for another
// organization's people, refused for people above oneself or in workspaces beyond one's own.
// Pages ask it too, so that nothing is offered that would be refused.
func (by Caller) Manages(u User) error {
	if u.Org != by.Org {
		return NotFound("user")
	}
	if !by.Role.AtLeast(Admin) || !by.Role.AtLeast(u.Role) {
		return ErrForbidden
	}
	for _, id := range u.Workspaces {
		if !by.Reaches(id) {
			return ErrForbidden
		}
	}
	return nil
}

// Users lists a page of the people of the organization that the request acts in, and where
// the next page begins (empty at the end). Admins see all of them; whom they manage is
// another matter. search is a part of a username: names that begin with it come first,
// then those that hold it elsewhere, of which a page looks at so many names at most, so
// that it may be short though more follow.
func (a *Authority) Users(ctx context.Context, by Caller, search, after string, limit int) ([]User, string, error) {
	if !by.Role.AtLeast(Admin) {
		return nil, "", ErrForbidden
	}
	users, next, err := a.cfg.Store.Users(ctx, UserQuery{Org: by.Org, Search: search, After: after, Limit: limit})
	if err != nil {
		return nil, "", Unavailable(err)
	}
	return users, next, nil
}

// UserChange is what is to become of a user; nil leaves a thing as it is.
type UserChange struct {
	Role       *string
	Workspaces []string
	Disabled   *bool
	Version    *int64 // the user's as the caller saw it: a change on top of one unseen is refused
}

// ChangeUser changes role, workspaces or whether a user is disabled, and ends all of the
// user's sessions if anything did change: what a token says of a person is never older
// than the person.
func (a *Authority) ChangeUser(ctx context.Context, by Caller, id string, c UserChange) (User, error) {
	var role Role
	if c.Role != nil {
		r, err := ParseRole(*c.Role)
		if err != nil {
			return User{}, err
		}
		role = r
	}
	if c.Workspaces != nil {
		if len(c.Workspaces) == 0 {
			return User{}, Invalid("workspaces", "must name at least one")
		}
		if err := by.checkWorkspaces(c.Workspaces); err != nil {
			return User{}, err
		}
	}
	var gives error // why by may give nobody anything
	if c.Role != nil || c.Workspaces != nil || c.Disabled != nil && !*c.Disabled {
		gives = a.unlimited(ctx, by)
	}
	change := func(u User, others Census) (User, error) {
		if err := by.Manages(u); err != nil {
			return u, err
		}
		if c.Version != nil && *c.Version != u.Version {
			return u, Conflict("%s was changed meanwhile; look at the account again", u.Username)
		}
		next := u
		if role != "" {
			next.Role = role
		}
		if !by.Role.AtLeast(next.Role) {
			return u, ErrForbidden
		}
		if c.Disabled != nil {
			next.Disabled = *c.Disabled
		}
		if c.Workspaces != nil {
			next.Workspaces = slices.Compact(slices.Sorted(slices.Values(c.Workspaces)))
		}
		if gives != nil && next.gains(u) {
			return u, gives
		}
		if next.Disabled || next.Role.Rank() < u.Role.Rank() {
			if err := others.KeepsTheTop(u); err != nil {
				return u, err
			}
		}
		return next, nil
	}
	entry := by.Audit("user.change", id, c.words())
	u, ended, found, err := a.cfg.Store.ChangeUser(context.WithoutCancel(ctx), id, change, entry)
	switch {
	case err != nil:
		return User{}, a.refuse(ctx, entry, Refusal(err))
	case !found:
		return User{}, a.refuse(ctx, entry, NotFound("user"))
	}
	a.holderChanged(u)
	a.revoke(ended...)
	return u, nil
}

// gains reports whether u may do anything that before might not.
func (u User) gains(before User) bool {
	return u.Role.Rank() > before.Role.Rank() || before.Disabled && !u.Disabled ||
		slices.ContainsFunc(u.Workspaces, func(id string) bool { return !slices.Contains(before.Workspaces, id) })
}

func (c UserChange) words() string {
	words := ""
	add := func(s string) {
		if words != "" {
			words += ", "
		}
		words += s
	}
	if c.Role != nil {
		add("role " + *c.Role)
	}
	if c.Disabled != nil && *c.Disabled {
		add("disabled")
	} else if c.Disabled != nil {
		add("enabled")
	}
	if c.Workspaces != nil {
		add("workspaces " + string(JoinWorkspaces(c.Workspaces)))
	}
	return words
}

// DeleteUser deletes a user and ends its sessions.
func (a *Authority) DeleteUser(ctx context.Context, by Caller, id string) error {
	check := func(u User, others Census) error {
		if err := by.Manages(u); err != nil {
			return err
		}
		return others.KeepsTheTop(u)
	}
	entry := by.Audit("user.delete", id, "")
	ended, found, err := a.cfg.Store.DeleteUser(context.WithoutCancel(ctx), id, check, entry)
	switch {
	case err != nil:
		return a.refuse(ctx, entry, Refusal(err))
	case !found:
		return a.refuse(ctx, entry, NotFound("user"))
	}
	a.holderGone(id)
	a.revoke(ended...)
	return nil
}

// UnlockUser clears the failures counted for a user's account, which ends its lock.
func (a *Authority) UnlockUser(ctx context.Context, by Caller, id string) error {
	u, found, err := a.cfg.Store.User(ctx, id)
	switch {
	case err != nil:
		return Unavailable(err)
	case !found:
		return a.refuse(ctx, by.Audit("user.unlock", id, ""), NotFound("user"))
	}
	if err := by.Manages(u); err != nil {
		return a.refuse(ctx, by.Audit("user.unlock", id, ""), err)
	}
	canonical, _ := CanonicalUsername(u.Username)
	if err := a.cfg.Store.ClearFailures(context.WithoutCancel(ctx), canonical, by.Audit("user.unlock", id, "")); err != nil {
		return Refusal(err)
	}
	return nil
}
