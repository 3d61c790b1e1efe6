package store

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorward"
)

// Places implements doorward.TenancyStore.
func (s *Store) Places(ctx context.Context, org string, yield func(doorward.Organization, []string) error) error {
	var now, o doorward.Organization
	var created int64
	var workspace *string
	var workspaces []string
	text := `
		SELECT o.id, o.name, o.created, w.id FROM organizations o LEFT JOIN workspaces w ON w.org = o.id
		ORDER BY o.id, w.id`
	var args []any
	if org != "" {
		text = `
			SELECT o.id, o.name, o.created, w.id FROM organizations o LEFT JOIN workspaces w ON w.org = o.id
			WHERE o.id = $1 ORDER BY w.id`
		args = []any{org}
	}
	err := s.asker("list organizations and workspaces").each(ctx, []any{&now.ID, &now.Name, &created, &workspace}, func() error {
		if now.ID != o.ID && o.ID != "" {
			if err := yield(o, workspaces); err != nil {
				return err
			}
			workspaces = nil
		}
		o, o.Created = now, fromMillis(created)
		if workspace != nil {
			workspaces = append(workspaces, *workspace)
		}
		return nil
	}, text, args...)
	if err != nil || o.ID == "" {
		return err
	}
	return yield(o, workspaces)
}

// placesLooked is how many places a page of a search looks at: as many as take a few milliseconds.
const placesLooked = 1000

// found reports whether a place is one that a search is for.
func found(search, id, name string) bool {
	search = strings.ToLower(search)
	return strings.Contains(id, search) || strings.Contains(strings.ToLower(name), search)
}

// lookedAt is how many rows a query must read to fill a page or to be at the end of its look.
func lookedAt(search string, limit int) int {
	limit = min(max(limit, 1), 1000)
	if search != "" {
		return max(placesLooked, limit)
	}
	return limit + 1
}

// page cuts what was looked at down to a page: those wanted, limit at most, and the id after
// which the next page begins. looked is how many rows were to be read.
func page[T any](rows []T, limit, looked int, want func(T) bool, id func(T) string) ([]T, string) {
	limit = min(max(limit, 1), 1000)
	var all []T
	for i, r := range rows {
		if !want(r) {
			continue
		}
		if len(all) == limit {
			return all, id(rows[i-1])
		}
		all = append(all, r)
	}
	if len(rows) < looked {
		return all, ""
	}
	return all, id(rows[len(rows)-1])
}

// Organizations implements doorward.TenancyStore.
func (s *Store) Organizations(ctx context.Context, q doorward.PlaceQuery) ([]doorward.Organization, string, error) {
	var rows []doorward.Organization
	var o doorward.Organization
	var created int64
	looked := lookedAt(q.Search, q.Limit)
	err := s.asker("list organizations").each(ctx, []any{&o.ID, &o.Name, &created}, func() error {
		o.Created = fromMillis(created)
		rows = append(rows, o)
		return nil
	}, `SELECT id, name, created FROM organizations WHERE id > $1 ORDER BY id LIMIT $2`, q.After, looked)
	if err != nil {
		return nil, "", err
	}
	all, next := page(rows, q.Limit, looked,
		func(o doorward.Organization) bool { return found(q.Search, o.ID, o.Name) },
		func(o doorward.Organization) string { return o.ID })
	return all, next, nil
}

// Workspaces implements doorward.TenancyStore.
func (s *Store) Workspaces(ctx context.Context, q doorward.PlaceQuery) ([]doorward.Workspace, string, error) {
	var rows []doorward.Workspace
	w := doorward.Workspace{Org: q.Org}
	var created int64
	looked := lookedAt(q.Search, q.Limit)
	err := s.asker("list workspaces").each(ctx, []any{&w.ID, &w.Name, &created}, func() error {
		w.Created = fromMillis(created)
		rows = append(rows, w)
		return nil
	}, `SELECT id, name, created FROM workspaces WHERE org = $1 AND id > $2 ORDER BY id LIMIT $3`, q.Org, q.After, looked)
	if err != nil {
		return nil, "", err
	}
	all, next := page(rows, q.Limit, looked,
		func(w doorward.Workspace) bool { return found(q.Search, w.ID, w.Name) },
		func(w doorward.Workspace) string { return w.ID })
	return all, next, nil
}

// moved lets the other nodes know that something of org has changed.
func (t *tx) moved(org string) {
	t.changed(doorward.Change{What: doorward.PlacesChanged, Target: org})
}

// CreateOrganization implements doorward.TenancyStore.
func (s *Store) CreateOrganization(ctx context.Context, o doorward.Organization, a doorward.AuditEntry) error {
	return s.write(ctx, "create an organization", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if err := doorward.CheckSlug("id", o.ID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `
			INSERT INTO organizations (id, name, created) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`,
			o.ID, o.Name, millis(o.Created))
		if err != nil {
			return err
		}
		if n == 0 {
			return doorward.Conflict("organization %s exists", o.ID)
		}
		w := doorward.Workspace{Org: o.ID, ID: doorward.Default, Name: doorward.Default, Created: o.Created}
		if _, err := t.insertWorkspace(ctx, w); err != nil {
			return err
		}
		t.moved(o.ID)
		return t.audit(ctx, now, a)
	})
}

