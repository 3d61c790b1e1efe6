package store

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"doorward"
)

// CountFailure implements doorward.LockoutStore.
func (s *Store) CountFailure(ctx context.Context, account string, policy doorward.LockoutPolicy, a doorward.AuditEntry) (time.Duration, error) {
	var left time.Duration
	err := s.write(ctx, "count a failed attempt", func(ctx context.Context, t *tx) error {
		// By name, since who is counted for the first time has no row to lock.
		if err := t.lock(ctx, "lockout "+account); err != nil {
			return err
		}
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		var times string
		var lockedUntil int64
		// The row too, if there is one: who clears it or prunes it does so before or after.
		_, err = t.get(ctx, []any{&times, &lockedUntil}, `
			SELECT times, locked_until FROM lockouts WHERE account = $1`+t.engine.rowLock, account)
		if err != nil {
			return err
		}
		before := doorward.Failures{LockedUntil: fromMillis(lockedUntil)}
		if before.Times, err = parseTimes(times); err != nil {
			return t.failed(ctx, err)
		}
		var after doorward.Failures
		if after, left = policy.Count(before, now); left > 0 {
			return nil
		}
		_, err = t.exec(ctx, `
			INSERT INTO lockouts (account, times, locked_until, last) VALUES ($1, $2, $3, $4)
			ON CONFLICT (account) DO UPDATE SET
				times = excluded.times, locked_until = excluded.locked_until, last = excluded.last`,
			account, formatTimes(after.Times), millis(after.LockedUntil), millis(now))
		if err != nil {
			return err
		}
		return t.auditFailure(ctx, now, account, after.LockedUntil, a)
	})
	if err != nil {
		return 0, err
	}
	return left, nil
}

// LockedFor implements doorward.LockoutStore.
func (s *Store) LockedFor(ctx context.Context, account string) (time.Duration, error) {
	a := s.asker("read whether an account is locked")
	var lockedUntil int64
	found, err := a.get(ctx, []any{&lockedUntil}, `SELECT locked_until FROM lockouts WHERE account = $1`, account)
	if err != nil || !found || lockedUntil == 0 {
		return 0, err
	}
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return 0, err
	}
	return max(0, fromMillis(lockedUntil).Sub(now)), nil
}

// LockedAccounts implements doorward.LockoutStore. Who is locked is read first, and whose that
// is found by name: few are at any time, and of most names there is nobody.
func (s *Store) LockedAccounts(ctx context.Context, org string, limit int) ([]doorward.LockedAccount, error) {
	a := s.asker("read which accounts are locked")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return nil, err
	}
	var all []doorward.LockedAccount
	var r userRow
	var until int64
	err = a.each(ctx, append(r.dest(), &until), func() error {
		all = append(all, doorward.LockedAccount{User: r.user(), Until: fromMillis(until)})
		return nil
	}, `
		SELECT `+userColumns+`, l.locked_until FROM lockouts l CROSS JOIN users u
		WHERE l.locked_until > $1 AND l.locked_until > 0 AND u.canonical = l.account AND u.org = $2
		ORDER BY l.locked_until DESC LIMIT $3`, millis(now), org, limit)
	if err != nil {
		return nil, err
	}
	return all, nil
}

// ClearFailures implements doorward.LockoutStore.
func (s *Store) ClearFailures(ctx context.Context, account string, a doorward.AuditEntry) error {
	return s.write(ctx, "clear the failed attempts of an account", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if err := t.clearFailures(ctx, account, ""); err != nil {
			return err
		}
		if err := t.clearDeviceFailures(ctx, account); err != nil {
			return err
		}
		return t.audit(ctx, now, a)
	})
}

// clearFailures forgets the failures of account, and that the request with this id was one.
func (t *tx) clearFailures(ctx context.Context, account, requestID string) error {
	if _, err := t.exec(ctx, `DELETE FROM lockouts WHERE account = $1`, account); err != nil {
		return err
	}
	return t.endedWell(ctx, requestID)
}

// formatTimes joins the milliseconds of times by commas.
func formatTimes(times []time.Time) string {
	var b []byte
	for i, t := range times {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, millis(t), 10)
	}
	return string(b)
}

func parseTimes(s string) ([]time.Time, error) {
	if s == "" {
		return nil, nil
	}
	var times []time.Time
	for part := range strings.SplitSeq(s, ",") {
		ms, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("damaged list of times: %w", err)
		}
		times = append(times, fromMillis(ms))
	}
	return times, nil
}
