package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"doorward"
)

// CreateFirstUser implements doorward.UserStore.
func (s *Store) CreateFirstUser(ctx context.Context, u doorward.User, hash doorward.PasswordHash, a doorward.AuditEntry) (bool, error) {
	created := false
	err := s.write(ctx, "create the first user", func(ctx context.Context, t *tx) error {
		created = false
		if err := t.lockMeta(ctx); err != nil {
			return err
		}
		var one int64
		some, err := t.get(ctx, []any{&one}, `SELECT 1 FROM users LIMIT 1`)
		if err != nil || some {
			return err
		}
		if err := t.createUser(ctx, u, hash, a); err != nil {
			return err
		}
		created = true
		return nil
	})
	return created && err == nil, err
}

// CreateUser implements doorward.UserStore.
func (s *Store) CreateUser(ctx context.Context, u doorward.User, hash doorward.PasswordHash, a doorward.AuditEntry) error {
	return s.write(ctx, "create a user", func(ctx context.Context, t *tx) error {
		return t.createUser(ctx, u, hash, a)
	})
}

func (t *tx) createUser(ctx context.Context, u doorward.User, hash doorward.PasswordHash, a doorward.AuditEntry) error {
	password, err := onlyHash(hash)
	if err != nil {
		return t.failed(ctx, err)
	}
	canonical, ok := doorward.CanonicalUsername(u.Username)
	if !ok {
		return doorward.Invalid("username", "is not one")
	}
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	n, err := t.exec(ctx, `
		INSERT INTO users (id, username, canonical, password, role, org, disabled, must_change, version, created, updated)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		ON CONFLICT (canonical) DO NOTHING`,
		u.ID, u.Username, canonical, password, string(u.Role), u.Org, bit(u.Disabled), bit(u.MustChange), u.Version,
		millis(u.Created), millis(now))
	if err != nil {
		return err
	}
	if n == 0 {
		return doorward.Conflict("username %s is taken", u.Username)
	}
	if err := t.join(ctx, u); err != nil {
		return err
	}
	// Whoever made the first user, and however: from now on the door is never open.
	if err := t.markInitialised(ctx); err != nil {
		return err
	}
	return t.audit(ctx, now, a)
}

// join makes u a member of its workspaces.
func (t *tx) join(ctx context.Context, u doorward.User) error {
	for _, id := range distinct(u.Workspaces) {
		n, err := t.exec(ctx, `
			INSERT INTO memberships (user_id, org, workspace)
			SELECT $1, org, id FROM workspaces WHERE org = $2 AND id = $3`, u.ID, u.Org, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return doorward.Invalid("workspaces", "there is no workspace of that name")
		}
	}
	return nil
}

// distinct returns ids sorted, each once.
func distinct(ids []string) []string { return slices.Compact(slices.Sorted(slices.Values(ids))) }

// userColumns are what userRow reads.
const userColumns = `u.id, u.username, u.role, u.org, u.disabled, u.must_change, u.version, u.created,
	coalesce((SELECT string_agg(m.workspace, ',') FROM memberships m WHERE m.user_id = u.id), '')`

// userRow is a row of userColumns.
type userRow struct {
	doorward.User
	created    int64
	workspaces doorward.Workspaces
}

func (r *userRow) dest() []any {
	return []any{&r.ID, &r.Username, &r.Role, &r.Org, &r.Disabled, &r.MustChange, &r.Version, &r.created, &r.workspaces}
}

func (r *userRow) user() doorward.User {
	u := r.User
	u.Created, u.Workspaces = fromMillis(r.created), r.workspaces.List()
	slices.Sort(u.Workspaces)
	return u
}

// User implements doorward.UserStore.
func (s *Store) User(ctx context.Context, id string) (doorward.User, bool, error) {
	return s.asker("read a user").user(ctx, id)
}

func (a asker) user(ctx context.Context, id string) (doorward.User, bool, error) {
	var r userRow
	found, err := a.get(ctx, r.dest(), `SELECT `+userColumns+` FROM users u WHERE u.id = $1`, id)
	return r.user(), found, err
}

// lockedUser reads a user that no other transaction can change before this one ends. The
// lock comes first: a SELECT that waits for it sees the user as it became and the user's
// memberships as they were.
func (t *tx) lockedUser(ctx context.Context, id string) (doorward.User, bool, error) {
	if t.engine.rowLock != "" {
		var one int64
		if _, err := t.get(ctx, []any{&one}, `SELECT 1 FROM users WHERE id = $1`+t.engine.rowLock, id); err != nil {
			return doorward.User{}, false, err
		}
	}
	return t.user(ctx, id)
}

// UserByName implements doorward.UserStore.
func (s *Store) UserByName(ctx context.Context, canonical string) (doorward.User, doorward.PasswordHash, bool, error) {
	a := s.asker("read a user")
	var r userRow
	var password string
	found, err := a.get(ctx, append(r.dest(), &password), `
		SELECT `+userColumns+`, u.password FROM users u WHERE u.canonical = $1`, canonical)
	if err != nil || !found {
		return doorward.User{}, "", false, err
	}
	if password == "" {
		return r.user(), "", true, nil
	}
	hash, err := doorward.ParsePasswordHash(password)
	if err != nil {
		return doorward.User{}, "", false, a.failed(ctx, errNotHash)
	}
	return r.user(), hash, true, nil
}

// Users implements doorward.UserStore.
func (s *Store) Users(ctx context.Context, q doorward.UserQuery) ([]doorward.User, error) {
	var users []doorward.User
	var r userRow
	// LIKE is deaf to case on one engine and not on the other; canonical text is lower-case.
	part := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(strings.ToLower(q.Search))
	err := s.asker("list users").each(ctx, r.dest(), func() error {
		users = append(users, r.user())
		return nil
	}, `
		SELECT `+userColumns+` FROM users u
		WHERE u.org = $1 AND u.canonical > $2 AND u.canonical LIKE $3 ESCAPE '!'
		ORDER BY u.canonical LIMIT $4`,
		q.Org, q.After, "%"+part+"%", min(max(q.Limit, 1), 1000))
	if err != nil {
		return nil, err
	}
	return users, nil
}

// userAmong reads a user and the census beside it, and lets no other transaction change
// either before this one ends.
func (t *tx) userAmong(ctx context.Context, id string) (doorward.User, doorward.Census, bool, error) {
	if err := t.lockMeta(ctx); err != nil {
		return doorward.User{}, nil, false, err
	}
	u, found, err := t.lockedUser(ctx, id)
	if err != nil || !found {
		return doorward.User{}, nil, false, err
	}
	others := doorward.Census{}
	var role doorward.Role
	var n int
	err = t.each(ctx, []any{&role, &n}, func() error {
		others[role] = n
		return nil
	}, `SELECT role, count(*) FROM users WHERE disabled = 0 GROUP BY role`)
	if err != nil {
		return doorward.User{}, nil, false, err
	}
	if !u.Disabled {
		others[u.Role]--
	}
	return u, others, true, nil
}

// ChangeUser implements doorward.UserStore. What changes nothing leaves no trace.
func (s *Store) ChangeUser(ctx context.Context, id string, change func(u doorward.User, others doorward.Census) (doorward.User, error), a doorward.AuditEntry) (doorward.User, []doorward.EndedSession, bool, error) {
	var after doorward.User
	var ended []doorward.EndedSession
	var found bool
	err := s.write(ctx, "change a user", func(ctx context.Context, t *tx) error {
		ended = nil
		before, others, ok, err := t.userAmong(ctx, id)
		if found = ok; err != nil || !ok {
			return err
		}
		given := before
		given.Workspaces = slices.Clone(before.Workspaces) // change may sort or cut it in place
		wanted, err := change(given, others)
		if err != nil {
			return err
		}
		after = before
		after.Role, after.Disabled, after.MustChange = wanted.Role, wanted.Disabled, wanted.MustChange
		after.Workspaces = distinct(wanted.Workspaces)
		moved := !slices.Equal(after.Workspaces, before.Workspaces)
		grave := moved || after.Role != before.Role || after.Disabled != before.Disabled
		if !grave && after.MustChange == before.MustChange {
			return nil
		}
		if grave {
			after.Version++
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `
			UPDATE users SET role = $1, disabled = $2, must_change = $3, version = $4, updated = $5 WHERE id = $6`,
			string(after.Role), bit(after.Disabled), bit(after.MustChange), after.Version, millis(now), id)
		if err != nil {
			return err
		}
		if moved {
			if _, err := t.exec(ctx, `DELETE FROM memberships WHERE user_id = $1`, id); err != nil {
				return err
			}
			if err := t.join(ctx, after); err != nil {
				return err
			}
			if err := t.orphanKeys(ctx, id, now); err != nil {
				return err
			}
		}
		if grave {
			if ended, err = t.endUsersSessions(ctx, id, "", doorward.EndUserChanged, now); err != nil {
				return err
			}
		}
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return doorward.User{}, nil, false, err
	}
	return after, ended, true, nil
}

// DeleteUser implements doorward.UserStore.
func (s *Store) DeleteUser(ctx context.Context, id string, check func(u doorward.User, others doorward.Census) error, a doorward.AuditEntry) ([]doorward.EndedSession, bool, error) {
	var ended []doorward.EndedSession
	var found bool
	err := s.write(ctx, "delete a user", func(ctx context.Context, t *tx) error {
		u, others, ok, err := t.userAmong(ctx, id)
		if found = ok; err != nil || !ok {
			return err
		}
		if err := check(u, others); err != nil {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		// Before the user goes, since its keys go with it.
		if ended, err = t.endUsersSessions(ctx, id, "", doorward.EndUserDeleted, now); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM users WHERE id = $1`, id); err != nil {
			return err
		}
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return nil, false, err
	}
	return ended, true, nil
}

// endUsersSessions ends all that user id has begun, in person or through a key, but keep.
func (t *tx) endUsersSessions(ctx context.Context, id, keep, reason string, now time.Time) ([]doorward.EndedSession, error) {
	if err := t.ownerChanged(ctx, id); err != nil {
		return nil, err
	}
	// Also those past their end: a clock that jumped ahead and back must not revive them.
	return t.ended(ctx, `
		UPDATE sessions SET ended = $1, end_reason = $2
		WHERE ended = 0 AND id <> $3 AND credential IN (
			SELECT id FROM users WHERE id = $4 UNION ALL SELECT id FROM api_keys WHERE owner = $4)
		RETURNING id, access_until`, millis(now), reason, keep, id)
}
