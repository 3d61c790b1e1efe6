package doorward

import (
	"context"
	"slices"
)

// Workspaces lists a page of the workspaces of the organization that the request acts in,
// as Organizations does. Admins see all of their organization's; what they may do in them is another matter.
func (a *Authority) Workspaces(ctx context.Context, by Caller, q PlaceQuery) ([]Workspace, string, error) {
	if !by.Role.AtLeast(Admin) {
		return nil, "", ErrForbidden
	}
	q.Org = by.Org
	all, next, err := a.cfg.Store.Workspaces(ctx, q)
	if err != nil {
		return nil, "", Unavailable(err)
	}
	return all, next, nil
}

// CreateWorkspace makes a workspace of the organization that the request acts in. An admin
// becomes its member, which ends the admin's sessions as every change of membership does: a token says which workspaces
// there were. A machine cannot become one, so it needs to be a superadmin's. Without a name its id is its name.
func (a *Authority) CreateWorkspace(ctx context.Context, by Caller, id, name string) (Workspace, error) {
	member := ""
	switch {
	case by.Role == Superadmin:
	case by.Role == Admin && by.Kind == KindUser:
		member = by.Subject
	default:
		return Workspace{}, ErrForbidden
	}
	if name == "" {
		name = id
	}
	if err := firstError(CheckSlug("id", id), CheckPlaceName("name", name)); err != nil {
		return Workspace{}, err
	}
	w := Workspace{Org: by.Org, ID: id, Name: name, Created: a.cfg.Now()}
	still := func(u User) error {
		if u.Disabled || u.Org != by.Org || !u.Role.AtLeast(Admin) {
			return ErrForbidden
		}
		return nil
	}
	ended, err := a.cfg.Store.CreateWorkspace(context.WithoutCancel(ctx), w, member, still, by.Audit("workspace.create", id, name))
	if err != nil {
		return Workspace{}, Refusal(err)
	}
	a.revoke(ended...)
	a.heed(ctx)
	return w, nil
}

// RenameWorkspace gives a workspace another name; its id stays.
func (a *Authority) RenameWorkspace(ctx context.Context, by Caller, id, name string) (Workspace, error) {
	if err := CheckPlaceName("name", name); err != nil {
		return Workspace{}, err
	}
	if err := a.mayIn(ctx, by, id); err != nil {
		return Workspace{}, a.refuse(ctx, by.Audit("workspace.rename", id, name), err)
	}
	w, found, err := a.cfg.Store.RenameWorkspace(context.WithoutCancel(ctx), by.Org, id, name, by.Audit("workspace.rename", id, name))
	switch {
	case err != nil:
		return Workspace{}, Refusal(err)
	case !found:
		return Workspace{}, NotFound("workspace")
	}
	return w, nil
}

// DeleteWorkspace deletes a workspace in which nobody is but its admin who asks for it and who is
// in another one too; that admin's membership, and so their sessions, end with it.
func (a *Authority) DeleteWorkspace(ctx context.Context, by Caller, id string) error {
	if err := a.mayIn(ctx, by, id); err != nil {
		return a.refuse(ctx, by.Audit("workspace.delete", id, ""), err)
	}
	if id == Default {
		return Conflict("workspace %s cannot be deleted: there is always one", Default)
	}
	for _, c := range a.credentials.byID {
		if c.Org == by.Org && c.Workspaces.Has(id) {
			return Conflict("workspace %s cannot be deleted: an API token of the settings is in it", id)
		}
	}
	leaving := ""
	if by.Kind == KindUser {
		leaving = by.Subject
	}
	ended, found, err := a.cfg.Store.DeleteWorkspace(context.WithoutCancel(ctx), by.Org, id, leaving, func(in Occupants) error {
		return in.leave("workspace", id)
	}, by.Audit("workspace.delete", id, ""))
	switch {
	case err != nil:
		return Refusal(err)
	case !found:
		return NotFound("workspace")
	}
	a.revoke(ended...)
	a.heed(ctx)
	return nil
}

// FindWorkspace reads a workspace of the organization that the request acts in, as Workspaces lists it.
func (a *Authority) FindWorkspace(ctx context.Context, by Caller, id string) (Workspace, error) {
	if !by.Role.AtLeast(Admin) {
		return Workspace{}, ErrForbidden
	}
	w, found, err := a.cfg.Store.Workspace(ctx, by.Org, id)
	switch {
	case err != nil:
		return Workspace{}, Unavailable(err)
	case !found:
		return Workspace{}, NotFound("workspace")
	}
	return w, nil
}

// mayIn decides whether by manages the workspace: one that is not there is not found, one of
// their organization that they are no member of is refused.
func (a *Authority) mayIn(ctx context.Context, by Caller, id string) error {
	if _, err := a.FindWorkspace(ctx, by, id); err != nil {
		return err
	}
	if !by.Reaches(id) {
		return ErrForbidden
	}
	return nil
}

// Members lists a page of the people in a workspace, ordered by their ids, and where the next page begins.
func (a *Authority) Members(ctx context.Context, by Caller, workspace, after string, limit int) ([]User, string, error) {
	if _, err := a.FindWorkspace(ctx, by, workspace); err != nil {
		return nil, "", err
	}
	users, err := a.cfg.Store.Members(ctx, MemberQuery{Org: by.Org, Workspace: workspace, After: after, Limit: limit + 1})
	if err != nil {
		return nil, "", Unavailable(err)
	}
	if len(users) <= limit {
		return users, "", nil
	}
	return users[:limit], users[limit-1].ID, nil
}

// AddMember makes a user of the organization a member of a workspace, which ends the user's
// sessions. The caller must manage both: the workspace and the user as they are.
func (a *Authority) AddMember(ctx context.Context, by Caller, workspace, user string) (User, error) {
	gives := a.unlimited(ctx, by)
	return a.changeMembers(ctx, by, workspace, user, "workspace.join", func(u User) (User, error) {
		if !slices.Contains(u.Workspaces, workspace) {
			if gives != nil {
				return u, gives
			}
			u.Workspaces = append(u.Workspaces, workspace)
		}
		return u, nil
	})
}

// RemoveMember takes a user out of a workspace, which ends the user's sessions. Nobody is
// taken out of their last one: that is what disabling and deleting are for.
func (a *Authority) RemoveMember(ctx context.Context, by Caller, workspace, user string) error {
	_, err := a.changeMembers(ctx, by, workspace, user, "workspace.leave", func(u User) (User, error) {
		i := slices.Index(u.Workspaces, workspace)
		switch {
		case i < 0:
			return u, NotFound("member")
		case len(u.Workspaces) == 1:
			return u, Conflict("%s is in no other workspace; disable or delete the account instead", u.Username)
		}
		u.Workspaces = slices.Delete(u.Workspaces, i, i+1)
		return u, nil
	})
	return err
}

func (a *Authority) changeMembers(ctx context.Context, by Caller, workspace, user, action string, change func(User) (User, error)) (User, error) {
	entry := by.Audit(action, user, workspace)
	if err := a.mayIn(ctx, by, workspace); err != nil {
		entry.Detail = idOrNothing(workspace)
		return User{}, a.refuse(ctx, entry, err)
	}
	u, ended, found, err := a.cfg.Store.ChangeUser(context.WithoutCancel(ctx), user, func(u User, _ Census) (User, error) {
		if err := by.Manages(u); err != nil {
			return u, err
		}
		return change(u)
	}, entry)
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