func (t *tx) insertWorkspace(ctx context.Context, w doorward.Workspace) (int64, error) {
	return t.exec(ctx, `
		INSERT INTO workspaces (org, id, name, created) VALUES ($1, $2, $3, $4) ON CONFLICT (org, id) DO NOTHING`,
		w.Org, w.ID, w.Name, millis(w.Created))
}

// RenameOrganization implements doorward.TenancyStore.
func (s *Store) RenameOrganization(ctx context.Context, id, name string, a doorward.AuditEntry) (doorward.Organization, bool, error) {
	var o doorward.Organization
	var found bool
	err := s.write(ctx, "rename an organization", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var created int64
		o = doorward.Organization{ID: id, Name: name}
		found, err = t.get(ctx, []any{&created}, `UPDATE organizations SET name = $1 WHERE id = $2 RETURNING created`, name, id)
		if err != nil || !found {
			return err
		}
		o.Created = fromMillis(created)
		t.moved(id)
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return doorward.Organization{}, false, err
	}
	return o, true, nil
}

// lockOrganization reports whether there is such an organization, which then stays until
// the transaction ends.
func (t *tx) lockOrganization(ctx context.Context, id string) (bool, error) {
	var one int64
	return t.get(ctx, []any{&one}, `SELECT 1 FROM organizations WHERE id = $1`+t.engine.rowLock, id)
}

// lockWorkspace is lockOrganization for a workspace.
func (t *tx) lockWorkspace(ctx context.Context, org, id string) (bool, error) {
	var one int64
	return t.get(ctx, []any{&one}, `SELECT 1 FROM workspaces WHERE org = $1 AND id = $2`+t.engine.rowLock, org, id)
}

