package store

import (
	"context"
	"slices"

	"doorward"
)

// Standings implements doorward.StandingStore.
func (s *Store) Standings(ctx context.Context, ids []string) (map[string]doorward.Standing, error) {
	a := s.asker("read how accounts stand")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return nil, err
	}
	all := map[string]doorward.Standing{}
	var id string
	var locked, invited, without int64
	row := func() error {
		st := doorward.Standing{NoPassword: without != 0}
		if at := fromMillis(locked); at.After(now) {
			st.LockedUntil = at
		}
		if at := fromMillis(invited); at.After(now) {
			st.InvitedUntil = at
		}
		all[id] = st
		return nil
	}
	const columns = `
		SELECT u.id, coalesce(l.locked_until, 0), coalesce(i.expires, 0), CASE WHEN u.password = '' THEN 1 ELSE 0 END
		FROM users u
			LEFT JOIN lockouts l ON l.account = u.canonical
			LEFT JOIN invites i ON i.user_id = u.id AND i.version = u.version AND u.disabled = 0
		WHERE u.id `
	for step := range slices.Chunk(distinct(ids), noteStep) {
		text := columns + `= $1`
		if len(step) > 1 {
			text = columns + `IN (` + hundred + `)`
		}
		if err := a.each(ctx, []any{&id, &locked, &invited, &without}, row, text, filled(step)...); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Holdings implements doorward.StandingStore.
func (s *Store) Holdings(ctx context.Context, id string) (h doorward.Holdings, err error) {
	a := s.asker("count what a user has")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return h, err
	}
	_, err = a.get(ctx, []any{&h.Sessions, &h.Keys}, `
		SELECT
			(SELECT count(*) FROM sessions WHERE ended = 0 AND ends > $1 AND credential IN (
				SELECT id FROM users WHERE id = $2 UNION ALL SELECT id FROM api_keys WHERE owner = $2)),
			(SELECT count(*) FROM api_keys WHERE owner = $2 AND revoked = 0)
		FROM users WHERE id = $2`, millis(now), id)
	return h, err
}
