package store

import (
	"context"
	"errors"
)

// errUndone says that a change was not kept, for a reason that may be another's.
var errUndone = errors.New("the transaction was undone")

// part is what one caller does in a transaction that it shares.
type part struct {
	ctx   context.Context
	op    string
	do    work
	alone bool // shares it with nobody
	err   error
}

// share is write where callers share transactions. Who comes first begins one and does its
// part; then, in the same goroutine, it does the parts of those who have come meanwhile,
// each behind a savepoint, and commits for all. Nobody waits for company, and nobody is
// told anything before the COMMIT, not even a refusal: until then what one part has read of
// another may never have been.
//
// A part that fails takes back what it did and nothing else. Where that cannot be, and when
// the COMMIT fails, all are undone and done again one by one: alone, the outcome is one's
// own. So is a part that panics; alone is also in its own caller's goroutine.
func (s *Store) share(ctx context.Context, op string, do work, alone bool) error {
	err := s.takePart(&part{ctx: ctx, op: op, do: do, alone: alone})
	if errors.Is(err, errUndone) && !alone {
		err = s.takePart(&part{ctx: ctx, op: op, do: do, alone: true})
	}
	return err
}

func (s *Store) takePart(p *part) error {
	lead, err := s.parts.enter(p.ctx, s, p.op, p, 1)
	if err != nil {
		return err
	}
	if !lead {
		return p.err
	}
	defer s.parts.next()
	w, err := s.turn(p.ctx, p.op)
	if err != nil {
		return err
	}
	defer func() { s.turns <- w }()
	there := s.parts.newest()
	t, err := w.begin(p.ctx, p.op)
	if err != nil {
		if p.ctx.Err() == nil {
			s.refuse(there, err)
		}
		return s.asker(p.op).failed(p.ctx, err)
	}
	return w.lead(t, p)
}

// refuse tells those who waited while no transaction could be begun. Each of them would
// try for as long again.
func (s *Store) refuse(there int64, why error) {
	for _, q := range s.parts.take(func(q *place[*part]) (it, more bool) { return q.number <= there, q.number < there }) {
		q.of.err = s.asker(q.of.op).failed(q.of.ctx, why)
		q.called <- false
	}
}

// lead does p and, in the same transaction, what others wait to have done.
func (w *writer) lead(t *tx, p *part) error {
	defer w.rollback(t)
	during := t.during(p.ctx)
	if err := p.do(during, t); err != nil {
		return err
	}
	if p.alone {
		return w.commit(during, t)
	}
	var others []*place[*part]
	kept := false
	defer func() {
		for _, q := range others {
			if !kept {
				q.of.err = errUndone
			}
			q.called <- false
		}
	}()
	for len(others) < w.store.engine.together-1 && !w.undone {
		next := w.store.parts.take(func(q *place[*part]) (it, more bool) { return !q.of.alone, false })
		if len(next) == 0 {
			break
		}
		others = append(others, next[0])
		next[0].of.err = w.part(t, next[0].of)
	}
	if w.undone {
		return errUndone
	}
	err := w.commit(during, t)
	if kept = err == nil; !kept && len(others) > 0 {
		return errUndone
	}
	return err
}

// part does q in a transaction that is another's.
func (w *writer) part(under *tx, q *part) (err error) {
	if err := q.ctx.Err(); err != nil {
		return err
	}
	ctx := context.WithoutCancel(q.ctx)
	t := &tx{asker: under.asker, engine: under.engine}
	t.op = q.op
	if _, err := t.exec(ctx, `SAVEPOINT part`); err != nil {
		w.undone = true
		return err
	}
	kept := false
	defer func() {
		if kept {
			return
		}
		if recover() != nil {
			err = errUndone
		}
		w.takeBack(ctx, t)
	}()
	if err := q.do(ctx, t); err != nil {
		return err
	}
	if _, err := t.exec(ctx, `RELEASE part`); err != nil {
		return err
	}
	under.changes = append(under.changes, t.changes...)
	kept = true
	return nil
}

// takeBack undoes what was done since the savepoint; failing that, all is undone.
func (w *writer) takeBack(ctx context.Context, t *tx) {
	_, err := t.exec(ctx, `ROLLBACK TO part`)
	if err == nil {
		_, err = t.exec(ctx, `RELEASE part`)
	}
	if err != nil {
		w.undone = true
	}
}
