package store

import (
	"context"
	"strconv"
	"time"

	"doorward"
)

// pruneStep is how many rows are deleted at once: a few milliseconds' worth. It is part
// of the text, so that who plans a statement knows that it is for a few.
const pruneStep = 500

// Prune implements doorward.Store.
func (s *Store) Prune(ctx context.Context, keepFailures time.Duration) error {
	// Chosen and locked before they go: who changes one of them at the same time, as a
	// failure counted does, does so before, and then it stays, or after.
	step := " LIMIT " + strconv.Itoa(pruneStep) + s.engine.rowLock

	// No token outlives its session, so past a session's end its row says nothing that
	// its absence would not say: both refuse.
	err := s.pruneSteps(ctx, "prune sessions", `
		DELETE FROM sessions WHERE id IN (
			SELECT id FROM sessions WHERE ends <= $1 AND access_until <= $1 ORDER BY ends`+step+`)`,
		func(now time.Time) []any { return []any{millis(now)} })
	if err != nil {
		return err
	}
	err = s.pruneSteps(ctx, "prune failed attempts", `
		DELETE FROM lockouts WHERE account IN (
			SELECT account FROM lockouts WHERE last <= $1 AND locked_until <= $2 ORDER BY last`+step+`)`,
		func(now time.Time) []any { return []any{millis(now.Add(-keepFailures)), millis(now)} })
	if err != nil {
		return err
	}
	// A key that was revoked says nothing any more that its absence would not say. Every node
	// has heard of it, or reads everything anew.
	err = s.pruneSteps(ctx, "prune API keys", `
		DELETE FROM api_keys WHERE id IN (
			SELECT id FROM api_keys WHERE revoked > 0 AND revoked <= $1 ORDER BY revoked`+step+`)`,
		func(now time.Time) []any { return []any{millis(now.Add(-keepRevokedKeys))} })
	if err != nil {
		return err
	}
	err = s.pruneSteps(ctx, "prune the browsers of those long away", `
		DELETE FROM devices WHERE sha256 IN (
			SELECT sha256 FROM devices WHERE last <= $1 ORDER BY last`+step+`)`,
		func(now time.Time) []any { return []any{millis(now.Add(-doorward.DeviceLife))} })
	if err != nil {
		return err
	}
	err = s.pruneSteps(ctx, "prune invitations that are over", `
		DELETE FROM invites WHERE user_id IN (
			SELECT user_id FROM invites WHERE expires <= $1 ORDER BY expires`+step+`)`,
		func(now time.Time) []any { return []any{millis(now)} })
	if err != nil {
		return err
	}
	return s.pruneChanges(ctx)
}

// keepRevokedKeys is how long the row of a revoked key is kept: longer than changes are.
const keepRevokedKeys = 24 * time.Hour

// pruneSteps repeats text, a transaction each time, until it finds less than a step.
func (s *Store) pruneSteps(ctx context.Context, op, text string, args func(now time.Time) []any) error {
	for {
		var n int64
		err := s.writeAlone(ctx, op, func(ctx context.Context, t *tx) error {
			now, err := t.now(ctx)
			if err != nil {
				return err
			}
			n, err = t.exec(ctx, text, args(now)...)
			return err
		})
		if err != nil || n < pruneStep {
			return err
		}
	}
}
