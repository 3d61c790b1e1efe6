package doorward

import (
	"context"
	"fmt"
)

// Organizations lists a page of all organizations, those whose id or name holds search,
// and where the next page begins (empty at the end). A page of a search looks at so many
// at most, and may be short though more follow. Superadmins only.
func (a *Authority) Organizations(ctx context.Context, by Caller, q PlaceQuery) ([]Organization, string, error) {
	if by.Role != Superadmin {
		return nil, "", ErrForbidden
	}
	all, next, err := a.cfg.Store.Organizations(ctx, q)
	if err != nil {
		return nil, "", Unavailable(err)
	}
	return all, next, nil
}

// CreateOrganization makes an organization and its workspace Default. Superadmins only.
// Without a name its id is its name.
func (a *Authority) CreateOrganization(ctx context.Context, by Caller, id, name string) (Organization, error) {
	if by.Role != Superadmin {
		return Organization{}, ErrForbidden
	}
	if name == "" {
		name = id
	}
	o := Organization{ID: id, Name: name, Created: a.cfg.Now()}
	if err := firstError(CheckSlug("id", id), CheckPlaceName("name", name)); err != nil {
		return Organization{}, err
	}
	if err := a.cfg.Store.CreateOrganization(context.WithoutCancel(ctx), o, by.Audit("organization.create", id, name).at(id)); err != nil {
		return Organization{}, Refusal(err)
	}
	a.heed(ctx)
	return o, nil
}

// RenameOrganization gives an organization another name; its id stays. Superadmins only.
func (a *Authority) RenameOrganization(ctx context.Context, by Caller, id, name string) (Organization, error) {
	if by.Role != Superadmin {
		return Organization{}, ErrForbidden
	}
	if err := CheckPlaceName("name", name); err != nil {
		return Organization{}, err
	}
	o, found, err := a.cfg.Store.RenameOrganization(context.WithoutCancel(ctx), id, name, by.Audit("organization.rename", id, name).at(id))
	switch {
	case err != nil:
		return Organization{}, Refusal(err)
	case !found:
		return Organization{}, NotFound("organization")
	}
	a.heed(ctx)
	return o, nil
}

// DeleteOrganization deletes an organization in which nobody is, with its workspaces.
// Superadmins only.
func (a *Authority) DeleteOrganization(ctx context.Context, by Caller, id string) error {
	if by.Role != Superadmin {
		return ErrForbidden
	}
	if id == Default {
		return Conflict("organization %s cannot be deleted: there is always one", Default)
	}
	found, err := a.cfg.Store.DeleteOrganization(context.WithoutCancel(ctx), id, func(in Occupants) error {
		return in.leave("organization", id)
	}, by.Audit("organization.delete", id, "").at(id))
	switch {
	case err != nil:
		return Refusal(err)
	case !found:
		return NotFound("organization")
	}
	a.heed(ctx)
	return nil
}

// Occupants is what is in an organization or a workspace that is to be deleted.
type Occupants struct {
	People int
	Keys   int // API keys that are not revoked
}

// leave refuses to let a place go that somebody or something is in.
func (in Occupants) leave(what, id string) error {
	count := func(n int, one, more string) string {
		if n == 1 {
			return "1 " + one
		}
		return fmt.Sprintf("%d %s", n, more)
	}
	people, keys := count(in.People, "person", "people"), count(in.Keys, "API key", "API keys")
	switch {
	case in.People > 0 && in.Keys > 0:
		return Conflict("%s %s cannot be deleted: %s and %s are in it", what, id, people, keys)
	case in.People > 1, in.Keys > 1:
		return Conflict("%s %s cannot be deleted: %s are in it", what, id, map[bool]string{true: people, false: keys}[in.People > 0])
	case in.People > 0:
		return Conflict("%s %s cannot be deleted: %s is in it", what, id, people)
	case in.Keys > 0:
		return Conflict("%s %s cannot be deleted: %s is in it", what, id, keys)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// heed reads what the caller has just changed, so that it holds on this node before
// anybody is told. Where it cannot be read now, Follow reads it.
func (a *Authority) heed(ctx context.Context) {
	if a.beside {
		return
	}
	if err := a.CatchUp(context.WithoutCancel(ctx)); err != nil {
		a.cfg.Log.WarnContext(ctx, "cannot read yet what was just changed", "err", err)
	}
}
