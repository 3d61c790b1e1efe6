package store

import (
	"context"
	"time"

	"doorward"
)

// CreateInvited implements doorward.InviteStore.
func (s *Store) CreateInvited(ctx context.Context, u doorward.User, code doorward.SecretHash, life time.Duration, made, invited doorward.AuditEntry) (expires time.Time, err error) {
	err = s.write(ctx, "create a user", func(ctx context.Context, t *tx) error {
		if err := t.insertUser(ctx, u, "", made); err != nil {
			return err
		}
		expires, err = t.invite(ctx, u, code, life, invited)
		return err
	})
	return expires, err
}

// Invite implements doorward.InviteStore.
func (s *Store) Invite(ctx context.Context, id string, code doorward.SecretHash, life time.Duration, check func(doorward.User) error, a doorward.AuditEntry) (expires time.Time, found bool, err error) {
	err = s.write(ctx, "invite a user", func(ctx context.Context, t *tx) error {
		u, ok, err := t.lockedUser(ctx, id)
		if found = ok; err != nil || !ok {
			return err
		}
		if err := check(u); err != nil {
			return err
		}
		expires, err = t.invite(ctx, u, code, life, a)
		return err
	})
	return expires, found && err == nil, err
}

// invite keeps an invitation of u, who is locked, in place of one before.
func (t *tx) invite(ctx context.Context, u doorward.User, code doorward.SecretHash, life time.Duration, a doorward.AuditEntry) (expires time.Time, err error) {
	now, err := t.now(ctx)
	if err != nil {
		return time.Time{}, err
	}
	expires = now.Add(life).Truncate(time.Millisecond)
	_, err = t.exec(ctx, `
		INSERT INTO invites (user_id, sha256, version, expires) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id) DO UPDATE SET sha256 = excluded.sha256, version = excluded.version, expires = excluded.expires`,
		u.ID, code[:], u.Version, millis(expires))
	if err != nil {
		return time.Time{}, err
	}
	a.Detail = "good until " + expires.UTC().Format(time.RFC3339)
	return expires, t.audit(ctx, now, a)
}

// Invited implements doorward.InviteStore.
func (s *Store) Invited(ctx context.Context, code doorward.SecretHash) (doorward.User, bool, error) {
	a := s.asker("read an invitation")
	var r userRow
	var expires int64
	found, err := a.get(ctx, append(r.dest(), &expires), `
		SELECT `+userColumns+`, i.expires FROM invites i JOIN users u ON u.id = i.user_id
		WHERE i.sha256 = $1 AND i.version = u.version AND u.disabled = 0`, code[:])
	if err != nil || !found {
		return doorward.User{}, false, err
	}
	now, err := s.engine.now(ctx, a)
	if err != nil || millis(now) >= expires {
		return doorward.User{}, false, err
	}
	return r.user(), true, nil
}

// AcceptInvite implements doorward.InviteStore. The user is locked before the invitation, as
// by all who change either.
func (s *Store) AcceptInvite(ctx context.Context, code doorward.SecretHash, p doorward.NewPassword, a doorward.AuditEntry) (doorward.User, []doorward.EndedSession, bool, error) {
	var u doorward.User
	var ended []doorward.EndedSession
	var found bool
	err := s.write(ctx, "accept an invitation", func(ctx context.Context, t *tx) error {
		var err error
		if u, found, err = t.lockedUser(ctx, p.UserID); err != nil || !found {
			return err
		}
		if found = !u.Disabled; !found {
			return nil
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `
			DELETE FROM invites WHERE user_id = $1 AND sha256 = $2 AND version = $3 AND expires > $4`, u.ID, code[:], u.Version, millis(now))
		if found = n > 0; err != nil || !found {
			return err
		}
		ended, err = t.setPassword(ctx, p, now, a)
		u.MustChange, u.Version = p.MustChange, u.Version+1
		return err
	})
	if err != nil || !found {
		return doorward.User{}, nil, false, err
	}
	return u, ended, true, nil
}
