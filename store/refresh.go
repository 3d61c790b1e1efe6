package store

import (
	"context"
	"errors"

	"doorward"
)

// errEnded stops a decision that would let a dead session mint tokens.
var errEnded = errors.New("a session that has ended cannot advance")

// AdvanceRefresh implements doorward.SessionStore.
func (s *Store) AdvanceRefresh(ctx context.Context, id string, decide func(doorward.RefreshState) doorward.RefreshDecision, a doorward.AuditEntry) (bool, error) {
	var found bool
	err := s.write(ctx, "advance a refresh chain", func(ctx context.Context, t *tx) error {
		n, ok, err := t.session(ctx, id, t.engine.rowLock)
		if found = ok; err != nil || !ok {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		d := decide(doorward.RefreshState{Session: n, Now: now})
		switch {
		case d.Outcome == doorward.Reused:
			_, _, err := t.endSession(ctx, id, doorward.EndReuse, now, a)
			return err
		case d.Outcome != doorward.Advanced:
			return nil
		case !n.Ended.IsZero():
			return t.failed(ctx, errEnded)
		}
		accessUntil := n.AccessUntil
		if d.AccessUntil.After(accessUntil) {
			accessUntil = d.AccessUntil
		}
		_, err = t.exec(ctx, `
			UPDATE sessions SET prev = $1, head = $2, child = $3, gen = $4, fork = $5, minted = $6, access_until = $7
			WHERE id = $8`,
			d.Chain.Prev, d.Chain.Head, d.Chain.Child, d.Chain.Gen, d.Chain.Fork, millis(d.Chain.Minted), millis(accessUntil), id)
		return err
	})
	if err != nil || !found {
		return false, err
	}
	return true, nil
}
