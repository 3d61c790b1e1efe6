package store

import (
	"context"
	"errors"
	"time"

	"doorward"
)

// errNotHash says no more, since what is not a hash may be a password.
var errNotHash = errors.New("the password is not an encoded argon2id or bcrypt hash")

// onlyHash returns what of h is kept. Only hashes go down to the cellar.
func onlyHash(h doorward.PasswordHash) (string, error) {
	parsed, err := doorward.ParsePasswordHash(string(h))
	if err != nil {
		return "", errNotHash
	}
	return parsed.Encoded(), nil
}

// SetPassword implements doorward.UserStore.
func (s *Store) SetPassword(ctx context.Context, p doorward.NewPassword, check func(u doorward.User) error, a doorward.AuditEntry) ([]doorward.EndedSession, bool, error) {
	var ended []doorward.EndedSession
	var found bool
	err := s.write(ctx, "set a password", func(ctx context.Context, t *tx) error {
		u, ok, err := t.lockedUser(ctx, p.UserID)
		if found = ok; err != nil || !ok {
			return err
		}
		if err := check(u); err != nil {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		ended, err = t.setPassword(ctx, p, now, a)
		return err
	})
	if err != nil || !found {
		return nil, false, err
	}
	return ended, true, nil
}

// setPassword replaces the password of p's user, who is locked, and what goes with it.
func (t *tx) setPassword(ctx context.Context, p doorward.NewPassword, now time.Time, a doorward.AuditEntry) ([]doorward.EndedSession, error) {
	password, err := onlyHash(p.Hash)
	if err != nil {
		return nil, t.failed(ctx, err)
	}
	var canonical string
	_, err = t.get(ctx, []any{&canonical}, `
		UPDATE users SET password = $1, must_change = $2, version = version + 1, updated = $3
		WHERE id = $4 RETURNING canonical`, password, bit(p.MustChange), millis(now), p.UserID)
	if err != nil {
		return nil, err
	}
	if err := t.clearFailures(ctx, canonical, a.RequestID); err != nil {
		return nil, err
	}
	if err := t.voidDevices(ctx, p.UserID); err != nil {
		return nil, err
	}
	ended, err := t.endUsersSessions(ctx, p.UserID, p.Keep, p.Reason, now)
	if err != nil {
		return nil, err
	}
	return ended, t.audit(ctx, now, a)
}

// UpgradePassword implements doorward.UserStore.
func (s *Store) UpgradePassword(ctx context.Context, id string, version int64, hash doorward.PasswordHash) error {
	return s.write(ctx, "upgrade a password hash", func(ctx context.Context, t *tx) error {
		password, err := onlyHash(hash)
		if err != nil {
			return t.failed(ctx, err)
		}
		_, err = t.exec(ctx, `UPDATE users SET password = $1 WHERE id = $2 AND version = $3`, password, id, version)
		return err
	})
}
