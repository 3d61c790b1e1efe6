package doorward

import (
	"context"
	"fmt"
	"slices"
)

// ImportedUser is an account of another program, with a password or the hash of one.
type ImportedUser struct {
	Place      string // where it stands, for what is said about it: users.htpasswd:3
	Username   string
	Role       string
	Workspaces []string // default when there are none
	Password   string
	Hash       string // as ParsePasswordHash takes it; empty with Password
	Disabled   bool
	MustChange bool
}

// ImportUsers makes users of all the accounts in the organization that by acts in, or of
// none: then it returns all that is wrong with them, each with its place. With dryRun it says what is wrong and
// makes none. A hash of another program serves until its owner first signs in, and is replaced then.
func (a *Authority) ImportUsers(ctx context.Context, by Caller, all []ImportedUser, dryRun bool) (problems []error, err error) {
	if !by.Role.AtLeast(Admin) {
		return nil, ErrForbidden
	}
	accounts := make([]NewAccount, 0, len(all))
	first := map[string]string{} // where a canonical name stands
	for _, i := range all {
		n, err := a.imported(ctx, by, i)
		canonical, _ := CanonicalUsername(i.Username)
		switch before := first[canonical]; {
		case err != nil && Refusal(err).Code == CodeUnavailable:
			return nil, err
		case err == nil && before != "":
			err = Conflict("username %s stands at %s too", i.Username, before)
		case err == nil:
			first[canonical] = i.Place
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", i.Place, err))
			continue
		}
		accounts = append(accounts, n)
	}
	if len(problems) > 0 {
		return problems, nil
	}
	// The passwords last: it takes some time to hash them, and none if there is anything wrong.
	for k, i := range all {
		if dryRun || i.Password == "" {
			continue
		}
		if accounts[k].Hash, err = a.cfg.Hasher.Hash(ctx, i.Password); err != nil {
			return nil, err
		}
	}
	if dryRun || len(accounts) == 0 {
		return nil, nil
	}
	if err := a.cfg.Store.CreateUsers(context.WithoutCancel(ctx), accounts); err != nil {
		return nil, Refusal(err)
	}
	a.hasUsers.Store(true)
	return nil, nil
}

// imported checks one account.
func (a *Authority) imported(ctx context.Context, by Caller, i ImportedUser) (NewAccount, error) {
	role, err := ParseRole(i.Role)
	if err != nil {
		return NewAccount{}, err
	}
	if !by.Role.AtLeast(role) {
		return NewAccount{}, ErrForbidden
	}
	canonical, ok := CanonicalUsername(i.Username)
	if !ok {
		return NewAccount{}, errUsername
	}
	if len(i.Workspaces) == 0 {
		i.Workspaces = []string{by.Workspace}
	}
	for _, id := range i.Workspaces {
		if !by.Reaches(id) {
			return NewAccount{}, ErrForbidden
		}
		_, found, err := a.cfg.Store.Workspace(ctx, by.Org, id)
		if err != nil {
			return NewAccount{}, Unavailable(err)
		}
		if !found {
			return NewAccount{}, Invalid("workspaces", "organization %s has no workspace of that name", by.Org)
		}
	}
	var hash PasswordHash
	switch {
	case (i.Hash == "") == (i.Password == ""):
		return NewAccount{}, Invalid("password", "is needed, or a hash of one, and not both")
	case i.Hash != "":
		if hash, err = ParsePasswordHash(i.Hash); err != nil {
			return NewAccount{}, Invalid("password_hash", "must be argon2id, or bcrypt of cost %d to %d", minBcryptCost, maxBcryptCost)
		}
	default:
		if err := a.cfg.Passwords.Check("password", i.Username, i.Password); err != nil {
			return NewAccount{}, err
		}
	}
	_, _, taken, err := a.cfg.Store.UserByName(ctx, canonical)
	if err != nil {
		return NewAccount{}, Unavailable(err)
	}
	if taken {
		return NewAccount{}, Conflict("username %s is taken", i.Username)
	}
	u := User{
		ID: a.newUserID(), Username: i.Username, Role: role, Org: by.Org, Workspaces: slices.Compact(slices.Sorted(slices.Values(i.Workspaces))),
		Disabled: i.Disabled, MustChange: i.MustChange, Created: a.cfg.Now(),
	}
	return NewAccount{User: u, Hash: hash, Audit: by.Audit("user.create", u.ID, "imported "+u.Username+", "+string(role))}, nil
}
