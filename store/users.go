package store

import (
	"context"
	"errors"
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

// CreateUsers implements doorward.UserStore.
func (s *Store) CreateUsers(ctx context.Context, all []doorward.NewAccount) error {
	return s.writeAlone(ctx, "create users", func(ctx context.Context, t *tx) error {
		// In one order, so that two who create the same names do not wait for each other.
		all = slices.SortedFunc(slices.Values(all), func(a, b doorward.NewAccount) int {
			return strings.Compare(strings.ToLower(a.User.Username), strings.ToLower(b.User.Username))
		})
		var taken []string
		for _, n := range all {
			err := t.createUser(ctx, n.User, n.Hash, n.Audit)
			var e *doorward.Error
			if errors.As(err, &e) && e.Code == doorward.CodeConflict {
				taken = append(taken, n.User.Username)
				continue
			}
			if err != nil {
				return err
			}
		}
		switch {
		case len(taken) == 1:
			return doorward.Conflict("username %s is taken", taken[0])
		case len(taken) > 0:
			return doorward.Conflict("%d usernames are taken: %s", len(taken), strings.Join(taken, ", "))
		}
		return nil
	})
}

func (t *tx) createUser(ctx context.Context, u doorward.User, hash doorward.PasswordHash, a doorward.AuditEntry) error {
	password, err := onlyHash(hash)
	if err != nil {
		return t.failed(ctx, err)
	}
	return t.insertUser(ctx, u, password, a)
}

// insertUser is createUser with what is kept of the password: empty for none.
func (t *tx) insertUser(ctx context.Context, u doorward.User, password string, a doorward.AuditEntry) error {
	canonical, ok := doorward.CanonicalUsername(u.Username)
	if !ok {
		return doorward.Invalid("username", "is not one")
	}
	if there, err := t.lockOrganization(ctx, u.Org); err != nil {
		return err
	} else if !there {
		return doorward.NotFound("organization")
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
		// Who deletes it at this moment does so before or after.
		if _, err := t.lockWorkspace(ctx, u.Org, id); err != nil {
			return err
		}
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

// namesLooked is how many names a page of a search looks at beyond those that begin with
// what is searched for.
const namesLooked = 1000

// elsewhere begins a place in the second part of a search: after it comes a name. No
// username holds it.
const elsewhere = "~"

// Users implements doorward.UserStore.
func (s *Store) Users(ctx context.Context, q doorward.UserQuery) ([]doorward.User, string, error) {
	limit := min(max(q.Limit, 1), 1000)
	search := strings.ToLower(q.Search)
	if _, possible := doorward.CanonicalUsername(search); search != "" && !possible {
		return nil, "", nil // no name holds it
	}
	l := userList{asker: s.asker("list users"), org: q.Org, limit: limit}
	after, second := strings.CutPrefix(q.After, elsewhere)
	if search == "" || !second {
		if err := l.beginning(ctx, search, after); err != nil {
			return nil, "", err
		}
		switch {
		case len(l.users) > limit:
			last, _ := doorward.CanonicalUsername(l.users[limit-1].Username)
			return l.users[:limit], last, nil
		case search == "":
			return l.users, "", nil
		case len(l.users) == limit:
			return l.users, elsewhere, nil
		}
		after = ""
	}
	next, err := l.holding(ctx, search, after)
	if err != nil {
		return nil, "", err
	}
	return l.users, next, nil
}

// userList gathers a page of users.
type userList struct {
	asker
	org   string
	limit int
	users []doorward.User
}

func (l *userList) add(ctx context.Context, text string, args ...any) error {
	var r userRow
	return l.each(ctx, r.dest(), func() error {
		l.users = append(l.users, r.user())
		return nil
	}, text, args...)
}

// beginning adds whose name comes after the one given and begins with search: one more than
// the page holds, if there are so many.
func (l *userList) beginning(ctx context.Context, search, after string) error {
	const list = `SELECT ` + userColumns + ` FROM users u WHERE u.org = $1 AND u.canonical > $2`
	if search == "" {
		return l.add(ctx, list+` ORDER BY u.canonical LIMIT $3`, l.org, after, l.limit+1)
	}
	// Of the names from search on, those up to its successor begin with it: "ab" to "ac".
	return l.add(ctx, list+` AND u.canonical >= $3 AND u.canonical < $4 ORDER BY u.canonical LIMIT $5`,
		l.org, after, search, successor(search), l.limit+1)
}

// holding adds whose name comes after the one given and holds search elsewhere than at its
// beginning, and says where to go on. It looks at namesLooked names at most: no index
// finds a part of a name, and a list that is long must not make a page slow.
func (l *userList) holding(ctx context.Context, search, after string) (next string, err error) {
	var last string
	more, err := l.get(ctx, []any{&last}, `
		SELECT u.canonical FROM users u WHERE u.org = $1 AND u.canonical > $2
		ORDER BY u.canonical LIMIT 1 OFFSET $3`, l.org, after, namesLooked-1)
	if err != nil {
		return "", err
	}
	if !more {
		last = "\x7f" // beyond all names
	}
	room := l.limit - len(l.users)
	part := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(search)
	// LIKE is deaf to case on one engine and not on the other; canonical text is lower-case.
	err = l.add(ctx, `
		SELECT `+userColumns+` FROM users u
		WHERE u.org = $1 AND u.canonical > $2 AND u.canonical <= $3 AND u.canonical LIKE $4 ESCAPE '!'
			AND NOT (u.canonical >= $5 AND u.canonical < $6)
		ORDER BY u.canonical LIMIT $7`, l.org, after, last, "%"+part+"%", search, successor(search), room+1)
	switch {
	case err != nil:
		return "", err
	case len(l.users) > l.limit:
		l.users = l.users[:l.limit]
		last, _ = doorward.CanonicalUsername(l.users[l.limit-1].Username)
		return elsewhere + last, nil
	case more:
		return elsewhere + last, nil
	}
	return "", nil
}

// successor is the first text after all that begin with s, which is a part of a username.
func successor(s string) string { return s[:len(s)-1] + string(rune(s[len(s)-1])+1) }

// userAmong reads a user and the census beside it, and lets no other transaction change
// either before this one ends.
func (t *tx) userAmong(ctx context.Context, id string) (doorward.User, doorward.Census, bool, error) {
	if err := t.lockMeta(ctx); err != nil {
		return doorward.User{}, nil, false, err
	}
	u, found, err := t.lockedUser(ctx, id)
	if err != nil {
		return doorward.User{}, nil, false, err
	}
	// Counted for nobody too: how long it takes to be told that there is no such user must not
	// say whether there is one whom the caller may not know of.
	others := doorward.Census{}
	var role doorward.Role
	var n int
	err = t.each(ctx, []any{&role, &n}, func() error {
		others[role] += n
		return nil
	}, `SELECT role, count(*) FROM users WHERE disabled = 0 GROUP BY role`)
	if err == nil { // two counts, since each then reads an index alone
		err = t.each(ctx, []any{&role, &n}, func() error {
			others[role] -= n
			return nil
		}, `SELECT role, count(*) FROM users WHERE disabled = 0 AND password = '' GROUP BY role`)
	}
	var counted int
	if err == nil {
		_, err = t.get(ctx, []any{&counted}, `SELECT count(*) FROM users WHERE id = $1 AND disabled = 0 AND password <> ''`, id)
	}
	if err != nil || !found {
		return doorward.User{}, nil, false, err
	}
	others[u.Role] -= counted
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
