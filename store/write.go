package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"
)

// write runs do as one transaction: durable when it returns nil, without effect when it
// does not. do's own error is returned as it is. Callers get their turn in the order of
// arrival; one whose ctx ends while it waits gets ctx's error and has no effect. From its
// first statement on, a transaction is not interrupted.
//
// Every change goes through here, so this is the one place to let several callers share a
// transaction.
func (s *Store) write(ctx context.Context, op string, do func(ctx context.Context, t *tx) error) error {
	w, err := s.turn(ctx)
	if err != nil {
		return err
	}
	defer func() { s.turns <- w }() // also when do panics
	return w.transact(ctx, op, do)
}

// turn waits for an idle writer. Receivers of a channel are served first come, first
// served; database/sql's own queue is not, it picks the next at random.
func (s *Store) turn(ctx context.Context) (*writer, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	select {
	case w := <-s.turns:
		if err := ctx.Err(); err != nil {
			s.turns <- w
			return nil, err
		}
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.closed:
		return nil, errClosed
	}
}

// writer is one connection that changes things, for one transaction at a time.
type writer struct {
	store      *Store
	conn       *sql.Conn // nil until first used, and after a failure that leaves its state in doubt
	statements map[string]*sql.Stmt
}

// tx is a transaction under way.
type tx struct {
	asker
	engine engine
}

func (w *writer) transact(ctx context.Context, op string, do func(ctx context.Context, t *tx) error) error {
	t := &tx{asker: asker{op: op, prepared: w}, engine: w.store.engine}
	if w.conn == nil {
		conn, err := w.store.writers.Conn(ctx)
		if err != nil {
			return t.failed(ctx, err)
		}
		w.conn, w.statements = conn, make(map[string]*sql.Stmt)
	}

	// Beginning may wait for another process, so it ends with ctx; what comes after does not.
	lasting := context.WithoutCancel(ctx)
	begin, cancel := context.WithCancel(lasting)
	defer cancel()
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	under, err := w.conn.BeginTx(begin, nil)
	if err != nil {
		w.discard()
		return t.failed(ctx, err)
	}
	open := true
	defer func() {
		if open && under.Rollback() != nil {
			w.discard()
		}
	}()
	if !stop() {
		return ctx.Err()
	}

	if err := do(lasting, t); err != nil {
		return err
	}
	open = false
	if err := under.Commit(); err != nil {
		w.discard()
		return t.failed(lasting, err)
	}
	return nil
}

func (w *writer) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if st, ok := w.statements[text]; ok {
		return st, nil
	}
	st, err := w.conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	w.statements[text] = st
	return st, nil
}

// discard gives up the connection, so that the next transaction begins on a fresh one.
func (w *writer) discard() {
	// Told that it is bad, database/sql closes it instead of lending it again.
	_ = w.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = w.conn.Close()
	w.conn, w.statements = nil, nil
}

func (w *writer) close() error {
	if w.conn == nil {
		return nil
	}
	for _, st := range w.statements {
		st.Close()
	}
	return w.conn.Close()
}

// exec changes something and returns how many rows it touched.
func (t *tx) exec(ctx context.Context, text string, args ...any) (int64, error) {
	st, err := t.prepared.prepare(ctx, text)
	if err != nil {
		return 0, t.failed(ctx, err)
	}
	result, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, t.failed(ctx, err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, t.failed(ctx, err)
	}
	return n, nil
}

// now reads the store's clock. Where rows are locked, read it after locking: who waited
// must not judge by the time before.
func (t *tx) now(ctx context.Context) (time.Time, error) { return t.engine.now(ctx, t.asker) }

// lock keeps other transactions that lock the same name out until this one ends.
func (t *tx) lock(ctx context.Context, name string) error {
	if t.engine.nameLock == "" {
		return nil
	}
	_, err := t.exec(ctx, t.engine.nameLock, name)
	return err
}
