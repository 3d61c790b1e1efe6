package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"strings"
	"time"

	"doorward"
)

// keyColumns are what keyRow reads of keyTables.
const keyColumns = `k.id, k.sha256, k.prefix, k.name, k.role, k.org, k.workspace, coalesce(k.owner, ''), k.client_ids, k.created,
	k.expires, k.last_used, k.revoked, coalesce(k.rotated_to, ''), k.overlap_until,
	coalesce(u.id, ''), coalesce(u.username, ''), coalesce(u.role, ''), coalesce(u.org, ''), coalesce(u.disabled, 0), coalesce(u.version, 0),
	coalesce((SELECT string_agg(m.workspace, ',') FROM memberships m WHERE m.user_id = k.owner), '')`

const keyTables = ` FROM api_keys k LEFT JOIN users u ON u.id = k.owner `

// keyRow is a row of keyColumns.
type keyRow struct {
	doorward.Key
	hash                                            []byte
	clients                                         string
	created, expires, lastUsed, revoked, overlapEnd int64
	holder                                          doorward.User
	workspaces                                      doorward.Workspaces
}

func (r *keyRow) dest() []any {
	h := &r.holder
	return []any{
		&r.ID, &r.hash, &r.Prefix, &r.Name, &r.Role, &r.Org, &r.Workspace, &r.Owner, &r.clients, &r.created,
		&r.expires, &r.lastUsed, &r.revoked, &r.RotatedTo, &r.overlapEnd,
		&h.ID, &h.Username, &h.Role, &h.Org, &h.Disabled, &h.Version, &r.workspaces,
	}
}

func (r *keyRow) state() doorward.KeyState {
	k := doorward.KeyState{Key: r.Key, Holder: r.holder}
	copy(k.Hash[:], r.hash)
	if r.clients != "" {
		k.ClientIDs = strings.Split(r.clients, ",")
	}
	k.Created, k.Expires, k.LastUsed = fromMillis(r.created), fromMillis(r.expires), fromMillis(r.lastUsed)
	k.Revoked, k.OverlapUntil = fromMillis(r.revoked), fromMillis(r.overlapEnd)
	k.Holder.Workspaces = r.workspaces.List()
	slices.Sort(k.Holder.Workspaces)
	return k
}

// Key implements doorward.KeyStore.
func (s *Store) Key(ctx context.Context, id string) (doorward.KeyState, bool, error) {
	return s.asker("read an API key").key(ctx, id)
}

func (a asker) key(ctx context.Context, id string) (doorward.KeyState, bool, error) {
	var r keyRow
	found, err := a.get(ctx, r.dest(), `SELECT `+keyColumns+keyTables+`WHERE k.id = $1`, id)
	if err != nil || !found {
		return doorward.KeyState{}, false, err
	}
	return r.state(), true, nil
}

// lockedKey reads a key that is not revoked, with its owner, neither of which another
// transaction can change before this one ends. The owner is locked first, as by who changes
// or deletes them, whose keys come after.
func (t *tx) lockedKey(ctx context.Context, id string) (doorward.KeyState, bool, error) {
	if t.engine.rowLock != "" {
		var owner string
		var one int64
		found, err := t.get(ctx, []any{&owner}, `SELECT coalesce(owner, '') FROM api_keys WHERE id = $1`, id)
		if err == nil && found && owner != "" {
			_, err = t.get(ctx, []any{&one}, `SELECT 1 FROM users WHERE id = $1`+t.engine.rowLock, owner)
		}
		if err == nil && found {
			_, err = t.get(ctx, []any{&one}, `SELECT 1 FROM api_keys WHERE id = $1`+t.engine.rowLock, id)
		}
		if err != nil || !found {
			return doorward.KeyState{}, false, err
		}
	}
	k, found, err := t.key(ctx, id)
	if err != nil || !found || !k.Revoked.IsZero() {
		return doorward.KeyState{}, false, err
	}
	return k, true, nil
}

