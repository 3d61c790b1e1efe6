package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"doorward"
)

// tries is how often a transaction is run before its failure is the caller's.
const tries = 4

// errInDoubt says that a COMMIT was sent and its answer never came.
var errInDoubt = errors.New("the connection was lost while it was being kept; whether it was is not known")

// work is what is done in a transaction.
type work func(ctx context.Context, t *tx) error

// write runs do as one transaction: durable when it returns nil, without effect when it
// does not. do's own error is returned as it is. Callers get their turn in the order of
// arrival; one whose ctx ends while it waits gets ctx's error and has no effect. What an
// engine undoes for reasons of its own (a deadlock, a lost connection) is run again, and
// what shared a transaction that was not kept (see share), so do sets all that it leaves
// behind each time. It may run in another caller's goroutine, which it must not end.
//
// Where the engine is a server, one error says something else: errInDoubt, when it went
// away with the COMMIT. Then the change may have been kept or not, and the caller, who was
// promised nothing, asks again.
func (s *Store) write(ctx context.Context, op string, do work) error {
	if s.engine.together > 1 {
		return s.share(ctx, op, do, false)
	}
	w, err := s.turn(ctx, op)
	if err != nil {
		return err
	}
	defer func() { s.turns <- w }() // also when do panics
	return w.write(ctx, op, do)
}

// writeAlone is write for what takes long, which is not for others to wait for.
func (s *Store) writeAlone(ctx context.Context, op string, do work) error {
	if s.engine.together > 1 {
		return s.share(ctx, op, do, true)
	}
	return s.write(ctx, op, do)
}

// write runs do as Store.write says.
func (w *writer) write(ctx context.Context, op string, do work) error {
	e := w.store.engine
	for try := 1; ; try++ {
		err := w.transact(ctx, op, do)
		if err == nil || try == tries || e.again == nil || !e.again(err) || errors.Is(err, errInDoubt) {
			return err
		}
	}
}

// turn waits for an idle writer. Receivers of a channel are served first come, first
// served; database/sql's own queue is not, it picks the next at random.
func (s *Store) turn(ctx context.Context, op string) (*writer, error) {
	if s.isClosed() {
		return nil, errClosed
	}
	waiting, v := keepVigil(ctx, s.engine.patience)
	defer v.end()
	select {
	case w := <-s.turns:
		if err := ctx.Err(); err != nil {
			s.turns <- w
			return nil, err
		}
		return w, nil
	case <-waiting.Done():
		return nil, s.asker(op).failed(ctx, v.why(ctx.Err()))
	case <-s.closed:
		return nil, errClosed
	}
}

// writer is one connection that changes things, for one transaction at a time.
type writer struct {
	store      *Store
	conn       *sql.Conn // nil until first used, and after a failure that leaves its state in doubt
	statements map[string]*sql.Stmt
	undone     bool // the engine has rolled the transaction back
}

// tx is a transaction under way.
type tx struct {
	asker
	engine  engine
	changes []doorward.Change // what publish will say

	under *sql.Tx
	vigil *vigil
	end   context.CancelFunc
}

func (w *writer) transact(ctx context.Context, op string, do work) error {
	t, err := w.begin(ctx, op)
	if err != nil {
		return w.store.asker(op).failed(ctx, err)
	}
	defer w.rollback(t) // also when do panics
	during := t.during(ctx)
	if err := do(during, t); err != nil {
		return err
	}
	return w.commit(during, t)
}

// begin begins a transaction, to be ended by commit or rollback.
func (w *writer) begin(ctx context.Context, op string) (*tx, error) {
	e := w.store.engine
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	t := &tx{asker: asker{op: op, prepared: w, patience: e.patience}, engine: e}
	// Beginning may wait for another process, so it ends with ctx; the end does not.
	begin, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	begin, t.vigil = keepVigil(begin, e.patience)
	t.end = func() {
		t.vigil.end()
		cancel()
	}
	w.undone = false
	var err error
	if t.under, err = w.conn.BeginTx(begin, nil); err != nil {
		stop()
		t.end()
		w.discard()
		return nil, t.vigil.why(err)
	}
	t.vigil.rest()
	if !stop() {
		w.rollback(t)
		return nil, ctx.Err()
	}
	return t, nil
}

// during is the context for what is done in a transaction that has begun.
func (t *tx) during(ctx context.Context) context.Context {
	if t.patience > 0 {
		return ctx // a lock that another holds may be waited for in vain
	}
	return context.WithoutCancel(ctx)
}

// commit says what was changed and keeps it.
func (w *writer) commit(ctx context.Context, t *tx) error {
	if err := t.publish(ctx); err != nil {
		return err
	}
	defer t.end()
	under := t.under
	t.under = nil
	t.vigil.resume()
	err := under.Commit()
	if err == nil {
		return nil
	}
	w.discard()
	if t.engine.failed != nil && !t.engine.failed(err) {
		return fmt.Errorf("cannot %s: %w: %w", t.op, errInDoubt, t.vigil.why(err))
	}
	return t.failed(context.WithoutCancel(ctx), err)
}

// rollback undoes t unless it has ended.
func (w *writer) rollback(t *tx) {
	if t.under == nil {
		return
	}
	defer t.end()
	t.vigil.resume()
	if t.under.Rollback() != nil {
		w.discard()
	}
	t.under = nil
}

// connect gives the writer a connection, if it has none.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	connecting, v := keepVigil(ctx, w.store.engine.patience)
	defer v.end()
	conn, err := w.store.writers.Conn(connecting)
	if err != nil {
		return v.why(err)
	}
	w.conn, w.statements = conn, make(map[string]*sql.Stmt)
	if w.store.engine.undone == nil {
		return nil
	}
	if err := w.store.engine.undone(conn, func() { w.undone = true }); err != nil {
		w.discard()
		return err
	}
	return nil
}

func (w *writer) prepare(ctx context.Context, text string) (*sql.Stmt, error) {
	if w.undone {
		return nil, errUndone // what comes now would be kept by itself
	}
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
	if w.store.engine.holds {
		for _, st := range w.statements {
			st.Close()
		}
	}
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
	st, asked, v, err := t.statement(ctx, text)
	if err != nil {
		return 0, err
	}
	defer v.end()
	result, err := st.ExecContext(asked, args...)
	if err != nil {
		return 0, t.failed(ctx, v.why(err))
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
