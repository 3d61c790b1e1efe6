package store

import (
	"context"
	"fmt"

	"doorward"
)

const saltSize = 32

// Salt implements doorward.MetaStore.
func (s *Store) Salt(ctx context.Context, fresh []byte) ([]byte, error) {
	var salt []byte
	const op = "read the salt"
	if _, err := s.asker(op).get(ctx, []any{&salt}, `SELECT salt FROM meta WHERE id = 1`); err != nil {
		return nil, err
	}
	if len(salt) == saltSize {
		return salt, nil
	}
	if len(fresh) != saltSize {
		return nil, fmt.Errorf("cannot keep a salt of %d bytes: it must have %d", len(fresh), saltSize)
	}
	err := s.write(ctx, op, func(ctx context.Context, t *tx) error {
		_, err := t.get(ctx, []any{&salt}, `UPDATE meta SET salt = coalesce(salt, $1) WHERE id = 1 RETURNING salt`, fresh)
		return err
	})
	if err != nil {
		return nil, err
	}
	return salt, nil
}

// State implements doorward.MetaStore.
func (s *Store) State(ctx context.Context) (doorward.State, error) {
	var st doorward.State
	found, err := s.asker("read whether anybody is set up").get(ctx, []any{&st.Initialised, &st.HasUsers, &st.HasKeys}, `
		SELECT initialised, EXISTS (SELECT 1 FROM users), EXISTS (SELECT 1 FROM api_keys WHERE revoked = 0)
		FROM meta WHERE id = 1`)
	if err == nil && !found {
		err = fmt.Errorf("cannot read whether anybody is set up: the row is missing")
	}
	if err != nil {
		return doorward.State{}, err
	}
	return st, nil
}

// MarkInitialised implements doorward.MetaStore.
func (s *Store) MarkInitialised(ctx context.Context) error {
	return s.write(ctx, "mark the store initialised", func(ctx context.Context, t *tx) error {
		return t.markInitialised(ctx)
	})
}

func (t *tx) markInitialised(ctx context.Context) error {
	_, err := t.exec(ctx, `UPDATE meta SET initialised = 1 WHERE id = 1 AND initialised = 0`)
	return err
}

// lockMeta lets one transaction at a time decide on what depends on all users together.
func (t *tx) lockMeta(ctx context.Context) error {
	var id int64
	_, err := t.get(ctx, []any{&id}, `SELECT id FROM meta WHERE id = 1`+t.engine.rowLock)
	return err
}

// KeyID implements doorward.MetaStore.
func (s *Store) KeyID(ctx context.Context) (string, error) {
	var kid string
	_, err := s.asker("read which secret signs").get(ctx, []any{&kid}, `SELECT kid FROM meta WHERE id = 1`)
	return kid, err
}

// SetKeyID implements doorward.MetaStore.
func (s *Store) SetKeyID(ctx context.Context, kid string, a doorward.AuditEntry) error {
	return s.write(ctx, "keep which secret signs", func(ctx context.Context, t *tx) error {
		n, err := t.exec(ctx, `UPDATE meta SET kid = $1 WHERE id = 1 AND kid <> $1`, kid)
		if err != nil || n == 0 {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		t.changed(doorward.Change{What: doorward.KeysChanged, Target: kid})
		return t.audit(ctx, now, a)
	})
}
