package doorward

import (
	"context"
	"fmt"
)

// Identity is who u is to the door, with an access token of theirs and before it is said where
// they ask to act.
func (u User) Identity() Identity {
	return Identity{
		Kind: KindUser, Subject: u.ID, Username: u.Username, Role: u.Role, Org: u.Org,
		Workspaces: JoinWorkspaces(u.Workspaces), Via: ViaAccessToken, MustChange: u.MustChange,
	}
}

// AnybodyWith is a person with this role of whom nothing else is known.
func AnybodyWith(role Role, org string, workspaces Workspaces) Identity {
	return Identity{Kind: KindUser, Subject: "anybody", Username: "anybody", Role: role, Org: org, Workspaces: workspaces, Via: ViaAccessToken}
}

// WhoWouldBe finds who the user, the API token or the operator's key of that name would be to the
// door: for by, who must manage them, or be a superadmin. Whom by may not ask about is not found.
func (a *Authority) WhoWouldBe(ctx context.Context, by Caller, name string) (Identity, error) {
	if !by.Role.AtLeast(Admin) {
		return Identity{}, ErrForbidden
	}
	for _, c := range a.credentials.byID {
		if c.Name == name && name != "" && (by.Role == Superadmin || by.Manages(User{Org: c.Org, Role: c.Role, Workspaces: c.Workspaces.List()}) == nil) {
			return c.identity(), nil
		}
	}
	var u User
	canonical, found := CanonicalUsername(name)
	if found {
		var err error
		if u, _, found, err = a.cfg.Store.UserByName(ctx, canonical); err != nil {
			return Identity{}, Unavailable(err)
		}
	}
	switch {
	case !found, by.Role != Superadmin && by.Manages(u) != nil:
		return Identity{}, a.refuse(ctx, by.Audit("user.explain", u.ID, ""), NotFound("user"))
	case u.Disabled:
		return Identity{}, Conflict("%s", DisabledWords(u))
	}
	return u.Identity(), nil
}

// DisabledWords says what the door makes of a user who is disabled.
func DisabledWords(u User) string {
	return fmt.Sprintf("%s is disabled: no credential of theirs is accepted (401)", u.Username)
}
