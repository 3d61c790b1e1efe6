package store

import (
	"context"
	"time"
)

// pruneStep is how many rows are deleted at once: a few milliseconds' worth.
const pruneStep = 500

// Prune implements doorward.Store.
func (s *Store) Prune(ctx context.Context, keepFailures time.Duration) error {
	// No token outlives its session, so past a session's end its row says nothing that
	// its absence would not say: both refuse.
	err := s.pruneSteps(ctx, "prune sessions", `
		DELETE FROM sessions WHERE id IN (
			SELECT id FROM sessions WHERE ends <= $1 AND access_until <= $1 ORDER BY ends LIMIT $2)`,
		func(now time.Time) []any { return []any{millis(now), pruneStep} })
	if err != nil {
		return err
	}
	return s.pruneSteps(ctx, "prune failed attempts", `
		DELETE FROM lockouts WHERE account IN (
			SELECT account FROM lockouts WHERE last <= $1 AND locked_until <= $2 ORDER BY last LIMIT $3)`,
		func(now time.Time) []any { return []any{millis(now.Add(-keepFailures)), millis(now), pruneStep} })
}

// pruneSteps repeats text, a transaction each time, until it finds less than a step.
func (s *Store) pruneSteps(ctx context.Context, op, text string, args func(now time.Time) []any) error {
	for {
		var n int64
		err := s.write(ctx, op, func(ctx context.Context, t *tx) error {
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
