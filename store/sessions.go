package store

import (
	"context"
	"time"

	"doorward"
)

// SignIn implements doorward.SessionStore.
func (s *Store) SignIn(ctx context.Context, n doorward.Session, version int64, account string, limit int, a doorward.AuditEntry) error {
	return s.write(ctx, "sign a user in", func(ctx context.Context, t *tx) error {
		var one int64
		same, err := t.get(ctx, []any{&one}, `
			SELECT 1 FROM users WHERE id = $1 AND disabled = 0 AND version = $2`+t.engine.rowLock, n.Credential, version)
		if err != nil {
			return err
		}
		if !same {
			return doorward.ErrChanged
		}
		if err := t.clearFailures(ctx, account); err != nil {
			return err
		}
		return t.createSession(ctx, n, limit, a)
	})
}

// CreateSession implements doorward.SessionStore.
func (s *Store) CreateSession(ctx context.Context, n doorward.Session, limit int, a doorward.AuditEntry) error {
	return s.write(ctx, "create a session", func(ctx context.Context, t *tx) error {
		return t.createSession(ctx, n, limit, a)
	})
}

func (t *tx) createSession(ctx context.Context, n doorward.Session, limit int, a doorward.AuditEntry) error {
	if err := t.lock(ctx, "sessions "+n.Credential); err != nil {
		return err
	}
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	if err := t.withinLimit(ctx, n.Credential, limit, now); err != nil {
		return err
	}
	if err := t.insertSession(ctx, n); err != nil {
		return err
	}
	return t.audit(ctx, now, a)
}