// CreateKey implements doorward.KeyStore.
func (s *Store) CreateKey(ctx context.Context, k doorward.Key, hash doorward.SecretHash, limit int, check func(owner doorward.User) error, a doorward.AuditEntry) (doorward.KeyState, error) {
	var made doorward.KeyState
	err := s.write(ctx, "create an API key", func(ctx context.Context, t *tx) error {
		if !k.Service() {
			u, found, err := t.lockedUser(ctx, k.Owner)
			if err == nil && !found {
				err = doorward.Invalid("owner", "there is no such user")
			}
			if err == nil {
				err = check(u)
			}
			if err == nil {
				err = t.roomForKey(ctx, k.Owner, limit)
			}
			if err != nil {
				return err
			}
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if err := t.insertKey(ctx, k, hash); err != nil {
			return err
		}
		// From now on the door is never open.
		if err := t.markInitialised(ctx); err != nil {
			return err
		}
		if made, _, err = t.key(ctx, k.ID); err != nil {
			return err
		}
		return t.audit(ctx, now, a)
	})
	if err != nil {
		return doorward.KeyState{}, err
	}
	return made, nil
}

// roomForKey refuses another key to an owner who has limit of them.
func (t *tx) roomForKey(ctx context.Context, owner string, limit int) error {
	var id string
	full, err := t.get(ctx, []any{&id}, `
		SELECT id FROM api_keys WHERE owner = $1 AND revoked = 0 ORDER BY canonical, id LIMIT 1 OFFSET $2`, owner, max(limit-1, 0))
	if err == nil && full {
		err = doorward.Conflict("there are %d keys of this owner, and no more may be; remove one first", limit)
	}
	return err
}

// insertKey keeps k and lets every node know.
func (t *tx) insertKey(ctx context.Context, k doorward.Key, hash doorward.SecretHash) error {
	// Locked, so that it is not deleted in this moment: a key in no workspace is refused by the engine.
	if _, err := t.lockWorkspace(ctx, k.Org, k.Workspace); err != nil {
		return err
	}
	owner := sql.NullString{String: k.Owner, Valid: !k.Service()}
	n, err := t.exec(ctx, `
		INSERT INTO api_keys (id, sha256, prefix, name, canonical, role, org, workspace, owner, service, client_ids, created,
			expires, last_used, revoked, rotated_to, overlap_until)
		SELECT $1, $2, $3, $4, $5, $6, org, id, $7, $8, $9, $10, $11, 0, 0, NULL, 0
		FROM workspaces WHERE org = $12 AND id = $13`,
		k.ID, hash[:], k.Prefix, k.Name, strings.ToLower(k.Name), string(k.Role), owner, bit(k.Service()), strings.Join(k.ClientIDs, ","),
		millis(k.Created), millis(k.Expires), k.Org, k.Workspace)
	if err == nil && n == 0 {
		err = doorward.Invalid("workspace", "there is no workspace of that name")
	}
	t.changed(doorward.Change{What: doorward.KeyChanged, Target: k.ID})
	return err
}

// keyNameEnd follows every name that a key can have.
const keyNameEnd = "\U0010ffff"

// Keys implements doorward.KeyStore.
func (s *Store) Keys(ctx context.Context, q doorward.KeyQuery) ([]doorward.KeyState, error) {
	a := s.asker("list API keys")
	limit := min(max(q.Limit, 1), 1000)
	if q.Search != "" && q.After == (doorward.KeyPlace{}) {
		if keys, err := a.keysShownAs(ctx, q, limit); err != nil || len(keys) > 0 {
			return keys, err
		}
	}
	search := strings.ToLower(q.Search)
	name, id := q.After.Name, q.After.ID
	if q.After == (doorward.KeyPlace{}) {
		name = search // no id is empty, so those of just that name come as well
	}
	const from, order = keyTables + `WHERE k.revoked = 0 AND (k.canonical, k.id) > ($1, $2) AND k.canonical < $3 AND `, ` ORDER BY k.canonical, k.id LIMIT $4`
	args := []any{name, id, search + keyNameEnd, limit}
	switch {
	case q.Owner != "":
		return a.keys(ctx, `SELECT `+keyColumns+from+`k.owner = $5`+order, append(args, q.Owner)...)
	case q.Org == "":
		return a.keys(ctx, `
			SELECT `+keyColumns+keyTables+`
			WHERE k.revoked = 0 AND k.id > $1 AND k.canonical >= $2 AND k.canonical < $3 ORDER BY k.id LIMIT $4`,
			id, search, search+keyNameEnd, limit)
	case q.Workspaces == nil:
		return a.keys(ctx, `SELECT `+keyColumns+from+`k.org = $5`+order, append(args, q.Org)...)
	}
	var all []doorward.KeyState
	for _, w := range distinct(q.Workspaces) {
		keys, err := a.keys(ctx, `SELECT `+keyColumns+from+`k.org = $5 AND k.workspace = $6`+order, append(args, q.Org, w)...)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	slices.SortFunc(all, func(x, y doorward.KeyState) int {
		if c := strings.Compare(strings.ToLower(x.Name), strings.ToLower(y.Name)); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return all[:min(len(all), limit)], nil
}

// keysShownAs are the keys of q that are recognised by just what is searched for: as good
// as never more than one.
func (a asker) keysShownAs(ctx context.Context, q doorward.KeyQuery, limit int) ([]doorward.KeyState, error) {
	keys, err := a.keys(ctx, `SELECT `+keyColumns+keyTables+`WHERE k.prefix = $1 AND k.revoked = 0 LIMIT $2`, q.Search, limit)
	return slices.DeleteFunc(keys, func(k doorward.KeyState) bool {
		switch {
		case q.Owner != "":
			return k.Owner != q.Owner
		case q.Org == "":
			return false
		}
		return k.Org != q.Org || q.Workspaces != nil && !slices.Contains(q.Workspaces, k.Workspace)
	}), err
}

func (a asker) keys(ctx context.Context, text string, args ...any) ([]doorward.KeyState, error) {
	var all []doorward.KeyState
	var r keyRow
	err := a.each(ctx, r.dest(), func() error {
		all = append(all, r.state())
		return nil
	}, text, args...)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// RevokeKey implements doorward.KeyStore.
func (s *Store) RevokeKey(ctx context.Context, id string, check func(k doorward.KeyState) error, a doorward.AuditEntry) (doorward.KeyState, []doorward.EndedSession, bool, error) {
	var k doorward.KeyState
	var ended []doorward.EndedSession
	var found bool
	err := s.write(ctx, "revoke an API key", func(ctx context.Context, t *tx) error {
		var err error
		if k, found, err = t.lockedKey(ctx, id); err != nil || !found {
			return err
		}
		if err := check(k); err != nil {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if ended, err = t.revokeKey(ctx, id, doorward.EndKeyRevoked, now); err != nil {
			return err
		}
		k.Revoked = now
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return doorward.KeyState{}, nil, false, err
	}
	return k, ended, true, nil
}

// revokeKey revokes a key, ends its sessions and lets every node know.
func (t *tx) revokeKey(ctx context.Context, id, reason string, now time.Time) ([]doorward.EndedSession, error) {
	if _, err := t.exec(ctx, `UPDATE api_keys SET revoked = $1 WHERE id = $2 AND revoked = 0`, millis(now), id); err != nil {
		return nil, err
	}
	t.changed(doorward.Change{What: doorward.KeyChanged, Target: id})
	return t.ended(ctx, `
		UPDATE sessions SET ended = $1, end_reason = $2 WHERE credential = $3 AND ended = 0
		RETURNING id, access_until`, millis(now), reason, id)
}

// RotateKey implements doorward.KeyStore.
func (s *Store) RotateKey(ctx context.Context, id string, rotate func(old doorward.KeyState, now time.Time) (doorward.KeyRotation, error), a doorward.AuditEntry) (old, next doorward.KeyState, ended []doorward.EndedSession, found bool, err error) {
	err = s.write(ctx, "rotate an API key", func(ctx context.Context, t *tx) error {
		ended = nil
		var err error
		if old, found, err = t.lockedKey(ctx, id); err != nil || !found {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		r, err := rotate(old, now)
		if err != nil {
			return err
		}
		if r.Limit > 0 && !old.Service() && r.Until.After(now) {
			if err := t.roomForKey(ctx, old.Owner, r.Limit); err != nil {
				return err
			}
		}
		k := old.Key
		k.ID, k.Prefix, k.Role, k.Created = r.ID, r.Prefix, r.Role, now
		if err := t.insertKey(ctx, k, r.Hash); err != nil {
			return err
		}
		// 0 would be no end at all.
		old.RotatedTo, old.OverlapUntil = r.ID, fromMillis(max(1, millis(r.Until)))
		_, err = t.exec(ctx, `UPDATE api_keys SET rotated_to = $1, overlap_until = $2 WHERE id = $3`, r.ID, millis(old.OverlapUntil), id)
		if err != nil {
			return err
		}
		if old.OverlapUntil.After(now) {
			t.changed(doorward.Change{What: doorward.KeyChanged, Target: id})
			// Tokens minted from now on do not outlive the overlap; the others end with it.
			_, err = t.exec(ctx, `
				UPDATE sessions SET ends = $1 WHERE credential = $2 AND ended = 0 AND ends > $1`, millis(old.OverlapUntil), id)
		} else {
			old.Revoked = now
			ended, err = t.revokeKey(ctx, id, doorward.EndKeyRotated, now)
		}
		if err != nil {
			return err
		}
		if next, _, err = t.key(ctx, r.ID); err != nil {
			return err
		}
		return t.audit(ctx, now, a)
	})
	if err != nil || !found {
		return doorward.KeyState{}, doorward.KeyState{}, nil, false, err
	}
	return old, next, ended, true, nil
}

// CreateKeySession implements doorward.KeyStore.
func (s *Store) CreateKeySession(ctx context.Context, id string, limit int, begin func(k doorward.KeyState, now time.Time) (doorward.Session, error), a doorward.AuditEntry) (bool, error) {
	var found bool
	err := s.write(ctx, "create a session", func(ctx context.Context, t *tx) error {
		var k doorward.KeyState
		var err error
		if k, found, err = t.lockedKey(ctx, id); err != nil || !found {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		n, err := begin(k, now)
		if err != nil {
			return err
		}
		return t.createSession(ctx, n, limit, a)
	})
	return found && err == nil, err
}

// EndStoppedKeys implements doorward.KeyStore.
func (s *Store) EndStoppedKeys(ctx context.Context, a doorward.AuditEntry) ([]doorward.EndedSession, time.Time, error) {
	asked := s.asker("read which keys were rotated")
	next := func() (until int64, err error) {
		_, err = asked.get(ctx, []any{&until}, `
			SELECT overlap_until FROM api_keys WHERE overlap_until > 0 AND revoked = 0 ORDER BY overlap_until LIMIT 1`)
		return until, err
	}
	var ended []doorward.EndedSession
	for {
		// Nearly always there is nothing to end, and then nothing is written.
		until, err := next()
		if err != nil || until == 0 {
			return ended, time.Time{}, err
		}
		now, err := s.engine.now(ctx, asked)
		if err != nil || until > millis(now) {
			return ended, fromMillis(until), err
		}
		step, err := s.endStoppedStep(ctx, a)
		if err != nil {
			return ended, time.Time{}, err
		}
		ended = append(ended, step...)
	}
}

// stoppedStep is how many keys are revoked at once.
const stoppedStep = 20

func (s *Store) endStoppedStep(ctx context.Context, a doorward.AuditEntry) ([]doorward.EndedSession, error) {
	var ended []doorward.EndedSession
	err := s.writeAlone(ctx, "end the keys that were rotated", func(ctx context.Context, t *tx) error {
		ended = nil
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var ids []string
		var id string
		err = t.each(ctx, []any{&id}, func() error {
			ids = append(ids, id)
			return nil
		}, `
			SELECT id FROM api_keys WHERE overlap_until > 0 AND overlap_until <= $1 AND revoked = 0
			ORDER BY overlap_until LIMIT `+strconv.Itoa(stoppedStep)+t.engine.rowLock, millis(now))
		if err != nil {
			return err
		}
		for _, id := range ids {
			of, err := t.revokeKey(ctx, id, doorward.EndKeyRotated, now)
			if err != nil {
				return err
			}
			ended = append(ended, of...)
			a.Target = id
			if err := t.audit(ctx, now, a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// orphanKeys revokes the keys of a user in workspaces that they are no member of any more.
func (t *tx) orphanKeys(ctx context.Context, owner string, now time.Time) error {
	var id string
	return t.each(ctx, []any{&id}, func() error {
		t.changed(doorward.Change{What: doorward.KeyChanged, Target: id})
		return nil
	}, `
		UPDATE api_keys SET revoked = $1
		WHERE owner = $2 AND revoked = 0 AND NOT EXISTS (
			SELECT 1 FROM memberships m
			WHERE m.user_id = api_keys.owner AND m.org = api_keys.org AND m.workspace = api_keys.workspace)
		RETURNING id`, millis(now), owner)
}

// ownerChanged lets every node know that a user is not what they were, if that matters to a key.
func (t *tx) ownerChanged(ctx context.Context, id string) error {
	var key string
	has, err := t.get(ctx, []any{&key}, `SELECT id FROM api_keys WHERE owner = $1 LIMIT 1`, id)
	if has {
		t.changed(doorward.Change{What: doorward.OwnerChanged, Target: id})
	}
	return err
}

// noteStep is how many ids one statement takes where there may be many.
const noteStep = 100

// onceAMinute is how often a key's last use is written at most.
const onceAMinute = time.Minute

// NoteKeyUses implements doorward.KeyStore.
func (s *Store) NoteKeyUses(ctx context.Context, ids []string) error {
	ids = distinct(ids) // in one order everywhere, so that nodes wait for each other in a row
	return s.write(ctx, "note the use of API keys", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		for step := range slices.Chunk(ids, noteStep) {
			text, args := noteUse, []any{millis(now), millis(now.Add(-onceAMinute))}
			if len(step) > 1 {
				text = noteUses
			}
			if _, err := t.exec(ctx, text, append(args, filled(step)...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

var (
	noteUse  = `UPDATE api_keys SET last_used = $1 WHERE last_used <= $2 AND id = $3`
	noteUses = `UPDATE api_keys SET last_used = $1 WHERE last_used <= $2 AND id IN (` + placeholders(3) + `)`
)

// placeholders are noteStep of them, beginning with number first.
func placeholders(first int) string {
	var b strings.Builder
	for i := range noteStep {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("$" + strconv.Itoa(first+i))
	}
	return b.String()
}

// filled are ids as arguments: one, or noteStep of them, the last of which are the last again.
func filled(ids []string) []any {
	if len(ids) == 1 {
		return []any{ids[0]}
	}
	args := make([]any, noteStep)
	for i := range args {
		args[i] = ids[min(i, len(ids)-1)]
	}
	return args
}

// LoadKeys implements doorward.KeyStore. Strings that many keys have in common are one.
func (s *Store) LoadKeys(ctx context.Context, ids []string, yield func(doorward.KeyRecord) error) error {
	a := s.asker("read the API keys")
	var id string
	var hash, role, org, workspace, owner sql.RawBytes
	var expires, overlapEnd, revoked int64
	same := map[string]string{}
	intern := func(b sql.RawBytes) string {
		if s, ok := same[string(b)]; ok {
			return s
		}
		s := string(b)
		same[s] = s
		return s
	}
	dest := []any{&id, &hash, &role, &org, &workspace, &owner, &expires, &overlapEnd, &revoked}
	row := func() error {
		k := doorward.KeyRecord{
			ID: id, Role: doorward.Role(intern(role)), Org: intern(org), Workspace: intern(workspace), Owner: intern(owner),
			Expires: fromMillis(expires), OverlapUntil: fromMillis(overlapEnd), Revoked: revoked != 0,
		}
		copy(k.Hash[:], hash)
		return yield(k)
	}
	const columns = `SELECT id, sha256, role, org, workspace, coalesce(owner, ''), expires, overlap_until, revoked FROM api_keys `
	if ids == nil {
		// Not "= 0", which an index would answer: all of them are read fastest as they lie.
		return a.each(ctx, dest, row, columns+`WHERE revoked <= 0`)
	}
	for step := range slices.Chunk(distinct(ids), noteStep) {
		text := columns + `WHERE id = $1`
		if len(step) > 1 {
			text = columns + `WHERE id IN (` + hundred + `)`
		}
		if err := a.each(ctx, dest, row, text, filled(step)...); err != nil {
			return err
		}
	}
	return nil
}

var hundred = placeholders(1)

// LoadHolders implements doorward.KeyStore.
func (s *Store) LoadHolders(ctx context.Context, ids []string, yield func(doorward.User) error) error {
	a := s.asker("read the owners of API keys")
	var r userRow
	row := func() error { return yield(r.user()) }
	if ids == nil {
		return a.each(ctx, r.dest(), row, `
			SELECT `+userColumns+` FROM users u WHERE EXISTS (SELECT 1 FROM api_keys k WHERE k.owner = u.id)`)
	}
	for step := range slices.Chunk(distinct(ids), noteStep) {
		text := `SELECT ` + userColumns + ` FROM users u WHERE u.id = $1`
		if len(step) > 1 {
			text = `SELECT ` + userColumns + ` FROM users u WHERE u.id IN (` + hundred + `)`
		}
		if err := a.each(ctx, r.dest(), row, text, filled(step)...); err != nil {
			return err
		}
	}
	return nil
}
