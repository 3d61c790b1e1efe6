package store

import (
	"cmp"
	"context"
	"errors"
	"time"

	"doorward"
)

const refreshOp = "advance a refresh chain"

// errEnded stops a decision that would let a dead session mint tokens.
var errEnded = errors.New("a session that has ended cannot advance")

// AdvanceRefresh implements doorward.SessionStore.
func (s *Store) AdvanceRefresh(ctx context.Context, id string, decide func(doorward.RefreshState) doorward.RefreshDecision, a doorward.AuditEntry) (bool, error) {
	r := &refresh{ctx: ctx, id: id, decide: decide, audit: a}
	err := errUndone
	if s.engine.batch != nil {
		err = s.inBatch(r)
	}
	if errors.Is(err, errUndone) {
		err = s.write(ctx, refreshOp, r.do)
	}
	if err != nil || !r.found {
		return false, err
	}
	return true, nil
}

// refresh is the presentation of a refresh token.
type refresh struct {
	ctx    context.Context
	id     string
	decide func(doorward.RefreshState) doorward.RefreshDecision
	audit  doorward.AuditEntry // of the session's end

	found bool

	// In a batch:
	session *doorward.Session
	key     *doorward.KeyState
	err     error
}

// do is all of it, in a transaction.
func (r *refresh) do(ctx context.Context, t *tx) error {
	n, found, err := t.session(ctx, r.id, t.engine.rowLock)
	if r.found = found; err != nil || !found {
		return err
	}
	var key *doorward.KeyState
	if withKey(n) {
		k, found, err := t.key(ctx, n.Credential)
		if err != nil {
			return err
		}
		if found {
			key = &k
		}
	}
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	d := r.decide(doorward.RefreshState{Session: n, Now: now, Key: key})
	switch {
	case d.Outcome == doorward.Reused:
		a := r.audit
		a.Org = cmp.Or(a.Org, n.Org)
		_, _, err := t.endSession(ctx, r.id, doorward.EndReuse, now, a)
		return err
	case d.Outcome != doorward.Advanced:
		return nil
	case !n.Ended.IsZero():
		return t.failed(ctx, errEnded)
	}
	_, err = t.exec(ctx, `
		UPDATE sessions SET prev = $1, head = $2, child = $3, gen = $4, fork = $5, minted = $6, access_until = $7
		WHERE id = $8`,
		d.Chain.Prev, d.Chain.Head, d.Chain.Child, d.Chain.Gen, d.Chain.Fork, millis(d.Chain.Minted),
		millis(later(n.AccessUntil, d.AccessUntil)), r.id)
	return err
}

// withKey reports whether a session was made with a key that is kept here.
func withKey(n doorward.Session) bool { return !n.Configured && n.Kind != doorward.KindUser }

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
