package store

import (
	"context"
	"strconv"
	"strings"
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
		if err := t.clearFailures(ctx, account, a.RequestID); err != nil {
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
			access_until, ended, end_reason, prev, head, child, gen, fork, minted, address, user_agent, listed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, coalesce(
			(SELECT u.canonical FROM users u WHERE u.id = $4),
			coalesce((SELECT u.canonical || ' ' FROM api_keys k JOIN users u ON u.id = k.owner WHERE k.id = $4), '')
				|| CAST($22 AS TEXT) || coalesce((SELECT ' ' || k.canonical FROM api_keys k WHERE k.id = $4), '')))`,
		n.ID, string(n.Kind), n.Subject, n.Credential, bit(n.Configured), n.Terms, n.Org, string(n.Workspaces), millis(n.Created), millis(n.Ends),
		millis(n.AccessUntil), millis(n.Ended), n.EndReason, n.Chain.Prev, n.Chain.Head, n.Chain.Child, n.Chain.Gen, n.Chain.Fork,
		millis(n.Chain.Minted), n.Address, n.UserAgent, strings.ToLower(n.Subject))
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
	var r sessionRow
	found, err := a.get(ctx, r.dest(), `SELECT `+sessionColumns+` FROM sessions WHERE id = $1`+rowLock, id)
	if err != nil || !found {
		return doorward.Session{}, false, err
	}
	return r.session(), true, nil
}

// sessionColumns are what sessionRow reads.
const sessionColumns = `id, kind, subject, credential, configured, terms, org, workspaces, created, ends,
	access_until, ended, end_reason, prev, head, child, gen, fork, minted, address, user_agent`

// sessionRow is a row of sessionColumns.
type sessionRow struct {
	doorward.Session
	created, ends, accessUntil, ended, minted int64
}

func (r *sessionRow) dest() []any {
	return []any{
		&r.ID, &r.Kind, &r.Subject, &r.Credential, &r.Configured, &r.Terms, &r.Org, &r.Workspaces, &r.created, &r.ends,
		&r.accessUntil, &r.ended, &r.EndReason, &r.Chain.Prev, &r.Chain.Head, &r.Chain.Child, &r.Chain.Gen, &r.Chain.Fork,
		&r.minted, &r.Address, &r.UserAgent,
	}
}

func (r *sessionRow) session() doorward.Session {
	s := r.Session
	s.Created, s.Ends, s.AccessUntil = fromMillis(r.created), fromMillis(r.ends), fromMillis(r.accessUntil)
	s.Ended, s.Chain.Minted = fromMillis(r.ended), fromMillis(r.minted)
	return s
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
	err := s.writeAlone(ctx, "end the sessions of credentials no longer configured", func(ctx context.Context, t *tx) error {
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

// sessionStep is how many sessions are listed or ended at once where all of them are.
const sessionStep = 500

// EndSessions implements doorward.SessionStore. Those past their end end too: a clock that
// jumped ahead and back must not revive them.
func (s *Store) EndSessions(ctx context.Context, q doorward.SessionQuery, reason string, a doorward.AuditEntry) ([]doorward.EndedSession, error) {
	if q == (doorward.SessionQuery{}) {
		return s.endAllSessions(ctx, reason, a)
	}
	var ended []doorward.EndedSession
	err := s.write(ctx, "end sessions", func(ctx context.Context, t *tx) error {
		now, err := t.now(ctx)
		if err != nil {
			return err
		}
		if q.User != "" {
			ended, err = t.endUsersSessions(ctx, q.User, q.Keep, reason, now)
		} else {
			ended, err = t.ended(ctx, `
				UPDATE sessions SET ended = $1, end_reason = $2 WHERE credential = $3 AND ended = 0 AND id <> $4
				RETURNING id, access_until`, millis(now), reason, q.Credential, q.Keep)
		}
		if err != nil || len(ended) == 0 {
			return err
		}
		return t.audit(ctx, now, a)
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// endAllSessions goes through them by id, so that it comes to an end however many begin meanwhile.
func (s *Store) endAllSessions(ctx context.Context, reason string, a doorward.AuditEntry) ([]doorward.EndedSession, error) {
	var all []doorward.EndedSession
	for last := ""; ; {
		var step []doorward.EndedSession
		err := s.writeAlone(ctx, "end sessions", func(ctx context.Context, t *tx) error {
			now, err := t.now(ctx)
			if err != nil {
				return err
			}
			step, err = t.ended(ctx, `
				UPDATE sessions SET ended = $1, end_reason = $2 WHERE id IN (
					SELECT id FROM sessions WHERE id > $3 AND ended = 0 ORDER BY id LIMIT `+strconv.Itoa(sessionStep)+t.engine.rowLock+`)
				RETURNING id, access_until`, millis(now), reason, last)
			if err != nil || len(step) == 0 {
				return err
			}
			return t.audit(ctx, now, a)
		})
		if err != nil {
			return all, err
		}
		all = append(all, step...)
		if len(step) < sessionStep {
			return all, nil
		}
		for _, e := range step {
			last = max(last, e.ID)
		}
	}
}

// Sessions implements doorward.SessionStore.
func (s *Store) Sessions(ctx context.Context, q doorward.SessionQuery, yield func(doorward.ListedSession) error) error {
	const list = `SELECT ` + sessionColumns + `, coalesce((SELECT u.username FROM users u WHERE u.id = sessions.credential), '') FROM sessions`
	switch {
	case q.User != "":
		_, err := s.sessionPage(ctx, yield, list+`
			WHERE ended = 0 AND ends > $1 AND credential IN (
				SELECT id FROM users WHERE id = $2 UNION ALL SELECT id FROM api_keys WHERE owner = $2)`, q.User)
		return err
	case q.Credential != "":
		_, err := s.sessionPage(ctx, yield, list+` WHERE ended = 0 AND ends > $1 AND credential = $2`, q.Credential)
		return err
	}
	for last := ""; ; {
		page, err := s.sessionPage(ctx, yield, list+`
			WHERE ended = 0 AND ends > $1 AND id > $2 ORDER BY id LIMIT `+strconv.Itoa(sessionStep), last)
		if err != nil || len(page) < sessionStep {
			return err
		}
		last = page[len(page)-1].ID
	}
}

// sessionPage reads the sessions that text lists, given the time and arg, and yields them once it
// holds no connection any more.
func (s *Store) sessionPage(ctx context.Context, yield func(doorward.ListedSession) error, text, arg string) ([]doorward.ListedSession, error) {
	a := s.asker("list sessions")
	now, err := s.engine.now(ctx, a)
	if err != nil {
		return nil, err
	}
	var page []doorward.ListedSession
	var r sessionRow
	var username string
	err = a.each(ctx, append(r.dest(), &username), func() error {
		page = append(page, doorward.ListedSession{Session: r.session(), Username: username})
		return nil
	}, text, millis(now), arg)
	if err != nil {
		return nil, err
	}
	for _, l := range page {
		if err := yield(l); err != nil {
			return nil, err
		}
	}
	return page, nil
}

// LastSessionEnd implements doorward.SessionStore.
func (s *Store) LastSessionEnd(ctx context.Context) (time.Time, error) {
	var ends int64
	_, err := s.asker("read when the last session ends").get(ctx, []any{&ends}, `SELECT coalesce(max(ends), 0) FROM sessions`)
	return fromMillis(ends), err
}