func (t *tx) insertSession(ctx context.Context, n doorward.Session) error {
	_, err := t.exec(ctx, `
		INSERT INTO sessions (id, kind, subject, credential, configured, terms, org, workspaces, created, ends,
			access_until, ended, end_reason, prev, head, child, gen, fork, minted, address, user_agent)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
		n.ID, string(n.Kind), n.Subject, n.Credential, bit(n.Configured), n.Terms, n.Org, string(n.Workspaces), millis(n.Created), millis(n.Ends),
		millis(n.AccessUntil), millis(n.Ended), n.EndReason, n.Chain.Prev, n.Chain.Head, n.Chain.Child, n.Chain.Gen, n.Chain.Fork,
		millis(n.Chain.Minted), n.Address, n.UserAgent)
	return err
}

// withinLimit refuses another session for a credential that has limit of them, until the
// first of those ends.
func (t *tx) withinLimit(ctx context.Context, credential string, limit int, now time.Time) error {
	// nth reads when the live session ends that n others end before: cheaper than
	// counting, and all that must be known.
	nth := func(n int) (ends int64, found bool, err error) {
		found, err = t.get(ctx, []any{&ends}, `
			SELECT ends FROM sessions WHERE credential = $1 AND ended = 0 AND ends > $2
			ORDER BY ends LIMIT 1 OFFSET $3`, credential, millis(now), n)
		return ends, found, err
	}
	if limit > 0 {
		if _, full, err := nth(limit - 1); err != nil || !full {
			return err
		}
	}
	first, _, err := nth(0)
	if err != nil {
		return err
	}
	return doorward.Throttled(max(time.Second, fromMillis(first).Sub(now)))
}

// Session implements doorward.SessionStore.
func (s *Store) Session(ctx context.Context, id string) (doorward.Session, bool, error) {
	return s.asker("read a session").session(ctx, id, "")
}

func (a asker) session(ctx context.Context, id, rowLock string) (doorward.Session, bool, error) {
	var r doorward.Session
	var created, ends, accessUntil, ended, minted int64
	found, err := a.get(ctx, []any{
		&r.ID, &r.Kind, &r.Subject, &r.Credential, &r.Configured, &r.Terms, &r.Org, &r.Workspaces, &created, &ends,
		&accessUntil, &ended, &r.EndReason, &r.Chain.Prev, &r.Chain.Head, &r.Chain.Child, &r.Chain.Gen, &r.Chain.Fork,
		&minted, &r.Address, &r.UserAgent,
	}, `
		SELECT id, kind, subject, credential, configured, terms, org, workspaces, created, ends,
			access_until, ended, end_reason, prev, head, child, gen, fork, minted, address, user_agent
		FROM sessions WHERE id = $1`+rowLock, id)
	if err != nil || !found {
		return doorward.Session{}, false, err
	}
	r.Created, r.Ends, r.AccessUntil = fromMillis(created), fromMillis(ends), fromMillis(accessUntil)
	r.Ended, r.Chain.Minted = fromMillis(ended), fromMillis(minted)
	return r, true, nil
}

// EndSession implements doorward.SessionStore.
func (s *Store) EndSession(ctx context.Context, id, reason string, a doorward.AuditEntry) (doorward.EndedSession, bool, error) {
	var ended doorward.EndedSession
	var found bool
	err := s.write(ctx, "end a session", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		ended, found, err = t.endSession(ctx, id, reason, now, a)
		return err
	})
	if err != nil || !found {
		return doorward.EndedSession{}, false, err
	}
	return ended, true, nil
}

// endSession ends a session and writes a, once: one that has ended is left as it is.
func (t *tx) endSession(ctx context.Context, id, reason string, now time.Time, a doorward.AuditEntry) (doorward.EndedSession, bool, error) {
	ended, err := t.ended(ctx, `
		UPDATE sessions SET ended = $1, end_reason = $2 WHERE id = $3 AND ended = 0 RETURNING id, access_until`,
		millis(now), reason, id)
	if err != nil {
		return doorward.EndedSession{}, false, err
	}
	if len(ended) == 1 {
		return ended[0], true, t.audit(ctx, now, a)
	}
	r, found, err := t.session(ctx, id, "")
	return doorward.EndedSession{ID: r.ID, Until: r.AccessUntil}, found, err
}

// ended runs text, which ends sessions and returns the id and access_until of each, and
// lets the other nodes know.
func (t *tx) ended(ctx context.Context, text string, args ...any) ([]doorward.EndedSession, error) {
	var all []doorward.EndedSession
	var id string
	var until int64
	err := t.each(ctx, []any{&id, &until}, func() error {
		all = append(all, doorward.EndedSession{ID: id, Until: fromMillis(until)})
		t.changed(doorward.Change{What: doorward.SessionEnded, Target: id, Until: fromMillis(until)})
		return nil
	}, text, args...)
	return all, err
}

// EndUnconfigured implements doorward.SessionStore.
func (s *Store) EndUnconfigured(ctx context.Context, keep map[string]string, a doorward.AuditEntry) ([]doorward.EndedSession, error) {
	var ended []doorward.EndedSession
	err := s.write(ctx, "end the sessions of credentials no longer configured", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		type granted struct{ credential, terms string }
		var gone []granted
		var g granted
		err = t.each(ctx, []any{&g.credential, &g.terms}, func() error {
			if terms, ok := keep[g.credential]; !ok || terms != g.terms {
				gone = append(gone, g)
			}
			return nil
		}, `SELECT DISTINCT credential, terms FROM sessions WHERE configured = 1 AND ended = 0`)
		if err != nil {
			return err
		}
		ended = nil
		for _, g := range gone {
			of, err := t.ended(ctx, `
				UPDATE sessions SET ended = $1, end_reason = $2
				WHERE credential = $3 AND terms = $4 AND configured = 1 AND ended = 0
				RETURNING id, access_until`, millis(now), doorward.EndCredentialGone, g.credential, g.terms)
			if err != nil {
				return err
			}
			ended = append(ended, of...)
			a.Target = g.credential
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

// EndedSessions implements doorward.SessionStore.
func (s *Store) EndedSessions(ctx context.Context, yield func(doorward.EndedSession) error) error {
	a := s.asker("list ended sessions")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return err
	}
	var id string
	var until int64
	return a.each(ctx, []any{&id, &until}, func() error {
		return yield(doorward.EndedSession{ID: id, Until: fromMillis(until)})
	}, `SELECT id, access_until FROM sessions WHERE ended > 0 AND access_until > $1`, millis(now))
}