// DeleteOrganization implements doorward.TenancyStore.
func (s *Store) DeleteOrganization(ctx context.Context, id string, check func(doorward.Occupants) error, a doorward.AuditEntry) (bool, error) {
	var found bool
	err := s.write(ctx, "delete an organization", func(ctx context.Context, t *tx) error {
		var err error
		if found, err = t.lockOrganization(ctx, id); err != nil || !found {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var in doorward.Occupants
		if _, err := t.get(ctx, []any{&in.People}, `SELECT count(*) FROM users WHERE org = $1`, id); err != nil {
			return err
		}
		if _, err := t.get(ctx, []any{&in.Keys}, `SELECT count(*) FROM api_keys WHERE org = $1 AND revoked = 0`, id); err != nil {
			return err
		}
		if err := check(in); err != nil {
			return err
		}
		for _, text := range []string{
			`DELETE FROM api_keys WHERE org = $1`, // revoked ones
			`DELETE FROM workspaces WHERE org = $1`,
			`DELETE FROM organizations WHERE id = $1`,
		} {
			if _, err := t.exec(ctx, text, id); err != nil {
				return err
			}
		}
		t.moved(id)
		return t.audit(ctx, now, a)
	})
	return found && err == nil, err
}

// Workspace implements doorward.TenancyStore.
func (s *Store) Workspace(ctx context.Context, org, id string) (doorward.Workspace, bool, error) {
	w := doorward.Workspace{Org: org, ID: id}
	var created int64
	found, err := s.asker("read a workspace").get(ctx, []any{&w.Name, &created}, `SELECT name, created FROM workspaces WHERE org = $1 AND id = $2`, org, id)
	if err != nil || !found {
		return doorward.Workspace{}, false, err
	}
	w.Created = fromMillis(created)
	return w, true, nil
}

// CreateWorkspace implements doorward.TenancyStore.
func (s *Store) CreateWorkspace(ctx context.Context, w doorward.Workspace, member string, check func(doorward.User) error, a doorward.AuditEntry) ([]doorward.EndedSession, error) {
	var ended []doorward.EndedSession
	err := s.write(ctx, "create a workspace", func(ctx context.Context, t *tx) error {
		ended = nil
		if err := doorward.CheckSlug("id", w.ID); err != nil {
			return err
		}
		var u doorward.User
		if member != "" { // people before places, as who changes one locks them
			var found bool
			var err error
			if u, found, err = t.lockedUser(ctx, member); err != nil {
				return err
			}
			if !found {
				return doorward.NotFound("user")
			}
			if err := check(u); err != nil {
				return err
			}
		}
		found, err := t.lockOrganization(ctx, w.Org)
		if err != nil {
			return err
		}
		if !found {
			return doorward.NotFound("organization")
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		n, err := t.insertWorkspace(ctx, w)
		if err != nil {
			return err
		}
		if n == 0 {
			return doorward.Conflict("workspace %s exists", w.ID)
		}
		if member != "" {
			u.Workspaces = []string{w.ID}
			if err := t.join(ctx, u); err != nil {
				return err
			}
			if ended, err = t.membershipChanged(ctx, member, now); err != nil {
				return err
			}
		}
		t.moved(w.Org)
		return t.audit(ctx, now, a)
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// RenameWorkspace implements doorward.TenancyStore. Its name is read by nobody but who lists it.
func (s *Store) RenameWorkspace(ctx context.Context, org, id, name string, a doorward.AuditEntry) (doorward.Workspace, bool, error) {
	var w doorward.Workspace
	var found bool
	err := s.write(ctx, "rename a workspace", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var created int64
		found, err = t.get(ctx, []any{&created}, `UPDATE workspaces SET name = $1 WHERE org = $2 AND id = $3 RETURNING created`, name, org, id)
		if err != nil || !found {
			return err
		}
		w = doorward.Workspace{Org: org, ID: id, Name: name, Created: fromMillis(created)}
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return doorward.Workspace{}, false, err
	}
	return w, true, nil
}

// DeleteWorkspace implements doorward.TenancyStore.
func (s *Store) DeleteWorkspace(ctx context.Context, org, id, leaving string, check func(doorward.Occupants) error, a doorward.AuditEntry) ([]doorward.EndedSession, bool, error) {
	var ended []doorward.EndedSession
	var found bool
	err := s.write(ctx, "delete a workspace", func(ctx context.Context, t *tx) error {
		ended = nil
		leaves := false
		if leaving != "" { // people before places
			u, known, err := t.lockedUser(ctx, leaving)
			if err != nil {
				return err
			}
			leaves = known && u.Org == org && len(u.Workspaces) > 1 && slices.Contains(u.Workspaces, id)
		}
		var err error
		if found, err = t.lockWorkspace(ctx, org, id); err != nil || !found {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var in doorward.Occupants
		if _, err := t.get(ctx, []any{&in.People}, `SELECT count(*) FROM memberships WHERE org = $1 AND workspace = $2`, org, id); err != nil {
			return err
		}
		if leaves {
			in.People--
		}
		if _, err := t.get(ctx, []any{&in.Keys}, `SELECT count(*) FROM api_keys WHERE org = $1 AND workspace = $2 AND revoked = 0`, org, id); err != nil {
			return err
		}
		if err := check(in); err != nil {
			return err
		}
		if leaves {
			if _, err := t.exec(ctx, `DELETE FROM memberships WHERE user_id = $1 AND org = $2 AND workspace = $3`, leaving, org, id); err != nil {
				return err
			}
			if ended, err = t.membershipChanged(ctx, leaving, now); err != nil {
				return err
			}
		}
		for _, text := range []string{
			`DELETE FROM api_keys WHERE org = $1 AND workspace = $2`, // revoked ones
			`DELETE FROM workspaces WHERE org = $1 AND id = $2`,
		} {
			if _, err := t.exec(ctx, text, org, id); err != nil {
				return err
			}
		}
		t.moved(org)
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return nil, false, err
	}
	return ended, true, nil
}

// membershipChanged does what every change of a user's memberships does beside it.
func (t *tx) membershipChanged(ctx context.Context, user string, now time.Time) ([]doorward.EndedSession, error) {
	if _, err := t.exec(ctx, `UPDATE users SET version = version + 1, updated = $1 WHERE id = $2`, millis(now), user); err != nil {
		return nil, err
	}
	return t.endUsersSessions(ctx, user, "", doorward.EndUserChanged, now)
}

// membersPage is the most that a page of members holds.
const membersPage = 101

// membersText reads the users whose ids are given, membersPage of them. To join them with the
// memberships would leave it to who plans, who cannot know how few they are and reads all users.
var membersText = func() string {
	var b strings.Builder
	b.WriteString(`SELECT ` + userColumns + ` FROM users u WHERE u.id IN (`)
	for i := range membersPage {
		b.WriteString([]string{"$", ", $"}[min(i, 1)] + strconv.Itoa(i+1))
	}
	return b.String() + ")"
}()

// Members implements doorward.TenancyStore. Who goes between the two readings is not listed.
func (s *Store) Members(ctx context.Context, q doorward.MemberQuery) ([]doorward.User, error) {
	var id string
	ids := make([]any, 0, membersPage)
	a := s.asker("list the people in a workspace")
	err := a.each(ctx, []any{&id}, func() error {
		ids = append(ids, id)
		return nil
	}, `SELECT user_id FROM memberships WHERE org = $1 AND workspace = $2 AND user_id > $3 ORDER BY user_id LIMIT $4`,
		q.Org, q.Workspace, q.After, min(max(q.Limit, 1), membersPage))
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	for len(ids) < membersPage {
		ids = append(ids, "") // nobody's
	}
	var users []doorward.User
	var r userRow
	err = a.each(ctx, r.dest(), func() error {
		users = append(users, r.user())
		return nil
	}, membersText, ids...)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(users, func(a, b doorward.User) int { return strings.Compare(a.ID, b.ID) })
	return users, nil
}
