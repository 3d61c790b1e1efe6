package store

import (
	"cmp"
	"context"
	"math"
	"slices"

	"doorward"
)

// HeldSession implements doorward.HeldSessionStore.
func (s *Store) HeldSession(ctx context.Context, id string) (doorward.HeldSession, bool, error) {
	var r sessionRow
	var owner, role string
	found, err := s.asker("read a session").get(ctx, append(r.dest(), &owner, &role), `
		SELECT `+sessionColumns+`,
			coalesce((SELECT k.owner FROM api_keys k WHERE k.id = sessions.credential), ''),
			coalesce((SELECT k.role FROM api_keys k WHERE k.id = sessions.credential), '')
		FROM sessions WHERE id = $1`, id)
	if err != nil || !found {
		return doorward.HeldSession{}, false, err
	}
	h := doorward.HeldSession{Session: r.session(), Owner: owner, KeyRole: doorward.Role(role)}
	if h.Kind == doorward.KindUser {
		h.Owner = h.Credential
	}
	return h, true, nil
}

// SessionPage implements doorward.HeldSessionStore. Each credential of a user is read in its
// own order, and they are put together here: so a page costs the same however many there are.
func (s *Store) SessionPage(ctx context.Context, q doorward.SessionQuery, after doorward.SessionMark, limit int) ([]doorward.ListedSession, error) {
	a := s.asker("list sessions")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return nil, err
	}
	limit = min(max(limit, 1), 1001)
	last, id := int64(math.MaxInt64), ""
	if !after.Ends.IsZero() {
		last, id = millis(after.Ends), after.ID
	}
	credentials := []string{cmp.Or(q.User, q.Credential)}
	if q.User != "" {
		var key string
		err := a.each(ctx, []any{&key}, func() error {
			credentials = append(credentials, key)
			return nil
		}, `
			SELECT k.id FROM api_keys k WHERE k.owner = $1 AND EXISTS (
				SELECT 1 FROM sessions s WHERE s.credential = k.id AND s.ended = 0 AND s.ends > $2)`, q.User, millis(now))
		if err != nil {
			return nil, err
		}
	}
	var all []doorward.ListedSession
	for _, credential := range credentials {
		var r sessionRow
		err := a.each(ctx, r.dest(), func() error {
			all = append(all, doorward.ListedSession{Session: r.session()})
			return nil
		}, `
			SELECT `+sessionColumns+` FROM sessions
			WHERE credential = $1 AND ended = 0 AND ends > $2 AND ends <= $3 AND (ends < $3 OR id < $4)
			ORDER BY ends DESC, id DESC LIMIT $5`, credential, millis(now), last, id, limit)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(all, func(x, y doorward.ListedSession) int {
			return cmp.Or(y.Ends.Compare(x.Ends), cmp.Compare(y.ID, x.ID))
		})
		all = all[:min(len(all), limit)]
	}
	return all, nil
}
