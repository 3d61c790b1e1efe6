package store

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"doorward"
)

// batch is how an engine advances many refresh chains with few statements.
type batch struct {
	most   int // refreshes in one batch
	atOnce int // batches under way
	// read locks those sessions of the array $1 that nobody else has locked, and reads
	// their sessionColumns.
	read string
	// keys reads the keyColumns of the keys of the array $1.
	keys string
	// advance keeps what became of the sessions of the array $1, in arrays as advances has.
	advance string
	// blame reports whether err, which a batch ended with, may be about one of it.
	blame func(err error) bool
}

// inBatch does r together with those that wait beside it: who comes while there are
// batches enough under way waits for a place in the next. Nobody waits for company.
//
// A session has one place in a batch; the next to present one of its tokens waits for the
// next batch. What is not simply read, decided and advanced is left out of it: a session
// that is not there, or locked by another transaction, one that is to end, a decision that
// fails or panics. For that, and for all when the batch fails on account of one, the error
// is errUndone, and it is to be done alone.
func (s *Store) inBatch(r *refresh) error {
	lead, err := s.refreshes.enter(r.ctx, s, refreshOp, r, s.engine.batch.atOnce)
	if err != nil {
		return err
	}
	if !lead {
		return r.err
	}
	defer s.refreshes.next()
	w, err := s.turn(r.ctx, refreshOp)
	if err != nil {
		return err
	}
	defer func() { s.turns <- w }()
	return w.leadBatch(r)
}

// leadBatch does r and those that wait for a place beside it.
func (w *writer) leadBatch(r *refresh) error {
	s, b := w.store, w.store.engine.batch
	all := []*refresh{r}
	of := map[string]bool{r.id: true}
	others := s.refreshes.take(func(p *place[*refresh]) (it, more bool) {
		if it = !of[p.of.id]; it {
			of[p.of.id] = true
			all = append(all, p.of)
		}
		return it, len(all) < b.most
	})
	if len(others) == 0 {
		return w.write(r.ctx, refreshOp, r.do)
	}
	err := errUndone // to the others, should a decision end this goroutine
	defer func() {
		for _, p := range others {
			if err != nil {
				p.of.err = err
			}
			p.called <- false
		}
	}()
	err = w.write(context.WithoutCancel(r.ctx), refreshOp, func(ctx context.Context, t *tx) error { return t.advance(ctx, all) })
	if err != nil && b.blame(err) {
		err = errUndone
	}
	if err != nil {
		return err
	}
	return r.err
}

// advance does as many of all as it can, each of another session, and says of each what
// became of it.
func (t *tx) advance(ctx context.Context, all []*refresh) error {
	b := t.engine.batch
	of := make(map[string]*refresh, len(all))
	ids := make([]string, 0, len(all))
	for _, r := range all {
		r.found, r.key, r.err = false, nil, errUndone
		if isText(r.id) {
			of[r.id] = r
			ids = append(ids, r.id)
		}
	}
	var row sessionRow
	err := t.each(ctx, row.dest(), func() error {
		r := of[row.ID]
		n := row.session()
		r.found, r.session = true, &n
		return nil
	}, b.read, ids)
	if err != nil {
		return err
	}
	if err := t.keysOf(ctx, all); err != nil {
		return err
	}
	now, err := t.now(ctx)
	if err != nil {
		return err
	}
	var kept advances
	for _, r := range all {
		if r.found {
			kept.decide(r, now)
		}
	}
	if len(kept.id) == 0 {
		return nil
	}
	n, err := t.exec(ctx, b.advance, kept.id, kept.prev, kept.head, kept.child, kept.gen, kept.fork, kept.minted, kept.accessUntil)
	if err == nil && n != int64(len(kept.id)) {
		err = t.failed(ctx, fmt.Errorf("%w: %d of %d sessions were there", errUndone, n, len(kept.id)))
	}
	return err
}

// keysOf reads the keys with which the sessions of all were made, if any was.
func (t *tx) keysOf(ctx context.Context, all []*refresh) error {
	of := map[string][]*refresh{}
	var ids []string
	for _, r := range all {
		if r.found && withKey(*r.session) {
			ids = append(ids, r.session.Credential)
			of[r.session.Credential] = append(of[r.session.Credential], r)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var row keyRow
	return t.each(ctx, row.dest(), func() error {
		k := row.state()
		for _, r := range of[k.ID] {
			r.key = &k
		}
		return nil
	}, t.engine.batch.keys, ids)
}

// advances are the sessions that a batch advances.
type advances struct {
	id, prev, head, child          []string
	gen, fork, minted, accessUntil []int64
}

// decide lets r decide on what was read for it.
func (k *advances) decide(r *refresh, now time.Time) {
	if r.err = r.ctx.Err(); r.err != nil {
		return
	}
	r.err = errUndone
	d, ok := r.decision(now)
	if !ok || d.Outcome == doorward.Reused {
		return
	}
	if d.Outcome == doorward.Advanced {
		c := d.Chain
		if !r.session.Ended.IsZero() || !isText(c.Prev) || !isText(c.Head) || !isText(c.Child) {
			return
		}
		k.id, k.prev, k.head, k.child = append(k.id, r.id), append(k.prev, c.Prev), append(k.head, c.Head), append(k.child, c.Child)
		k.gen, k.fork, k.minted = append(k.gen, c.Gen), append(k.fork, c.Fork), append(k.minted, millis(c.Minted))
		k.accessUntil = append(k.accessUntil, millis(later(r.session.AccessUntil, d.AccessUntil)))
	}
	r.err = nil
}

// decision is what r decides; not ok where it panics, which it does again alone, where that
// is its caller's.
func (r *refresh) decision(now time.Time) (d doorward.RefreshDecision, ok bool) {
	defer func() {
		if !ok {
			_ = recover()
		}
	}()
	return r.decide(doorward.RefreshState{Session: *r.session, Now: now, Key: r.key}), true
}

// isText reports whether PostgreSQL would take s as it is.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }
