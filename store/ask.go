package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// asker puts questions to the store: through the readers, or within a transaction.
type asker struct {
	op       string // what is being done, for errors
	prepared preparer
	patience time.Duration // the engine's
}

// preparer keeps each SQL text prepared. There are some forty texts, all constant.
type preparer interface {
	prepare(ctx context.Context, text string) (*sql.Stmt, error)
}

// asker returns one for the readers. op completes the sentence "cannot ...".
func (s *Store) asker(op string) asker {
	return asker{op: op, prepared: s, patience: s.engine.patience}
}

func (s *Store) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	if st, ok := s.asked.Load(text); ok {
		return st.(*sql.Stmt), nil
	}
	st, err := s.readers.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	if first, ok := s.asked.LoadOrStore(text, st); ok {
		st.Close()
		return first.(*sql.Stmt), nil
	}
	return st, nil
}

// statement prepares text, and watches over what is then asked with it until the vigil ends.
func (a asker) statement(ctx context.Context, text string) (*sql.Stmt, context.Context, *vigil, error) {
	asked, v := keepVigil(ctx, a.patience)
	st, err := a.prepared.prepare(asked, text)
	if err != nil {
		v.end()
		return nil, nil, nil, a.failed(ctx, v.why(err))
	}
	return st, asked, v, nil
}

// get reads at most one row into dest.
func (a asker) get(ctx context.Context, dest []any, text string, args ...any) (found bool, err error) {
	st, asked, v, err := a.statement(ctx, text)
	if err != nil {
		return false, err
	}
	defer v.end()
	err = st.QueryRowContext(asked, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, a.failed(ctx, v.why(err))
	}
	return true, nil
}

// each reads row after row into dest and calls do; do's error stops it and is returned.
func (a asker) each(ctx context.Context, dest []any, do func() error, text string, args ...any) error {
	st, asked, v, err := a.statement(ctx, text)
	if err != nil {
		return err
	}
	defer v.end()
	rows, err := st.QueryContext(asked, args...)
	if err != nil {
		return a.failed(ctx, v.why(err))
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return a.failed(ctx, v.why(err))
		}
		v.rest() // what do takes is not the engine's time
		if err := do(); err != nil {
			return err
		}
		v.resume()
	}
	if err := rows.Err(); err != nil {
		return a.failed(ctx, v.why(err))
	}
	return nil
}

// failed says what could not be done. When the caller has gone, that is the reason,
// whatever the driver made of it.
func (a asker) failed(ctx context.Context, err error) error {
	if gone := ctx.Err(); gone != nil {
		return gone
	}
	// A dial that ends at the caller's deadline may be heard of before the context is.
	if until, ok := ctx.Deadline(); ok && !time.Now().Before(until) {
		return context.DeadlineExceeded
	}
	return fmt.Errorf("cannot %s: %w", a.op, err)
}
